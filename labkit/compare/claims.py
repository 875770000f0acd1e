"""Claims of the reports as data, with a short constructor for each kind.

Each constructor makes an id and a text for its claim; `id=` and `text=` replace them, and
`sentence=` adds the report's own words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.compare.values import EXACT, describe, label
from labkit.compare.words import difference_words, interval_words

__all__ = [
    "REPRODUCED", "Claim", "Needs", "at_least", "at_most", "below", "equal", "higher", "lower",
    "monotone", "no_better", "overlap", "peak_at", "ranking", "ratio", "within",
]  # fmt: skip

REPRODUCED = 0.03  # how far two runs of one row may lie apart by chance: a printed score is met


@dataclass(frozen=True)
class Needs:
    """What records must be to decide a claim; without it the claim is untested.

    Attributes:
        budget: a preset, or "any" where it does not matter how long a row was trained.
        data: "complete"; "part" where a part of the published set can answer, and says so; "any"
            where the images do not matter, as for counts.
        device: "cpu", "cuda", or "any"; of times, which also need a machine to themselves.
    """

    budget: str = "full"
    data: str = "part"
    device: str = "any"


@dataclass(frozen=True)
class Claim:
    """What a report says about its rows, in a form that records can decide.

    `sentence` is the report's own, as published.csv has it; empty where a table says it, or where
    the claim is ours.
    """

    id: str
    text: str
    kind: str
    rows: tuple[str, ...]
    metric: str = "test_top1"
    numbers: Mapping[str, Any] = field(default_factory=dict, hash=False)
    needs: Needs = Needs()
    sentence: str = ""


def higher(
    a: str,
    b: str,
    *,
    metric: str = "test_top1",
    points: float | None = None,
    at_least: float = 0.0,
    **named: str,
) -> Claim:
    """a has more of the metric than b.

    `points` is the gap that the report prints and decides nothing; `at_least` is the gap that
    must be there. Both are percentage points for accuracies, else in the metric's unit.
    """
    numbers = {"points": points, "at_least": at_least}
    printed = "" if points is None else f" (report: by {difference_words(metric, points)})"
    text = f"{a} has a higher {label(metric)} than {b}{printed}"
    return _claim("higher", (a, b), metric, text, numbers, named)


def lower(a: str, b: str, *, metric: str = "test_loss", **named: str) -> Claim:
    """a has less of the metric than b."""
    text = f"{a} has a lower {label(metric)} than {b}"
    return _claim("lower", (a, b), metric, text, {}, named)


def no_better(
    a: str, b: str, *, metric: str = "test_top1", tolerance: float = 1.5, **named: str
) -> Claim:
    """a is not ahead of b by more than `tolerance` (points for accuracies)."""
    room = difference_words(metric, tolerance)
    text = f"{a} has no higher {label(metric)} than {b}, give or take {room}"
    return _claim("no_better", (a, b), metric, text, {"tolerance": tolerance}, named)


def equal(
    a: str, b: str, *, metric: str = "test_top1", tolerance: float = 100 * REPRODUCED, **named: str
) -> Claim:
    """a and b are no further apart than `tolerance` (points for accuracies), either way."""
    room = difference_words(metric, tolerance)
    text = f"{a} and {b} have the same {label(metric)}, give or take {room}"
    return _claim("equal", (a, b), metric, text, {"tolerance": tolerance}, named)


def ratio(
    a: str,
    b: str,
    *,
    metric: str,
    at_least: float | None = None,
    at_most: float | None = None,
    printed: float | None = None,
    device: str = "any",
    **named: str,
) -> Claim:
    """The metric of a, divided by that of b, lies within the limits.

    Args:
        printed: the report's ratio, which must lie within both limits.
        device: where times must have been taken: "cpu", "cuda" or "any".

    Raises:
        ValueError: a printed ratio without both limits, or outside them.
    """
    if printed is not None and not (at_least or 1e9) <= printed <= (at_most or 0):
        raise ValueError(f"a printed ratio of {printed:g} needs a limit on either side of it")
    limits = [f"at least {at_least:g}"] if at_least is not None else []
    limits += [f"at most {at_most:g}"] if at_most is not None else []
    source = "" if printed is None else f" (report: {printed:g})"
    text = f"{a} takes {' and '.join(limits)} times the {label(metric)} of {b}{source}"
    numbers = {"at_least": at_least, "at_most": at_most, "printed": printed}
    return _claim("ratio", (a, b), metric, text, numbers, named, device=device)


def ranking(rows: Iterable[str], *, metric: str = "test_top1", **named: str) -> Claim:
    """Each row has more of the metric than the next: the best comes first."""
    rows = tuple(rows)
    text = f"by {label(metric)}, best first: {', '.join(rows)}"
    return _claim("ranking", rows, metric, text, {}, named)


def monotone(
    rows: Iterable[str], direction: str = "falling", *, metric: str = "test_top1", **named: str
) -> Claim:
    """The metric is falling, or rising, from each row to the next.

    Raises:
        ValueError: another direction.
    """
    if direction not in ("falling", "rising"):
        raise ValueError(f"direction is {direction!r}; it must be falling or rising")
    rows = tuple(rows)
    text = f"{label(metric)} is {direction} along {', '.join(rows)}"
    return _claim("monotone", rows, metric, text, {"direction": direction}, named)


def peak_at(rows: Iterable[str], which: str, *, metric: str = "test_top1", **named: str) -> Claim:
    """One of the rows has more of the metric than every other.

    Raises:
        ValueError: it is not among the rows.
    """
    rows = tuple(rows)
    if which not in rows:
        raise ValueError(f"the peak {which!r} is not among the rows {', '.join(rows)}")
    others = ", ".join(row for row in rows if row != which)
    text = f"{which} has the highest {label(metric)}, above {others}"
    return _claim("peak_at", rows, metric, text, {"which": which}, named)


def within(
    row: str, value: float, tolerance: float, *, metric: str = "test_top1", **named: str
) -> Claim:
    """The metric of a row is `value`, give or take `tolerance` (both in the metric's unit)."""
    text = f"{row} reaches a {label(metric)} of {interval_words(metric, value, tolerance)}"
    numbers = {"at_least": value - tolerance, "at_most": value + tolerance}
    return _claim("level", (row,), metric, text, numbers, named, data="complete")


def at_least(row: str, limit: float, *, metric: str = "test_top1", **named: str) -> Claim:
    """The metric of a row is `limit` or more (in the metric's unit)."""
    text = f"{row} reaches a {label(metric)} of at least {describe(metric, limit)}"
    numbers = {"at_least": limit, "at_most": None}
    return _claim("level", (row,), metric, text, numbers, named, data="complete")


def at_most(row: str, limit: float, *, metric: str = "test_top1", **named: str) -> Claim:
    """The metric of a row is `limit` or less (in the metric's unit)."""
    text = f"{row} has a {label(metric)} of at most {describe(metric, limit)}"
    numbers = {"at_least": None, "at_most": limit}
    return _claim("level", (row,), metric, text, numbers, named, data="complete")


def below(row: str, metric_a: str, metric_b: str, **named: str) -> Claim:
    """Within each run of a row, one metric stays below another."""
    text = f"{row}: {label(metric_a)} is below {label(metric_b)}"
    return _claim("below", (row,), metric_a, text, {"than": metric_b}, named)


def overlap(a: str, b: str, **named: str) -> Claim:
    """Two models are right and wrong on the same images more often than independent ones."""
    text = f"{a} and {b} get the same images right and wrong"
    return _claim("overlap", (a, b), "test_top1", text, {}, named)


def _claim(
    kind: str,
    rows: tuple[str, ...],
    metric: str,
    text: str,
    numbers: Mapping[str, Any],
    named: Mapping[str, str],
    **needs: str,
) -> Claim:
    """A claim under its own name and text, or under those that its report has `named`."""
    if others := sorted(set(named) - {"id", "text", "sentence"}):
        raise TypeError(
            f"{kind}() takes id=, text= and sentence= besides its numbers, not {others[0]!r}"
        )
    name = named.get("id") or f"{kind}: {' '.join(rows)} ({metric})"
    if metric in EXACT:  # counted, however short the run and whatever its images
        needs = {"budget": "any", "data": "any"}
    return Claim(
        name, named.get("text") or text, kind, rows, metric, numbers, Needs(**needs),
        named.get("sentence", ""),
    )  # fmt: skip
