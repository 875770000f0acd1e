"""Write-once records of finished runs: what was computed, from what, by what."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import platform
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from labkit import files
from labkit.errors import RecordError
from labkit.recipe import Recipe, digest_of

__all__ = [
    "FIELDS", "SCHEMA", "Record", "amend", "by_row", "claim", "code_digests", "decode", "encode",
    "file_name", "now", "read", "recorded", "run_key", "seal", "versions",
]  # fmt: skip

SCHEMA = 1
FIELDS = {
    "schema", "row", "report", "preset", "recipe", "digest", "rows", "test", "best_test",
    "train_clean", "seconds", "images_per_second", "peak_memory_mb", "device", "versions", "data",
    "code", "fingerprint", "parameters", "created", "resumed", "predictions", "labels", "details",
    "checksum",
}  # fmt: skip


class Record(Mapping[str, Any]):
    """A read-only view of one record's JSON; `path` is the file it was read from, if it was."""

    def __init__(self, values: dict[str, Any], path: Path | None = None) -> None:
        self._values, self.path = values, path

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self):
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        score = f"{100 * self['test']['top1']:.2f} % of {self['test']['images']:,} test images"
        return f"<Record {self['row'] or self['recipe']['model']} {self['preset']}: {score}>"

    @property
    def recipe(self) -> Recipe:
        """What the run was trained by."""
        return Recipe.from_json(self["recipe"])

    @property
    def synthetic(self) -> bool:
        """Whether its images are a stand-in's: then it says nothing about a report."""
        return self["data"]["synthetic"]

    @property
    def history(self) -> pd.DataFrame:
        """One line an epoch: epoch, lr, losses, accuracies (fractions), seconds."""
        return pd.DataFrame(self["rows"])

    @property
    def predictions(self) -> np.ndarray:
        """Predicted class of every test image, uint8 [N]."""
        return decode(self["predictions"])

    @property
    def labels(self) -> np.ndarray:
        """True class of every test image, uint8 [N]."""
        return decode(self["labels"])


def encode(classes: np.ndarray) -> str:
    """uint8 [N] as text: zlib, then base64."""
    return base64.b64encode(zlib.compress(np.asarray(classes, np.uint8).tobytes(), 9)).decode()


def decode(text: str) -> np.ndarray:
    """The array that `encode` packed, uint8 [N]."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def seal(values: Mapping[str, Any]) -> Record:
    """Complete a record with its schema, time and checksum.

    Raises:
        RecordError: a field is missing, unknown, or not finite.
    """
    values = {"schema": SCHEMA, **values, "created": now()}
    return _verify(values | {"checksum": _checksum(values)})


def amend(record: Record, changes: Mapping[str, Any]) -> Record:
    """The same record with other values in some fields: labels of who asks, or a fingerprint."""
    values = {**record, **changes}
    return Record(values | {"checksum": _checksum(values)}, record.path)


def claim(record: Record, path: Path) -> bool:
    """Write the record under its final name; False where one stands there already."""
    return files.claim(path, _text(record))


def read(path: Path) -> Record:
    """Read and verify one record file.

    Raises:
        FileNotFoundError: there is none.
        RecordError: truncated, edited, or of another schema.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (ValueError, OSError, RecursionError) as error:
        raise RecordError(f"{path} is not a readable record: {error}") from error
    return _verify(values, path)


def recorded(
    report: str | None = None, *, preset: str | None = None, folder: Path | None = None
) -> list[Record]:
    """The committed records, sorted by row, preset and seed.

    A file is read and verified once a process, and again when its size or time has changed.

    Raises:
        RecordError: a file is truncated, edited, or of another schema.
    """
    paths = sorted((folder or files.records_home()).glob("**/*.json"))
    states = [(path, path.stat()) for path in paths]
    every = [_read_once(path, state.st_size, state.st_mtime_ns) for path, state in states]
    records = [r for r in every if report in (None, r["report"]) and preset in (None, r["preset"])]
    return sorted(records, key=lambda r: (r["row"], r["preset"], r["recipe"]["seed"]))


