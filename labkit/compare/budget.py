"""Equal epochs and equal seconds: what each run had reached by a budget, from its own rows.

A run with a constant learning rate passes, after e epochs, exactly through the state in which a
run of e epochs ends, so its rows answer for every shorter run. With a schedule that depends on
the length of the run they do not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from labkit.compare.values import Value, mean_and_spread

CUT, ENDED = "the budget", "its own end"


def at_budget(
    records: Iterable[Mapping[str, Any]],
    *,
    epochs: int | None = None,
    seconds: float | None = None,
    metric: str = "val_top1",
) -> pd.DataFrame:
    """The metric of each row after `epochs` epochs or `seconds` seconds, the mean over its seeds.

    One line a row, its id the index: epochs (done within the budget), seconds, the metric, and
    `stopped by` (the budget, or the run's own end before it). A run that ended early is counted as
    it ended; a run that has no epoch within the budget is left empty.

    Raises:
        ValueError: not exactly one of the two budgets is given.
    """
    if (epochs is None) == (seconds is None):
        raise ValueError("give exactly one budget: epochs=10 or seconds=600")
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault(record["row"] or record["recipe"]["model"], []).append(record)
    lines = {row: _line(group, epochs, seconds, metric) for row, group in groups.items()}
    columns = ["epochs", "seconds", metric, "stopped by"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns).rename_axis("row")


def elapsed(record: Mapping[str, Any]) -> list[float]:
    """Seconds at the end of each epoch, with what was scored after each."""
    return list(itertools.accumulate(row["seconds"] for row in record["rows"]))


def _line(group, epochs: int | None, seconds: float | None, metric: str) -> list[Any]:
    done = [_done(record, epochs, seconds) for record in group]
    cut = any(n < len(record["rows"]) for n, record in zip(done, group, strict=True))
    reason = CUT if cut else ENDED
    if not all(done) or any(metric not in record["rows"][0] for record in group):
        return ["", "", "", reason]
    ends = [
        (n, elapsed(r)[n - 1], r["rows"][n - 1][metric]) for n, r in zip(done, group, strict=True)
    ]
    marks = "synthetic" if any(record["data"]["synthetic"] for record in group) else ""
    names = ("epochs", "seconds", metric)
    return [
        Value(name, *mean_and_spread(values), len(group), marks if name == metric else "")
        for name, values in zip(names, zip(*ends, strict=True), strict=True)
    ] + [reason]


def _done(record: Mapping[str, Any], epochs: int | None, seconds: float | None) -> int:
    """Whole epochs within the budget."""
    if epochs is not None:
        return min(epochs, len(record["rows"]))
    return sum(time <= seconds for time in elapsed(record))
