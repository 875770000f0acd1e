"""Claims of the reports as data, and how a set of records decides them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from labkit.compare.values import (
    EXACT,
    agreement,
    describe,
    fraction,
    label,
    mean_and_spread,
    measure,
    measured,
    same_images,
    t_quantile,
    welch,
)

SPREAD = 0.015  # of one run's accuracy: the reports' own single-seed noise
MARGIN = 0.10  # of one run's time, loss or speed, as a share of the value
SYNTHETIC = "On synthetic data, says nothing about the report."
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "fails", "undecided", "not run"
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Claim:
    """What a report says about its rows, in a form that records can decide."""

    id: str
    text: str
    kind: str
    rows: tuple[str, ...]
    metric: str = "test_top1"
    numbers: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Verdict:
    """holds, fails, undecided or not run, and the sentence that says why."""

    verdict: str
    evidence: str
    synthetic: bool = False

    def __str__(self) -> str:
        return f"{self.verdict} (synthetic data)" if self.synthetic else self.verdict


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
    printed = "" if points is None else f" (report: by {_gap(metric, points)})"
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
    text = f"{a} has no higher {label(metric)} than {b}, give or take {_gap(metric, tolerance)}"
    return _claim("no_better", (a, b), metric, text, {"tolerance": tolerance}, named)


def ratio(
    a: str,
    b: str,
    *,
    metric: str,
    at_least: float | None = None,
    at_most: float | None = None,
    printed: float | None = None,
    **named: str,
) -> Claim:
    """The metric of a, divided by that of b, lies within the limits; `printed` is the report's."""
    limits = [f"at least {at_least:g}"] if at_least is not None else []
    limits += [f"at most {at_most:g}"] if at_most is not None else []
    said = "" if printed is None else f" (report: {printed:g})"
    text = f"{a} takes {' and '.join(limits)} times the {label(metric)} of {b}{said}"
    numbers = {"at_least": at_least, "at_most": at_most, "printed": printed}
    return _claim("ratio", (a, b), metric, text, numbers, named)


def ranking(rows: Iterable[str], *, metric: str = "test_top1", **named: str) -> Claim:
    """Each row has more of the metric than the next: the best comes first."""
    rows = tuple(rows)
    text = f"by {label(metric)}, best first: {', '.join(rows)}"
    return _claim("ranking", rows, metric, text, {}, named)


def monotone(
    rows: Iterable[str], direction: str = "falling", *, metric: str = "test_top1", **named: str
) -> Claim:
    """The metric is falling, or rising, from each row to the next."""
    if direction not in ("falling", "rising"):
        raise ValueError(f"direction is {direction!r}; it must be falling or rising")
    rows = tuple(rows)
    text = f"{label(metric)} is {direction} along {', '.join(rows)}"
    return _claim("monotone", rows, metric, text, {"direction": direction}, named)


def peak_at(rows: Iterable[str], which: str, *, metric: str = "test_top1", **named: str) -> Claim:
    """One of the rows has more of the metric than every other."""
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
    text = f"{row} reaches a {label(metric)} of {_give_or_take(metric, value, tolerance)}"
    return _claim("within", (row,), metric, text, {"value": value, "tolerance": tolerance}, named)


def below(row: str, metric_a: str, metric_b: str, **named: str) -> Claim:
    """Within each run of a row, one metric stays below another."""
    text = f"{row}: {label(metric_a)} is below {label(metric_b)}"
    return _claim("below", (row,), metric_a, text, {"than": metric_b}, named)


def overlap(a: str, b: str, **named: str) -> Claim:
    """Two models are right and wrong on the same images more often than independent ones."""
    text = f"{a} and {b} get the same images right and wrong"
    return _claim("overlap", (a, b), "test_top1", text, {}, named)


