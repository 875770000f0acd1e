"""From notebooks to a site: execute what changed, check the records, build strictly, then swap.

Everything is made below book/_build: `executed` keeps the verified notebooks, each with the key of
what it was made from; `source` is what the builder reads; `html` is the site, replaced only by one
that was built whole. The builder itself executes nothing.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from labkit import files, parameters, records
from labkit.book import page, tables
from labkit.errors import InputError
from labkit.runner import contract, document
from labkit.runner.run import run

ROOT = Path(__file__).parents[2]
LIMITS = {"smoke": 600.0, "lesson": 3600.0, "full": 86_400.0}  # seconds for one cell
LOCKED = ("torch", "torchvision", "numpy", "pandas", "seaborn", "matplotlib", "papermill")
BUILDERS = ("jupyter-book", "sphinx", "myst-nb", "sphinx-book-theme", "pydata-sphinx-theme")
SOURCES = (".py", ".csv", ".svg")  # what the library is made of
# rooms that no notebook enters: they cannot change its results
OUTSIDE = ("book", "cli.py", "sweep")
REQUESTS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=["'](?:https?:)?//[^"']*"""
    r"""|<link\b(?=[^>]*rel=["'](?:stylesheet|preload|icon)["'])[^>]*href=["'](?:https?:)?//[^"']*"""
)
MARKS = "<!-- made by labkit check --readme -->", "<!-- end -->"


@dataclass(frozen=True)
class Line:
    """One line of the closing table."""

    notebook: str
    status: str
    seconds: float
    peak_memory_mb: float
    exit_code: int = 0


def book(preset: str = "smoke", allow_stale: bool = False, root: Path = ROOT) -> int:
    """`labkit book`: run every notebook whose inputs changed, then build the site.

    Returns an exit code: that of the first notebook that failed; 1 for a stale record or a
    warning of the builder. The site stays as it was unless everything went well.

    Raises:
        InputError: an unknown preset, or no notebooks.
    """
    parameters.check({"preset": preset})
    sources = sorted((root / "notebooks").glob("*.ipynb"))
    if not sources:
        raise InputError(f"there is no notebook in {root / 'notebooks'}; run this in a checkout")
    build = root / "book" / "_build"
    with _runs(preset):
        lines = list(_execute(sources, build / "executed", preset, root))
    code = next((line.exit_code for line in lines if line.exit_code), 0)
    if not code:
        code = _publish(sources, build, root, allow_stale)
    _print_table(lines)
    if code:
        print("the site was not replaced", file=sys.stderr)
    else:
        print(f"open {build / 'html' / 'index.html'}")
    return code


def _execute(sources: list[Path], folder: Path, preset: str, root: Path) -> Iterator[Line]:
    """Run what has to be run, and stop at an interrupt."""
    shared = _environment_key(root)
    for source in sources:
        out, note = folder / source.name, folder / f"{source.stem}.json"
        try:
            values = _values(source, preset)
            key = notebook_key(source, values, shared)
            known = _note(note, out)
            if known.get("key") == key:
                yield Line(source.stem, "unchanged", known["seconds"], known["peak_memory_mb"])
                continue
            result = run(source, out, values, timeout=LIMITS[preset], expect=page.complaint)
        except InputError as error:
            print(f"{source.name}: {error}", file=sys.stderr)
            yield Line(source.stem, "bad input", 0.0, 0.0, 2)
            continue
        if result.ok:
            kept = {"key": key, "seconds": result.seconds, "peak_memory_mb": result.peak_memory_mb}
            files.write_atomic(note, json.dumps(kept))
        yield Line(
            source.stem, result.status, result.seconds, result.peak_memory_mb, result.exit_code
        )
        if result.exit_code in (130, 143):
            return


@contextlib.contextmanager
def _runs(preset: str) -> Iterator[None]:
    """Where the notebooks keep their runs: smoke's are worth nothing once its page is made."""
    if preset != "smoke":
        yield
        return
    before = os.environ.get("LABKIT_RUNS")
    with tempfile.TemporaryDirectory(prefix="labkit-smoke-") as folder:
        os.environ["LABKIT_RUNS"] = folder
        try:
            yield
        finally:
            del os.environ["LABKIT_RUNS"]
            if before is not None:
                os.environ["LABKIT_RUNS"] = before


def _values(source: Path, preset: str) -> dict[str, str]:
    return {"preset": preset} if "preset" in contract.declared(source) else {}


