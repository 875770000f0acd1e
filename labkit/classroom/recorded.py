"""What an assignment may read of the committed records: a few numbers, in a file beside it."""

from __future__ import annotations

import json

from labkit import records
from labkit.errors import DataError

__all__ = ["ROWS", "recorded"]

# the rows whose scores an assignment judges by; their lesson runs have several seeds
ROWS = {"pictures": ("001-E1", "001-E2", "001-E1T", "001-E1S")}


def recorded(assignment: str) -> str:
    """The file `recorded.json` of an assignment: row -> seed -> top-1 on the test images, in %.

    Args:
        assignment: one of `ROWS`.

    Raises:
        DataError: a row has no recorded lesson.
    """
    scores: dict[str, dict[str, float]] = {row: {} for row in ROWS[assignment]}
    for record in records.recorded(preset="lesson"):
        if record["row"] in scores and not record.synthetic:
            seed, top1 = record["recipe"]["seed"], record["test"]["top1"]
            scores[record["row"]][str(seed)] = round(100 * top1, 3)
    if missing := [row for row, seeds in scores.items() if not seeds]:
        raise DataError(f"no recorded lesson of {', '.join(missing)}; labkit sweep makes it")
    return json.dumps(scores, indent=1) + "\n"
