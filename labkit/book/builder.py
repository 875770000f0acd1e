"""Stage what Jupyter Book reads, build it strictly, and put the site in its place."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from labkit import files
from labkit.book import benchmarks, keys, page, tables
from labkit.runner import document

__all__ = [
    "alone", "build_site", "outside_requests", "repository", "restore", "stage", "swap",
]  # fmt: skip

REQUESTS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["'](?:https?:)?//[^"']*"""
    r"""|<link\b(?=[^>]*rel=["'](?:stylesheet|preload|icon)["'])[^>]*href=["'](?:https?:)?//[^"']*"""
)


def stage(sources: Sequence[Path], build: Path, root: Path, records: Mapping[str, str]) -> None:
    """Lay out `build`/source as the repository is, so that edit and launch links hold.

    Args:
        sources: the notebooks; each was executed before.
        records: the tables of the records, by the name of the file that includes them.
    """
    place = build / "source"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(root / "book", place / "book", ignore=shutil.ignore_patterns("_build"))
    for source in sources:
        executed = document.read_notebook(build / "executed" / source.name)
        content = page.page(document.read_notebook(source), executed)
        document.write(place / "notebooks" / source.name, content)
    generated = {
        **records,
        "parameters": tables.parameter_table(),
        "reports": tables.report_list(sources),
        "benchmarks": benchmarks.measurements(root / "benchmarks" / "results"),
    }
    for name, text in generated.items():
        files.write_atomic(place / "book" / "generated" / f"{name}.md", text + "\n")
    models = _models(build, [source.stem for source in sources])
    shutil.copytree(models, place / "book" / "generated" / "models")
    _configure(place / "book" / "_config.yml", _links(repository(root)))


def repository(root: Path) -> str:
    """The checkout's public home, as https://..., or empty: then the pages carry no such links."""
    url = document.git(root, "remote", "get-url", "origin") or ""
    url = re.sub(r"^git@([^:]+):", r"https://\1/", url).removesuffix(".git")
    return url if re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url) else ""


def build_site(build: Path) -> Path | None:
    """Build `build`/source; the pages, or None with the reasons printed.

    Any warning, dead link or request to another host is a failure.
    """
    site = build / "site"
    shutil.rmtree(site, ignore_errors=True)
    if not _sphinx(build / "source", site, build / "build.log"):
        return None
    html = site / "_build" / "html"
    requests = list(outside_requests(html))
    for line in requests:
        print(f"the site would ask another host: {line}", file=sys.stderr)
    return None if requests else html


def outside_requests(html: Path) -> Iterator[str]:
    """Page and tag of everything that a browser would fetch from another host."""
    for path in sorted(html.rglob("*.html")):
        for match in REQUESTS.finditer(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(html)}: {match.group()}"


def swap(new: Path, site: Path) -> None:
    """Put the new site in the old one's place; the old one goes last.

    A site that an earlier swap was killed over comes back first.
    """
    old = site.with_name("html.old")
    restore(site)
    shutil.rmtree(old, ignore_errors=True)
    if site.exists():
        site.rename(old)
    new.rename(site)
    shutil.rmtree(old, ignore_errors=True)


def restore(site: Path) -> None:
    """Bring back a site that a killed swap has left under its old name."""
    old = site.with_name("html.old")
    if old.exists() and not site.exists():
        old.rename(site)


@contextlib.contextmanager
def alone(build: Path) -> Iterator[None]:
    """One build at a time in this folder: a second one waits, and then finds most of it done."""
    build.mkdir(parents=True, exist_ok=True)
    with open(build / "lock", "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another build is at work in {build}; waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _models(build: Path, pages: Sequence[str]) -> Path:
    """The folder with the page of models and its pictures, made when a source of theirs changed."""
    key, folder, mark = keys.models_key(pages), build / "models", build / "models.key"
    if not (keys.holds(mark, key) and folder.is_dir()):
        from labkit.book import models_page  # needs torch, and seconds

        shutil.rmtree(folder, ignore_errors=True)
        models_page.write(folder, pages)
        files.write_atomic(mark, key)
    return folder


def _configure(config: Path, options: Mapping[str, Any]) -> None:
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["sphinx"]["config"]["html_theme_options"] |= options
    files.write_atomic(config, yaml.safe_dump(settings, sort_keys=False))


def _links(url: str) -> dict[str, Any]:
    """Theme options for the source, edit, issue and launch buttons.

    They are given to the theme directly: setting any of its options replaces all that Jupyter
    Book would have set.
    """
    if not url:
        return {}
    return {
        "repository_url": url,
        "repository_branch": "main",
        "path_to_docs": "",
        "use_repository_button": True,
        "use_edit_page_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        },
    }


def _sphinx(source: Path, site: Path, log: Path) -> bool:
    command = [
        sys.executable, "-c", "from jupyter_book.cli.main import main; main()",
        "build", str(source), "--path-output", str(site),
        "--config", str(source / "book" / "_config.yml"),
        "--toc", str(source / "book" / "_toc.yml"),
        "--all", "-W", "-n", "--keep-going",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONUTF8": "1", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
    process = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    text = document.ANSI.sub("", process.stdout.decode("utf-8", "replace"))
    files.write_atomic(log, text)
    if process.returncode:
        lines = text.splitlines()
        reasons = [line for line in lines if "WARNING" in line or "ERROR" in line]
        print("\n".join(["the site did not build:", *(reasons or lines[-30:])]), file=sys.stderr)
    return not process.returncode