def notebook_key(source: Path, values: Mapping[str, Any], shared: str) -> str:
    """What an executed notebook depends on: its code, its parameters, and `shared`.

    Its prose, tags and titles are not in it: changing them costs a build, not a training.
    """
    cells = document.read_notebook(source)["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return _digest(json.dumps([code, values, shared], sort_keys=True))


def _environment_key(root: Path) -> str:
    """The library's sources, the packages, the data sets present and the committed records."""
    library = [
        path
        for path in sorted((root / "labkit").rglob("*"))
        if path.suffix in SOURCES and path.relative_to(root / "labkit").parts[0] not in OUTSIDE
    ]
    parts = [
        *_contents([*library, *_record_files(root)], root),
        *_stamps(files.data_home()),
        platform.python_version(),
        *_versions(LOCKED),
    ]
    return _digest("\n".join(parts))


def _publish(sources: list[Path], build: Path, root: Path, allow_stale: bool) -> int:
    """Build the site, unless the last one was built from the same."""
    key, mark = _site_key(sources, build, root, allow_stale), build / "site.key"
    html = build / "html"
    if (html / "index.html").is_file() and mark.is_file() and mark.read_text("utf-8") == key:
        return 0
    found = records.recorded(folder=root / "book" / "records")
    stale = _stale(found, build)
    for path, reason in stale.items():
        print(f"stale record {Path(path).name}: {reason}", file=sys.stderr)
    if stale and not allow_stale:
        print("train those rows again, or publish them marked: --allow-stale", file=sys.stderr)
        return 1
    shown = [source.stem for source in sources]
    made = {"results": tables.results(found, stale, shown), "races": tables.races(found, stale)}
    _stage(sources, build, root, made)
    if not _sphinx(build):
        return 1
    mark.unlink(missing_ok=True)
    _swap(build / "site" / "_build" / "html", html)
    shutil.rmtree(build / "site")
    files.write_atomic(mark, key)
    return 0


def _stale(found: list[records.Record], build: Path) -> dict[str, str]:
    """Path of each stale record with its reason; known until a record or the training changes."""
    paths = [record.path for record in found]
    key = _digest("\n".join([*_training(), *_contents(paths, Path("/")), *_versions(LOCKED)]))
    cache = build / "stale.json"
    known = _json(cache)
    if known.get("key") != key:
        from labkit.book.stale import stale_records  # needs torch, and seconds

        known = {"key": key, "stale": stale_records(found)}
        files.write_atomic(cache, json.dumps(known))
    return known["stale"]


def _models(build: Path, shown: list[str]) -> Path:
    """The folder with the page of models and its pictures, made when a source of theirs changed."""
    rooms = ("models", "figures", "reports", "book", "data")
    sources = [path for room in rooms for path in _tree(files.PACKAGE / room)]
    versions = _versions(("torch", "torchvision", "matplotlib"))
    key = _digest("\n".join([*_contents(sources, files.PACKAGE), *versions, *shown]))
    folder, mark = build / "models", build / "models.key"
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == key and folder.is_dir()):
        from labkit.book import models_page  # needs torch, and seconds

        shutil.rmtree(folder, ignore_errors=True)
        models_page.write(folder, shown)
        files.write_atomic(mark, key)
    return folder


def _training() -> list[str]:
    """What decides a fingerprint: the rooms of training, and the recipes of the rows."""
    names = ("recipe.py", "data", "models", "train", "reports", "book/stale.py")
    places = [files.PACKAGE / name for name in names]
    paths = [path for place in places for path in ([place] if place.is_file() else _tree(place))]
    return _contents(paths, files.PACKAGE)


def _site_key(sources: list[Path], build: Path, root: Path, allow_stale: bool) -> str:
    book_files = [p for p in _tree(root / "book") if build not in p.parents]
    notes = [build / "executed" / f"{source.stem}.json" for source in sources]
    library = [path for path in _tree(root / "labkit") if path.suffix in SOURCES]
    measured = sorted((root / "benchmarks" / "results").glob("*.json"))
    parts = _contents([*book_files, *sources, *notes, *library, *measured], root)
    return _digest("\n".join([*parts, *_versions(BUILDERS), str(allow_stale), repository(root)]))


