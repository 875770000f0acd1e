"""Are the committed records still what today's code would give?"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from pathlib import Path

from labkit import files
from labkit.errors import FAILED, OK, InputError, RecordError
from labkit.recipe import Recipe
from labkit.records import Record, read
from labkit.reports import find_row
from labkit.train.fingerprint import record_fingerprint, same_fingerprint

__all__ = ["check_records", "stale_records", "staleness"]


def staleness(record: Record) -> str:
    """Why a record is stale, in words; empty when it is fresh.

    A record is held to its recipe (the row must still ask for it) and to its fingerprint (today's
    code must start the same training), not to lines of source: a refactor keeps GPU hours. Its
    learning rates are those of today's schedule. How images are normalised, held out, routed and
    scored is not covered; tests hold that.
    """
    recipe = record.recipe
    try:
        row = find_row(record["row"])[1]
    except InputError as error:
        return str(error)
    wanted = row.at(record["preset"])
    if wanted is None:
        return f"row {row.id} asks for no record of preset {record['preset']!r}"
    wanted = wanted.replace(dataset=recipe.dataset, seed=recipe.seed)
    if wanted.digest != recipe.digest:
        changed = _differing(wanted.to_json(), recipe.to_json())
        return f"the row's recipe has changed: {', '.join(changed)}"
    if not record["fingerprint"]:
        return "it has no fingerprint; `labkit sweep` writes records that have one"
    if not same_fingerprint(record_fingerprint(record), record["fingerprint"]):
        return "today's code starts another training: its fingerprint differs"
    if not recipe.hierarchy and not _same_schedule(record, recipe):
        return "today's schedule gives other learning rates"
    return ""


def _same_schedule(record: Record, recipe: Recipe) -> bool:
    images = record["details"]["train_images"] * recipe.passes
    steps = recipe.steps(images)
    return all(
        math.isclose(row["lr"], recipe.lr_at(row["epoch"] * steps - 1, images), abs_tol=1e-12)
        for row in record["rows"]
    )


def check_records(folder: Path | None = None) -> tuple[int, list[Record]]:
    """Print one line a record; the exit code, and the records that can be read.

    The exit code is OK when every one can be read and is fresh.

    Raises:
        InputError: there are none, so that nothing was checked.
    """
    folder = folder or files.records_home()
    readable, reasons = [], []
    paths = sorted(folder.glob("**/*.json"))
    if not paths:
        raise InputError(f"there are no records in {folder}; LABKIT_RECORDS names another folder")
    for path in paths:
        try:
            readable.append(read(path))
            reason = staleness(readable[-1])
        except RecordError as error:
            reason = str(error)
        reasons.append(reason)
        print(f"{'STALE' if reason else 'fresh'}  {path.relative_to(folder)}  {reason}".rstrip())
    stale = sum(map(bool, reasons))
    print(f"{len(reasons) - stale} fresh, {stale} stale", file=sys.stderr)
    return FAILED if stale else OK, readable


def stale_records(records: Iterable[Record]) -> dict[str, str]:
    """Path of each stale record with its reason."""
    reasons = {str(record.path): staleness(record) for record in records}
    return {path: reason for path, reason in reasons.items() if reason}


def _differing(ours: dict, theirs: dict) -> list[str]:
    return [name for name in ours if ours[name] != theirs.get(name)]
