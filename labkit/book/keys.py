"""What each kept part of the book was made from, as one digest: equal keys, nothing to make."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit import files
from labkit.runner import document

__all__ = [
    "environment_key",
    "holds",
    "models_key",
    "notebook_key",
    "site_key",
    "stale_key",
]

LOCKED = ("torch", "torchvision", "numpy", "pandas", "seaborn", "matplotlib", "papermill")
BUILDERS = ("jupyter-book", "sphinx", "myst-nb", "sphinx-book-theme", "pydata-sphinx-theme")
# rooms that no notebook enters: they cannot change its results
OUTSIDE = ("book", "cli.py", "sweep")
# what decides a fingerprint: the rooms of training, and the recipes of the rows
TRAINING = ("recipe.py", "data", "models", "train", "reports", "book/stale.py")
DRAWN = ("models", "figures", "reports", "book", "data")  # rooms that the page of models reads


def holds(mark: Path, key: str) -> bool:
    """Whether a file holds this key."""
    return mark.is_file() and mark.read_text(encoding="utf-8") == key


def notebook_key(source: Path, values: Mapping[str, Any], shared: str) -> str:
    """Of an executed notebook: its code, its parameters, and `shared`, an `environment_key`.

    Its prose, tags and titles are not in it: changing them costs a build, not a training.
    """
    cells = document.read_notebook(source)["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return _digest([json.dumps([code, values, shared], sort_keys=True)])


def environment_key(root: Path) -> str:
    """The library's sources, the packages, the data sets present and the committed records."""
    library = [path for path in _library(root)
               if path.relative_to(root / "labkit").parts[0] not in OUTSIDE]  # fmt: skip
    recorded = sorted((root / "book" / "records").rglob("*.json"))
    return _digest(
        [
            *_contents([*library, *recorded], root),
            *_stamps(files.data_home()),
            platform.python_version(),
            *_versions(LOCKED),
        ]
    )


def stale_key(paths: Iterable[Path]) -> str:
    """Of the verdicts on the records with these paths: the records, and what trains today."""
    return _digest(
        [*_contents(_rooms(TRAINING), files.PACKAGE), *_contents(paths), *_versions(LOCKED)]
    )


def models_key(pages: Iterable[str]) -> str:
    """Of the page of models and its pictures; `pages` are the notebooks that it links to."""
    versions = _versions(("torch", "torchvision", "matplotlib"))
    return _digest([*_contents(_rooms(DRAWN), files.PACKAGE), *versions, *pages])


def site_key(sources: Sequence[Path], build: Path, root: Path, *choices: str) -> str:
    """Of the whole site: all that is read in the checkout, the builder, and a build's choices."""
    book = [path for path in _tree(root / "book") if build not in path.parents]
    notes = [build / "executed" / f"{source.stem}.json" for source in sources]
    measurements = sorted((root / "benchmarks" / "results").glob("*.json"))
    paths = [*book, *sources, *notes, *_library(root), *measurements]
    return _digest([*_contents(paths, root), *_versions(BUILDERS), *choices])


def _library(root: Path) -> list[Path]:
    return [path for path in _tree(root / "labkit") if path.suffix in (".py", ".csv", ".svg")]


def _rooms(names: Iterable[str]) -> list[Path]:
    places = [files.PACKAGE / name for name in names]
    return [path for place in places for path in ([place] if place.is_file() else _tree(place))]


def _tree(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and "__pycache__" not in p.parts]


def _contents(paths: Iterable[Path], root: Path = Path("/")) -> list[str]:
    return [f"{path.relative_to(root)} {files.sha256(path)}" for path in paths]


def _stamps(folder: Path) -> list[str]:
    """Names, sizes and times: enough to see that prepared data changed, without reading it."""
    stats = [(path.relative_to(folder), path.stat()) for path in _tree(folder)]
    return [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]


def _versions(names: Iterable[str]) -> list[str]:
    return [f"{name} {importlib.metadata.version(name)}" for name in names]


def _digest(parts: Iterable[str]) -> str:
    return files.sha256("\n".join(parts).encode())