def _stage(sources: list[Path], build: Path, root: Path, made: dict[str, str]) -> None:
    """Lay out what the builder reads as the repository is, so that edit and launch links hold.

    `made` are the tables of the records, by the name of the file that includes them.
    """
    stage = build / "source"
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(root / "book", stage / "book", ignore=shutil.ignore_patterns("_build"))
    for source in sources:
        executed = document.read_notebook(build / "executed" / source.name)
        shown = page.page(document.read_notebook(source), executed)
        document.write(stage / "notebooks" / source.name, shown)
    generated = {
        **made,
        "parameters": tables.parameter_table(),
        "reports": tables.report_list(sources),
        "benchmarks": tables.benchmarks(root / "benchmarks" / "results"),
    }
    for name, text in generated.items():
        files.write_atomic(stage / "book" / "generated" / f"{name}.md", text + "\n")
    models = _models(build, [source.stem for source in sources])
    shutil.copytree(models, stage / "book" / "generated" / "models")
    config = stage / "book" / "_config.yml"
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    settings["sphinx"]["config"]["html_theme_options"] |= _links(repository(root))
    files.write_atomic(config, yaml.safe_dump(settings, sort_keys=False))


def update_readme(root: Path = ROOT) -> None:
    """Put the table of today's records between the README's two marks."""
    path = root / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    table = tables.summary(records.recorded(folder=root / "book" / "records"))
    files.write_atomic(path, f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}")


def repository(root: Path) -> str:
    """The checkout's public home, as https://..., or empty: then the pages carry no such links."""
    url = document.git(root, "remote", "get-url", "origin") or ""
    url = re.sub(r"^git@([^:]+):", r"https://\1/", url).removesuffix(".git")
    return url if re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url) else ""


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


def _sphinx(build: Path) -> bool:
    """Build strictly into build/site: any warning, dead link or outside request is a failure."""
    shutil.rmtree(build / "site", ignore_errors=True)
    source = build / "source"
    command = [
        sys.executable, "-c", "from jupyter_book.cli.main import main; main()",
        "build", str(source), "--path-output", str(build / "site"),
        "--config", str(source / "book" / "_config.yml"),
        "--toc", str(source / "book" / "_toc.yml"),
        "--all", "-W", "-n", "--keep-going",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONUTF8": "1", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    log = document.ANSI.sub("", done.stdout.decode("utf-8", "replace"))
    files.write_atomic(build / "build.log", log)
    if done.returncode:
        said = [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line]
        print("\n".join(["the site did not build:", *(said or log.splitlines()[-30:])]),
              file=sys.stderr)  # fmt: skip
        return False
    asked = list(outside_requests(build / "site" / "_build" / "html"))
    for line in asked:
        print(f"the site would ask another host: {line}", file=sys.stderr)
    return not asked


def outside_requests(html: Path) -> Iterator[str]:
    """Page and tag of everything that a browser would fetch from another host."""
    for path in sorted(html.rglob("*.html")):
        for match in REQUESTS.finditer(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(html)}: {match.group()}"


def _swap(new: Path, site: Path) -> None:
    """Put the new site in the old one's place; the old one goes last."""
    old = site.with_name("html.old")
    shutil.rmtree(old, ignore_errors=True)
    if site.exists():
        site.rename(old)
    new.rename(site)
    shutil.rmtree(old, ignore_errors=True)


def _print_table(lines: list[Line]) -> None:
    width = max([len("notebook"), *(len(line.notebook) for line in lines)])
    print(f"\n{'notebook':<{width}}  {'status':<12} {'seconds':>8}  {'peak memory':>11}")
    for line in lines:
        memory = f"{line.peak_memory_mb:,.0f} MB"
        print(f"{line.notebook:<{width}}  {line.status:<12} {line.seconds:>8.1f}  {memory:>11}")


def _note(note: Path, out: Path) -> dict[str, Any]:
    """What is known of an executed notebook; nothing when either file is missing or damaged."""
    try:
        document.read_notebook(out)
    except InputError:
        return {}
    return _json(note)


def _json(path: Path) -> dict[str, Any]:
    """A JSON object of our own making; empty when the file is missing or damaged."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _record_files(root: Path) -> list[Path]:
    return sorted((root / "book" / "records").rglob("*.json"))


def _stamps(folder: Path) -> list[str]:
    """Names, sizes and times: enough to see that prepared data changed, without reading it."""
    found = [(path, path.stat()) for path in _tree(folder)]
    return [f"{path.relative_to(folder)} {s.st_size} {s.st_mtime_ns}" for path, s in found]


def _tree(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]


def _contents(paths: Iterable[Path], root: Path) -> list[str]:
    return [f"{path.relative_to(root)} {files.sha256(path)}" for path in paths]


def _versions(names: Iterable[str]) -> list[str]:
    return [f"{name} {importlib.metadata.version(name)}" for name in names]


def _digest(text: str) -> str:
    return files.sha256(text.encode("utf-8"))
