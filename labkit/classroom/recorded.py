"""What an assignment may read of the committed records: a few numbers, in a file beside it."""

from __future__ import annotations

import json

from labkit import records
from labkit.errors import DataError

__all__ = ["ROWS", "recorded"]

# the rows whose scores an assignment judges by; their lesson runs have several seeds
ROWS = {
    "deeper_net": ("002-M1",),
    "fair_fight": ("001-E1", "001-E1F", "001-E1S", "001-E1T", "001-E2"),
    "pictures": ("001-E1", "001-E2", "001-E1T", "001-E1S"),
}


def recorded(assignment: str) -> str:
    """The file `recorded.json` of an assignment.

    It maps `top1` to row -> seed -> accuracy on the test images, in percent, `seconds` to row ->
    seed -> what the run took, and `curves` to row -> seed -> the losses of each epoch.

    Args:
        assignment: one of `ROWS`.

    Raises:
        DataError: a row has no recorded lesson.
    """
    rows = ROWS[assignment]
    top1, seconds, curves = ({row: {} for row in rows} for _ in range(3))
    for record in records.recorded(preset="lesson"):
        if record["row"] in rows and not record.synthetic:
            row, seed = record["row"], str(record["recipe"]["seed"])
            top1[row][seed] = round(100 * record["test"]["top1"], 3)
            seconds[row][seed] = round(record["seconds"])
            curves[row][seed] = {
                name: [round(epoch[name], 4) for epoch in record["rows"]]
                for name in ("train_loss", "val_loss")
                if name in record["rows"][0]
            }
    if missing := [row for row in rows if not top1[row]]:
        raise DataError(f"no recorded lesson of {', '.join(missing)}; labkit sweep makes it")
    return json.dumps({"top1": top1, "seconds": seconds, "curves": curves}, indent=1) + "\n"
