"""The evidence for a verdict in words: means, differences, chance and caveats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.compare.noise import Gap, mcnemar
from labkit.compare.values import Rows, describe, fraction, mean_and_spread, measured

__all__ = [
    "brackets", "chance_words", "comparison", "difference_words", "interval_words", "limit_words",
    "listing", "mean_words", "pair_words", "points", "seed_words", "time_caveat",
]  # fmt: skip


def points(metric: str, size: float) -> float:
    """A difference in percentage points for accuracies, else as it is."""
    return 100 * size if fraction(metric) else size


def difference_words(metric: str, size: float) -> str:
    """A difference in words, such as "22.9 points"; accuracies are in points already."""
    return f"{size:.3g} points" if fraction(metric) else describe(metric, size)


def limit_words(metric: str, least: float | None, most: float | None) -> str:
    """What lies between two limits, either of which may be absent."""
    if least is not None and most is not None:
        return f"{describe(metric, least)} to {describe(metric, most)}"
    return (
        f"at most {describe(metric, most)}"
        if least is None
        else f"{describe(metric, least)} or more"
    )


def interval_words(metric: str, value: float, tolerance: float) -> str:
    """A value and how far off it may be, such as "92.0 % ± 1 points"."""
    return f"{describe(metric, value)} ± {difference_words(metric, points(metric, tolerance))}"


def listing(names: Sequence[str]) -> str:
    """The names as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def seed_words(n: int) -> str:
    """How many seeds a mean is of; empty for a single run."""
    return f"mean of {n} seeds" if n > 1 else ""


def mean_words(metric: str, records: Rows, row: str) -> str:
    """A row and its mean, such as "002-M2 61.0 % (mean of 3 seeds)"."""
    values = measured(records[row], metric)
    return (
        f"{row} {describe(metric, mean_and_spread(values)[0])}{brackets(seed_words(len(values)))}"
    )


def comparison(metric: str, records: Rows, a: str, b: str, gap: Gap) -> str:
    """Two rows, how far a is from b, and how much of that may be chance: a sentence or two."""
    size = difference_words(metric, points(metric, abs(gap.size)))
    side = "higher" if gap.size > 0 else "lower" if gap.size < 0 else "apart"
    pair = ""
    if gap.same_images and max(gap.runs) == 1:
        pair = pair_words(records[a][0], records[b][0])
    return (
        f"{mean_words(metric, records, a)} against {mean_words(metric, records, b)}:"
        f" {size} {side}{brackets(chance_words(metric, gap))}.{pair}"
    )


def pair_words(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """How two runs differ image by image: what McNemar's test says of the pair, not of the rows."""
    only_a, only_b, chance = mcnemar(a, b)
    odds = "p < 0.001" if chance < 0.001 else f"p = {chance:.2g}"
    return (
        f" Of the same {a['test']['images']:,} images {only_a:,} are right in {a['row']} alone and"
        f" {only_b:,} in {b['row']} alone (McNemar, of these two runs: {odds})."
    )


def chance_words(metric: str, gap: Gap) -> str:
    """How far chance reaches around a mean, or a difference of two; empty where it has no part."""
    if gap.half == 0:
        return ""
    if math.isinf(gap.half):
        return "no row has been run twice at this budget, so what chance does is unknown"
    low, high = (points(metric, abs(gap.size) + side * gap.half) for side in (-1, 1))
    runs = {1: "; one run", 2: "; two runs"}.get(min(gap.runs), "")
    sides = "" if not runs or len(gap.runs) == 1 else " on one side"
    if runs and len(set(gap.runs)) == 1 and len(gap.runs) == 2:
        sides = " a side"
    return f"95 % interval {low:.3g} to {high:.3g}{runs}{sides}"


def brackets(*parts: str) -> str:
    """The parts that are not empty, in one pair of brackets after a space."""
    parts = tuple(filter(None, parts))
    return f" ({'; '.join(parts)})" if parts else ""


def time_caveat(records: Sequence[Mapping[str, Any]]) -> str:
    """That times are not of one machine that had nothing else to do; empty where they are."""
    first, *others = [record["device"] for record in records]
    alone = "together" not in first and all(device == first for device in others)
    return "" if alone else "Not all were timed alone and on one machine."