def judge(claim: Claim, records: Rows, *, spread: float = SPREAD) -> Verdict:
    """Decide a claim by the records of its rows.

    With two seeds or more on both sides the 95 % confidence interval of the difference (Welch)
    decides; with one, only a gap beyond `spread` (a fraction; losses and times: 10 %) does.
    """
    missing = [row for row in claim.rows if not _found(claim, records, row)]
    if missing:
        return Verdict(NOT_RUN, f"There is no {label(claim.metric)} of {_and(missing)} here.")
    verdict, evidence = JUDGES[claim.kind](claim, records, spread)
    used = [record for row in claim.rows for record in records[row]]
    synthetic = any(record["data"]["synthetic"] for record in used)
    return Verdict(verdict, f"{evidence} {_caveat(used)}".strip(), synthetic)


def verdicts(claims: Iterable[Claim], records: Rows) -> pd.DataFrame:
    """One line a claim: claim, verdict, evidence; the index is the claim's id."""
    claims = list(claims)
    judged = [judge(claim, records) for claim in claims]
    lines = {
        "claim": [claim.text for claim in claims],
        "verdict": [str(verdict) for verdict in judged],
        "evidence": [verdict.evidence for verdict in judged],
    }
    return pd.DataFrame(lines, index=pd.Index([claim.id for claim in claims], name="id"))


