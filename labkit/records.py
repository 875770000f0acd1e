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

SCHEMA = 1
FIELDS = {
    "schema", "row", "report", "preset", "recipe", "digest", "rows", "test", "best_test",
    "train_clean", "seconds", "images_per_second", "peak_memory_mb", "device", "versions", "data",
    "code", "fingerprint", "parameters", "created", "resumed", "predictions", "labels", "details",
    "checksum",
}  # fmt: skip


class Record(Mapping[str, Any]):
    """A read-only view of one record; `record["test"]["top1"]` reads its JSON."""

    def __init__(self, values: dict[str, Any], path: Path | None = None) -> None:
        self.values_, self.path = values, path

    def __getitem__(self, name: str) -> Any:
        return self.values_[name]

    def __iter__(self):
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def __repr__(self) -> str:
        score = f"{100 * self['test']['top1']:.2f} % of {self['test']['images']:,} test images"
        return f"<Record {self['row'] or self['recipe']['model']} {self['preset']}: {score}>"

    @property
    def recipe(self) -> Recipe:
        return Recipe.from_json(self["recipe"])

    @property
    def synthetic(self) -> bool:
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


def seal(values: dict[str, Any]) -> Record:
    """Complete a record with its schema, time and checksum.

    Raises:
        RecordError: a field is missing, unknown, or not finite.
    """
    values = {"schema": SCHEMA, **values, "created": now()}
    values["checksum"] = _checksum(values)
    _check(values, "this record")
    return Record(values)


def amend(record: Record, changes: Mapping[str, Any]) -> Record:
    """The same record with other values in some fields: labels of who asks, or a fingerprint."""
    if all(record[name] == value for name, value in changes.items()):
        return record
    values = {**record, **changes}
    return Record(values | {"checksum": _checksum(values)}, record.path)


def claim(record: Record, path: Path) -> bool:
    """Write the record under its final name; False where one stands there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return files.claim(path, _dump(dict(record)).encode())


def read(path: Path) -> Record:
    """Read and verify one record file.

    Raises:
        FileNotFoundError: there is none.
        RecordError: truncated, edited, or of another schema.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (ValueError, OSError, RecursionError) as error:
        raise RecordError(f"{path} is not a readable record: {error}") from error
    _check(values, path)
    return Record(values, Path(path))


def recorded(
    report: str | None = None, *, preset: str | None = None, folder: Path | None = None
) -> list[Record]:
    """The committed records, sorted by row, preset and seed."""
    paths = sorted((folder or files.records_home()).glob("**/*.json"))
    found = [read(path) for path in paths]
    chosen = [
        record
        for record in found
        if report in (None, record["report"]) and preset in (None, record["preset"])
    ]
    return sorted(chosen, key=lambda r: (r["row"], r["preset"], r["recipe"]["seed"]))


def file_name(record: Mapping[str, Any]) -> str:
    """Where a record lies below the records folder: report/row-preset-seed-digest.json."""
    seed = record["recipe"]["seed"]
    name = f"{record['row']}-{record['preset']}-s{seed}-{record['digest'][:8]}.json"
    return f"{record['report']}/{name}"


def by_row(found: Iterable[Record]) -> dict[str, list[Record]]:
    """The records of each row, by its id, in the order in which they come."""
    rows: dict[str, list[Record]] = {}
    for record in found:
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
    packages = {name: metadata.version(name) for name in ("torch", "torchvision", "numpy")}
    return {"python": platform.python_version(), "labkit": _labkit_version(), **packages}


def now() -> str:
    """UTC, ISO 8601, to the second; nothing is ordered or named by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _labkit_version() -> str:
    try:
        return metadata.version("labkit")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "checkout"


def _dump(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def _checksum(values: Mapping[str, Any]) -> str:
    content = {name: value for name, value in values.items() if name != "checksum"}
    try:
        return hashlib.sha256(_dump(content).encode()).hexdigest()
    except ValueError as error:
        raise RecordError(f"a record holds only finite numbers: {error}") from error


def _check(values: Any, name: Any) -> None:
    if not isinstance(values, dict):
        raise RecordError(
            f"{name} is not a record: it holds {type(values).__name__}, not an object"
        )
    if values.get("schema") != SCHEMA:
        raise RecordError(
            f"{name} has schema {values.get('schema')!r}; this labkit reads schema {SCHEMA}"
        )
    wrong = sorted(FIELDS.symmetric_difference(values))
    if wrong:
        raise RecordError(f"{name} has missing or unknown fields: {', '.join(wrong)}")
    if values["checksum"] != _checksum(values):
        raise RecordError(f"{name} was changed after it was written: its checksum does not match")
    try:
        Recipe.from_json(values["recipe"])
    except (TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{name} holds no recipe of this labkit: {error}") from error
    # as it was written: a field that a recipe gained since then does not change what was run
    if digest_of(values["recipe"]) != values["digest"]:
        raise RecordError(f"{name} names digest {values['digest']}, which is not its recipe's")
