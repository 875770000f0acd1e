"""The evidence for a verdict in words: means, differences, chance and caveats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labkit.compare.values import (
    RATES,
    Rows,
    describe,
    fraction,
    mean_and_spread,
    measured,
    synthetic,
)

__all__ = [
    "budget_caveat", "chance_words", "comparison", "data_caveat", "difference_words",
    "interval_words", "listing", "mean_words", "points", "seed_words", "time_caveat",
]  # fmt: skip

UNEVEN = 2.0  # budgets that differ by a larger factor are not comparable


def points(metric: str, size: float) -> float:
    """A difference in percentage points for accuracies, else as it is."""
    return 100 * size if fraction(metric) else size


def difference_words(metric: str, size: float) -> str:
    """A difference in words, such as "22.9 points"; accuracies are in points already."""
    return f"{size:.3g} points" if fraction(metric) else describe(metric, size)


def interval_words(metric: str, value: float, tolerance: float) -> str:
    """A value and how far off it may be, such as "92.0 % ± 1 points"."""
    return f"{describe(metric, value)} ± {difference_words(metric, points(metric, tolerance))}"


def listing(names: Sequence[str]) -> str:
    """The names as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def seed_words(n: int) -> str:
    """How many seeds a mean is of; empty for a single run."""
    return f" (mean of {n} seeds)" if n > 1 else ""


def mean_words(metric: str, records: Rows, row: str) -> str:
    """A row and its mean, such as "002-M2 61.0 % (mean of 3 seeds)"."""
    values = measured(records[row], metric)
    return f"{row} {describe(metric, mean_and_spread(values)[0])}{seed_words(len(values))}"


def comparison(metric: str, records: Rows, a: str, b: str, gap: float, half: float) -> str:
    """Two rows, how far a is from b, and how much of that may be chance: a sentence."""
    seeds = [len(measured(records[row], metric)) for row in (a, b)]
    size = difference_words(metric, points(metric, abs(gap)))
    side = "higher" if gap > 0 else "lower" if gap < 0 else "apart"
    return (
        f"{mean_words(metric, records, a)} against {mean_words(metric, records, b)}:"
        f" {size} {side}{chance_words(metric, gap, half, seeds)}."
    )


def chance_words(metric: str, gap: float, half: float, seeds: Sequence[int]) -> str:
    """How far chance reaches around a gap between means of so many seeds."""
    if min(seeds) > 1:
        low, high = points(metric, abs(gap) - half), points(metric, abs(gap) + half)
        return f" (95 % interval {low:.3g} to {high:.3g})"
    if half == 0:
        return ""
    runs = "one run a side" if max(seeds) == 1 else "one run on one side"
    return f" ({runs}; chance may explain {difference_words(metric, points(metric, half))})"


def data_caveat(records: Sequence[Mapping[str, Any]]) -> str:
    """That the records are not of the report's own data and budget; empty where they are."""
    if synthetic(records):
        return "On synthetic data, says nothing about the report."
    presets = sorted({record["preset"] for record in records} - {"full"})
    if presets:
        return f"At preset {listing(presets)}, not at the report's own budget."
    if not all(record["data"]["complete"] for record in records):
        return "On a subset of the published data."
    return ""


def budget_caveat(rows: Iterable[str], records: Rows, shares: Mapping[str, float]) -> str:
    """That a short preset has not given the rows comparable budgets; empty where it has."""
    first = {row: records[row][0] for row in rows if row in shares}
    if all(record["preset"] == "full" for record in first.values()):
        return ""
    images = {row: sum(e["images"] for e in record["rows"]) for row, record in first.items()}
    parts = {row: shares[row] for row in first}
    if any(max(each.values()) <= UNEVEN * min(each.values()) for each in (images, parts)):
        return ""
    budgets = [
        f"{row} {seen:,} images, {100 * parts[row]:.2g} % of its own"
        for row, seen in images.items()
    ]
    return f"The rows have not had comparable budgets: {listing(budgets)}."


def time_caveat(metric: str, records: Sequence[Mapping[str, Any]]) -> str:
    """That times are not of one machine that had nothing else to do; empty where they are."""
    if metric not in ("seconds", *RATES):
        return ""
    first, *others = [record["device"] for record in records]
    alone = "together" not in first and all(device == first for device in others)
    return "" if alone else "Not all were timed alone and on one machine."
