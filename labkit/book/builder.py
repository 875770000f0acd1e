"""Jupyter Book, run strictly on what was staged, and the site that it leaves put in its place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from labkit import files
from labkit.runner import document

__all__ = ["build_site", "outside_requests", "swap"]

REQUESTS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["'](?:https?:)?//[^"']*"""
    r"""|<link\b(?=[^>]*rel=["'](?:stylesheet|preload|icon)["'])[^>]*href=["'](?:https?:)?//[^"']*"""
)


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
    """Put the new site in the old one's place; the old one goes last."""
    old = site.with_name("html.old")
    shutil.rmtree(old, ignore_errors=True)
    if site.exists():
        site.rename(old)
    new.rename(site)
    shutil.rmtree(old, ignore_errors=True)


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