def _judge_higher(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    a, b = claim.rows
    least = claim.numbers.get("at_least", 0.0) / (100 if fraction(claim.metric) else 1)
    gap, half = _difference(records, a, b, claim.metric, spread)
    verdict = _side(gap - least, half)
    evidence = _compared(claim.metric, records, a, b, gap, half)
    if least:
        evidence += f" The claim asks for {_gap(claim.metric, claim.numbers['at_least'])}."
    if claim.numbers.get("points") is not None:
        evidence += f" The report has {_gap(claim.metric, claim.numbers['points'])}."
    return verdict, evidence


def _judge_lower(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    a, b = claim.rows
    gap, half = _difference(records, a, b, claim.metric, spread)
    return _side(-gap, half), _compared(claim.metric, records, a, b, gap, half)


def _judge_no_better(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    a, b = claim.rows
    gap, half = _difference(records, a, b, claim.metric, spread)
    room = claim.numbers["tolerance"] / (100 if fraction(claim.metric) else 1)
    verdict = UNDECIDED if gap - half <= room else FAILS
    verdict = HOLDS if gap <= 0 or gap + half <= room else verdict
    return verdict, _compared(claim.metric, records, a, b, gap, half)


def _judge_ratio(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    a, b = claim.rows
    means = [mean_and_spread(measured(records[row], claim.metric))[0] for row in claim.rows]
    if not means[1]:
        return UNDECIDED, f"The {label(claim.metric)} of {b} is 0."
    share = means[0] / means[1]
    slack = 0.0 if claim.metric in EXACT else MARGIN * share
    least, most = claim.numbers["at_least"], claim.numbers["at_most"]
    sides = [_side(share - least, slack, equal=HOLDS)] if least is not None else []
    sides += [_side(most - share, slack, equal=HOLDS)] if most is not None else []
    evidence = (
        f"{a} has a {label(claim.metric)} of {describe(claim.metric, means[0])},"
        f" {b} of {describe(claim.metric, means[1])}: {share:.3g} times as much."
    )
    if claim.numbers["printed"] is not None:
        evidence += f" The report has {claim.numbers['printed']:g}."
    return _all(sides), evidence


def _judge_ranking(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    return _ordered(claim, records, spread, list(itertools.pairwise(claim.rows)))


def _judge_monotone(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    pairs = itertools.pairwise(claim.rows)
    falling = claim.numbers["direction"] == "falling"
    return _ordered(claim, records, spread, [p if falling else p[::-1] for p in pairs])


def _judge_peak_at(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    which = claim.numbers["which"]
    pairs = [(which, row) for row in claim.rows if row != which]
    return _ordered(claim, records, spread, pairs)


def _judge_within(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    (row,) = claim.rows
    value, tolerance = claim.numbers["value"], claim.numbers["tolerance"]
    values = measured(records[row], claim.metric)
    mean, _ = mean_and_spread(values)
    half = _half_width(values, claim.metric, spread)
    distance = abs(mean - value)
    verdict = UNDECIDED if distance <= tolerance + half else FAILS
    verdict = HOLDS if distance <= tolerance else verdict
    asked = _give_or_take(claim.metric, value, tolerance)
    return verdict, f"{_stated(claim.metric, records, row)}; the claim asks for {asked}."


def _judge_below(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    (row,) = claim.rows
    small, large = claim.metric, claim.numbers["than"]
    pairs = [(measure(record, small), measure(record, large)) for record in records[row]]
    pairs = [pair for pair in pairs if None not in pair]
    gaps = [b - a for a, b in pairs]
    mean, _ = mean_and_spread(gaps)
    half = _half_width(gaps, small, spread)
    first, second = (mean_and_spread(side)[0] for side in zip(*pairs, strict=True))
    evidence = (
        f"{row}: {label(small)} {describe(small, first)}, {label(large)} {describe(large, second)}"
        f"{_seeds(len(gaps))}, {_gap(small, _in_points(small, abs(mean)))}"
        f" {'below' if mean > 0 else 'above'}{_bound(small, mean, half, len(gaps))}."
    )
    return _side(mean, half), evidence


def _judge_overlap(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    a, b = claim.rows
    pairs = [(x, y) for x, y in zip(records[a], records[b], strict=False) if same_images(x, y)]
    if not pairs:
        return UNDECIDED, f"{a} and {b} were scored on different test images."
    found = [agreement(*pair) for pair in pairs]
    alike, expected, right, wrong = (
        100 * mean_and_spread([getattr(each, name) for each in found])[0]
        for name in ("alike", "expected", "both_right", "both_wrong")
    )
    errors = mean_and_spread([each.z for each in found])[0]
    evidence = (
        f"{a} and {b} are both right on {right:.1f} % and both wrong on {wrong:.1f} % of"
        f" {found[0].images:,} test images: alike on {alike:.1f} %, where two independent models"
        f" of their accuracies would be on {expected:.1f} % ({errors:.1f} standard errors apart)."
    )
    return _side(errors, 1.96), evidence


JUDGES: dict[str, Callable[[Claim, Rows, float], tuple[str, str]]] = {
    "higher": _judge_higher,
    "lower": _judge_lower,
    "no_better": _judge_no_better,
    "ratio": _judge_ratio,
    "ranking": _judge_ranking,
    "monotone": _judge_monotone,
    "peak_at": _judge_peak_at,
    "within": _judge_within,
    "below": _judge_below,
    "overlap": _judge_overlap,
}


def _claim(kind, rows, metric, text, numbers, named: dict[str, str]) -> Claim:
    unknown = sorted(set(named) - {"id", "text"})
    if unknown:
        raise TypeError(f"{kind}() takes id= and text= besides its numbers, not {unknown[0]!r}")
    name = named.get("id") or f"{kind}: {' '.join(rows)} ({metric})"
    return Claim(name, named.get("text") or text, kind, tuple(rows), metric, numbers)


def _ordered(claim: Claim, records: Rows, spread: float, pairs) -> tuple[str, str]:
    """Every (a, b) of the pairs must have a above b."""
    gaps = [_difference(records, a, b, claim.metric, spread) for a, b in pairs]
    sides = [_side(gap, half) for gap, half in gaps]
    stated = ", ".join(_stated(claim.metric, records, row) for row in claim.rows)
    against = [f"{a} above {b}" for (a, b), side in zip(pairs, sides, strict=True) if side == FAILS]
    open_ = [
        f"{a} above {b}" for (a, b), side in zip(pairs, sides, strict=True) if side == UNDECIDED
    ]
    evidence = f"{stated}."
    evidence += f" Against the claim: not {_and(against)}." if against else ""
    evidence += f" Too close to tell: {_and(open_)}." if open_ else ""
    return _all(sides), evidence


def _difference(records: Rows, a: str, b: str, metric: str, spread: float) -> tuple[float, float]:
    """Mean of a minus mean of b, and how much of it may be chance."""
    first, second = measured(records[a], metric), measured(records[b], metric)
    if len(first) > 1 and len(second) > 1:
        return welch(first, second)
    gap = mean_and_spread(first)[0] - mean_and_spread(second)[0]
    return gap, _noise(metric, [*first, *second], spread)


def _half_width(values: Sequence[float], metric: str, spread: float) -> float:
    if len(values) < 2:
        return _noise(metric, values, spread)
    return t_quantile(len(values) - 1) * mean_and_spread(values)[1] / len(values) ** 0.5


def _noise(metric: str, values: Sequence[float], spread: float) -> float:
    """What a single run of the metric may be off by."""
    if metric in EXACT:
        return 0.0
    return spread if fraction(metric) else MARGIN * max(map(abs, values))


def _side(gap: float, half: float, *, equal: str = UNDECIDED) -> str:
    """Is the gap above 0 by more than chance, below 0, or neither?"""
    if gap == half == 0:
        return equal
    if gap > half:
        return HOLDS
    return FAILS if gap < -half else UNDECIDED


def _all(sides: Sequence[str]) -> str:
    if FAILS in sides:
        return FAILS
    return UNDECIDED if UNDECIDED in sides else HOLDS


def _found(claim: Claim, records: Rows, row: str) -> bool:
    found = records.get(row) or []
    metrics = [claim.metric, claim.numbers.get("than", claim.metric)]
    return any(all(measure(record, name) is not None for name in metrics) for record in found)


def _caveat(used: Sequence[Mapping[str, Any]]) -> str:
    if any(record["data"]["synthetic"] for record in used):
        return SYNTHETIC
    presets = sorted({record["preset"] for record in used} - {"full"})
    if presets:
        return f"At preset {_and(presets)}, not at the report's own budget."
    if not all(record["data"]["complete"] for record in used):
        return "On a subset of the published data."
    return ""


def _compared(metric: str, records: Rows, a: str, b: str, gap: float, half: float) -> str:
    n = min(len(measured(records[row], metric)) for row in (a, b))
    size = _gap(metric, _in_points(metric, abs(gap)))
    side = "higher" if gap > 0 else "lower" if gap < 0 else "apart"
    return (
        f"{_stated(metric, records, a)} against {_stated(metric, records, b)}:"
        f" {size} {side}{_bound(metric, gap, half, n)}."
    )


def _bound(metric: str, gap: float, half: float, n: int) -> str:
    scale = 100 if fraction(metric) else 1
    if n > 1:
        low, high = scale * (abs(gap) - half), scale * (abs(gap) + half)
        return f" (95 % interval {low:.3g} to {high:.3g})"
    if half == 0:
        return ""
    return f" (one run a side; chance may explain {_gap(metric, scale * half)})"


def _stated(metric: str, records: Rows, row: str) -> str:
    values = measured(records[row], metric)
    mean, _ = mean_and_spread(values)
    return f"{row} {describe(metric, mean)}{_seeds(len(values))}"


def _seeds(n: int) -> str:
    return f" (mean of {n} seeds)" if n > 1 else ""


def _gap(metric: str, size: float) -> str:
    """A difference in words; accuracies are in points already."""
    if fraction(metric):
        return f"{size:.3g} points"
    return describe(metric, size)


def _give_or_take(metric: str, value: float, tolerance: float) -> str:
    return f"{describe(metric, value)} ± {_gap(metric, _in_points(metric, tolerance))}"


def _in_points(metric: str, size: float) -> float:
    return 100 * size if fraction(metric) else size


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
