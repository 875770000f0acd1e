"""Equal epochs and equal seconds: what each run had reached by a budget, from its own history.

A run with a constant learning rate passes, after e epochs, exactly through the state in which a
run of e epochs ends, so its history answers for every shorter run. With a schedule that depends
on the length of the run it does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.compare.values import SYNTHETIC, Value, mean_and_spread, synthetic

__all__ = ["at_budget", "elapsed"]


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
    seeds: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        seeds.setdefault(record["row"] or record["recipe"]["model"], []).append(record)
    lines = {row: _line(group, epochs, seconds, metric) for row, group in seeds.items()}
    columns = ["epochs", "seconds", metric, "stopped by"]
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns).rename_axis("row")


def elapsed(record: Mapping[str, Any]) -> list[float]:
    """Seconds at the end of each epoch, with what was scored after each."""
    return list(itertools.accumulate(epoch["seconds"] for epoch in record["rows"]))


def _line(
    group: Sequence[Mapping[str, Any]], epochs: int | None, seconds: float | None, metric: str
) -> list[Value | str]:
    """Mean epochs, seconds and metric of one row's seeds within the budget, and what ended them."""
    counts = [_epochs_within(record, epochs, seconds) for record in group]
    states = [_state(record, n, metric) for record, n in zip(group, counts, strict=True)]
    whole = all(n == len(record["rows"]) for record, n in zip(group, counts, strict=True))
    end = "its own end" if whole else "the budget"
    if None in states:
        return ["", "", "", end]
    means = [mean_and_spread(values) for values in zip(*states, strict=True)]
    marks = ("", "", SYNTHETIC if synthetic(group) else "")
    names = ("epochs", "seconds", metric)
    values = [
        Value(name, *mean, len(group), mark)
        for name, mean, mark in zip(names, means, marks, strict=True)
    ]
    return [*values, end]


def _epochs_within(record: Mapping[str, Any], epochs: int | None, seconds: float | None) -> int:
    """Whole epochs within the budget."""
    if epochs is not None:
        return min(epochs, len(record["rows"]))
    return sum(time <= seconds for time in elapsed(record))


def _state(record: Mapping[str, Any], n: int, metric: str) -> tuple[int, float, float] | None:
    """Epochs, seconds and metric at the end of epoch n; None where the run has none of them."""
    epoch = record["rows"][n - 1] if n else {}
    return (n, elapsed(record)[n - 1], epoch[metric]) if metric in epoch else None