@functools.cache
def _read_once(path: Path, size: int, changed: int) -> Record:
    return read(path)


def file_name(record: Mapping[str, Any]) -> str:
    """Where a record lies below the records folder: report/row-preset-seed-digest.json."""
    seed, digest = record["recipe"]["seed"], record["digest"][:8]
    return f"{record['report']}/{record['row']}-{record['preset']}-s{seed}-{digest}.json"


def by_row(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each row, by its id, in the order in which they come."""
    rows: dict[str, list[Record]] = {}
    for record in records:
        rows.setdefault(record["row"], []).append(record)
    return rows


@functools.cache
def code_digests() -> dict[str, str]:
    """SHA-256 of every source that decides numbers: the recipe, data/, models/ and train/."""
    paths = [files.PACKAGE / "recipe.py"]
    for folder in ("data", "models", "train"):
        paths += sorted((files.PACKAGE / folder).glob("*.py"))
    return {path.relative_to(files.PACKAGE).as_posix(): files.sha256(path) for path in paths}


def run_key(recipe: Recipe, data_sha256: str) -> str:
    """What a run's folder is named by: its recipe, its data and the sources that decide numbers."""
    parts = [recipe.to_json(), data_sha256, code_digests()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def versions() -> dict[str, str]:
    """Of Python, labkit and the packages that decide numbers."""
    labkit = next((each.version for each in metadata.distributions(name="labkit")), "checkout")
    packages = {name: metadata.version(name) for name in ("torch", "torchvision", "numpy")}
    return {"python": platform.python_version(), "labkit": labkit, **packages}


def now() -> str:
    """UTC, ISO 8601, to the second; nothing is ordered or named by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(values: Mapping[str, Any]) -> str:
    options = {"indent": 1, "sort_keys": True, "allow_nan": False, "ensure_ascii": False}
    return json.dumps(dict(values), **options) + "\n"


def _checksum(values: Mapping[str, Any]) -> str:
    content = {name: value for name, value in values.items() if name != "checksum"}
    try:
        return hashlib.sha256(_text(content).encode()).hexdigest()
    except ValueError as error:
        raise RecordError(f"a record holds only finite numbers: {error}") from error


def _verify(values: Any, path: Path | None = None) -> Record:
    if trouble := _trouble(values):
        raise RecordError(f"{path or 'this record'} {trouble}")
    return Record(values, path)


def _trouble(values: Any) -> str:
    """Why these are not the values of a record, as a predicate; empty where they are."""
    if not isinstance(values, dict):
        return f"is not a record: it holds {type(values).__name__}, not an object"
    if values.get("schema") != SCHEMA:
        return f"has schema {values.get('schema')!r}; this labkit reads schema {SCHEMA}"
    if wrong := sorted(FIELDS.symmetric_difference(values)):
        return f"has missing or unknown fields: {', '.join(wrong)}"
    if values["checksum"] != _checksum(values):
        return "was changed after it was written: its checksum does not match"
    try:
        Recipe.from_json(values["recipe"])
    except (TypeError, ValueError, AttributeError) as error:
        return f"holds no recipe of this labkit: {error}"
    # as it was written: a field that a recipe gained since then does not change what was run
    if digest_of(values["recipe"]) != values["digest"]:
        return f"names digest {values['digest']}, which is not its recipe's"
    return _contradiction(values)


def _contradiction(values: Mapping[str, Any]) -> str:
    """Where the test accuracy is not that of the predictions, as a predicate."""
    try:
        labels, predictions = decode(values["labels"]), decode(values["predictions"])
        top1, images = float(values["test"]["top1"]), values["test"]["images"]
    except (TypeError, ValueError, KeyError, zlib.error) as error:
        return f"holds no test score with its predictions: {error!r}"
    if not images == len(labels) == len(predictions):
        return f"has {len(predictions):,} predictions for {images:,} test images"
    right = int((labels == predictions).sum())
    if abs(top1 * images - right) > 0.01:
        return f"names a test accuracy of {top1:.4f}; its predictions have {right / images:.4f}"
    return ""
