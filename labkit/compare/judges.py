"""How a set of records decides a claim."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from labkit.compare.claims import Claim, gap_words, give_or_take, in_points
from labkit.compare.frames import Table
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
RISE = (
    0.10  # of one run's `loss_rise`: a small difference of two losses that each move with the seed
)
UNEVEN = 2.0  # budgets that differ by a larger factor are not comparable
RATES = ("seconds_per_epoch", "images_per_second")
SYNTHETIC = "On synthetic data, says nothing about the report."
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "fails", "undecided", "not run"
Rows = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Verdict:
    """holds, fails, undecided or not run, and the sentence that says why."""

    verdict: str
    evidence: str
    synthetic: bool = False

    def __str__(self) -> str:
        return f"{self.verdict} (synthetic data)" if self.synthetic else self.verdict


def judge(
    claim: Claim,
    records: Rows,
    *,
    shares: Mapping[str, float] = {},
    spread: float = SPREAD,
) -> Verdict:
    """Decide a claim by the records of its rows.

    With two seeds or more on both sides the 95 % confidence interval of the difference (Welch)
    decides; with one, only a gap beyond `spread` (a fraction; losses and times: 10 %) does. Where
    one side has seeds, it must also be beyond what one more of them would differ by. Of a ratio,
    10 % are chance however many seeds there are. A value that a claim gives with a tolerance is
    met by any mean within it.

    `shares` says which part of its own budget each row has had. At a shorter preset, rows decide
    nothing about each other that have had neither equal budgets nor equal parts of their own.
    """
    missing = [row for row in claim.rows if not _found(claim, records, row)]
    if missing:
        return Verdict(NOT_RUN, f"There is no {label(claim.metric)} of {_and(missing)} here.")
    verdict, evidence = JUDGES[claim.kind](claim, records, spread)
    used = [record for row in claim.rows for record in records[row]]
    synthetic, caveat = any(record["data"]["synthetic"] for record in used), _caveat(used)
    if caveat and claim.kind == "within" and claim.metric not in EXACT:
        verdict = UNDECIDED  # other data or another budget cannot meet or miss a printed accuracy
    if claim.kind != "overlap" and claim.metric not in EXACT and not synthetic:
        rate = claim.metric in RATES  # which does not depend on how long a row has trained
        uneven = "" if rate else _uneven(claim.rows, records, shares)
        verdict = UNDECIDED if uneven else verdict
        caveat = " ".join(filter(None, (caveat, uneven, _timed(claim.metric, used))))
    return Verdict(verdict, f"{evidence} {caveat}".strip(), synthetic)


def verdicts(
    claims: Iterable[Claim], records: Rows, shares: Mapping[str, float] = {}
) -> pd.DataFrame:
    """One line a claim: claim, verdict, evidence; the index is the claim's id."""
    claims = list(claims)
    judged = [judge(claim, records, shares=shares) for claim in claims]
    lines = {
        "claim": [claim.text for claim in claims],
        "verdict": [str(verdict) for verdict in judged],
        "evidence": [verdict.evidence for verdict in judged],
    }
    return Table(lines, index=pd.Index([claim.id for claim in claims], name="id"))


def _judge_higher(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    a, b = claim.rows
    least = claim.numbers.get("at_least", 0.0) / (100 if fraction(claim.metric) else 1)
    gap, half = _difference(records, a, b, claim.metric, spread)
    verdict = _side(gap - least, half)
    evidence = _compared(claim.metric, records, a, b, gap, half)
    if least:
        evidence += f" The claim asks for {gap_words(claim.metric, claim.numbers['at_least'])}."
    if claim.numbers.get("points") is not None:
        evidence += f" The report has {gap_words(claim.metric, claim.numbers['points'])}."
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
    verdict = HOLDS if gap + half <= room else verdict
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
    what = label(claim.metric)
    evidence = (
        f"{what[0].upper()}{what[1:]} of {a}: {describe(claim.metric, means[0])}; of {b}:"
        f" {describe(claim.metric, means[1])}. That is {share:.3g} times as much."
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
    asked = give_or_take(claim.metric, value, tolerance)
    return verdict, f"{_stated(claim.metric, records, row)}; the claim asks for {asked}."


def _judge_below(claim: Claim, records: Rows, spread: float) -> tuple[str, str]:
    (row,) = claim.rows
    small, large = claim.metric, claim.numbers["than"]
    pairs = [(measure(record, small), measure(record, large)) for record in records[row]]
    pairs = [pair for pair in pairs if None not in pair]
    gaps = [b - a for a, b in pairs]
    mean, _ = mean_and_spread(gaps)
    half = _half_width(gaps, small, spread, of=[value for pair in pairs for value in pair])
    first, second = (mean_and_spread(side)[0] for side in zip(*pairs, strict=True))
    evidence = (
        f"{row}: {label(small)} {describe(small, first)}, {label(large)} {describe(large, second)}"
        f"{_seeds(len(gaps))}, {gap_words(small, in_points(small, abs(mean)))}"
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
    noise = _noise(metric, [*first, *second], spread)
    return gap, max(noise, _one_more(max(first, second, key=len)))


def _one_more(values: Sequence[float]) -> float:
    """How far one more run may lie from the mean of these: half of its 95 % prediction interval."""
    n = len(values)
    return t_quantile(n - 1) * mean_and_spread(values)[1] * (1 + 1 / n) ** 0.5 if n > 1 else 0.0


def _half_width(
    values: Sequence[float], metric: str, spread: float, of: Sequence[float] = ()
) -> float:
    """Half of the 95 % interval of a mean; for one run, the noise of what it was made `of`."""
    if len(values) < 2:
        return _noise(metric, of or values, spread)
    return t_quantile(len(values) - 1) * mean_and_spread(values)[1] / len(values) ** 0.5


def _noise(metric: str, values: Sequence[float], spread: float) -> float:
    """What a single run of the metric may be off by."""
    if metric in EXACT:
        return 0.0
    if metric == "loss_rise":
        return RISE
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


def _uneven(rows: Sequence[str], records: Rows, shares: Mapping[str, float]) -> str:
    """In words, that a short preset has not given the rows comparable budgets."""
    first = {row: records[row][0] for row in rows if row in shares}
    if all(record["preset"] == "full" for record in first.values()):
        return ""
    shown = {row: sum(e["images"] for e in record["rows"]) for row, record in first.items()}
    parts = {row: shares[row] for row in first}
    if any(max(each.values()) <= UNEVEN * min(each.values()) for each in (shown, parts)):
        return ""
    told = [f"{row} {shown[row]:,} images, {100 * parts[row]:.2g} % of its own" for row in first]
    return f"The rows have not had comparable budgets: {_and(told)}."


def _timed(metric: str, used: Sequence[Mapping[str, Any]]) -> str:
    """In words, that times are not of one machine that had nothing else to do."""
    if metric not in ("seconds", *RATES):
        return ""
    first, *others = [record["device"] for record in used]
    if "together" not in first and all(card == first for card in others):
        return ""
    return "Not all were timed alone and on one machine."


def _compared(metric: str, records: Rows, a: str, b: str, gap: float, half: float) -> str:
    n = [len(measured(records[row], metric)) for row in (a, b)]
    size = gap_words(metric, in_points(metric, abs(gap)))
    side = "higher" if gap > 0 else "lower" if gap < 0 else "apart"
    return (
        f"{_stated(metric, records, a)} against {_stated(metric, records, b)}:"
        f" {size} {side}{_bound(metric, gap, half, min(n), max(n))}."
    )


def _bound(metric: str, gap: float, half: float, n: int, most: int = 1) -> str:
    """How far chance reaches, with `n` seeds at least and `most` at most behind a mean."""
    scale = 100 if fraction(metric) else 1
    if n > 1:
        low, high = scale * (abs(gap) - half), scale * (abs(gap) + half)
        return f" (95 % interval {low:.3g} to {high:.3g})"
    if half == 0:
        return ""
    runs = "one run a side" if most == 1 else "one run on one side"
    return f" ({runs}; chance may explain {gap_words(metric, scale * half)})"


def _stated(metric: str, records: Rows, row: str) -> str:
    values = measured(records[row], metric)
    mean, _ = mean_and_spread(values)
    return f"{row} {describe(metric, mean)}{_seeds(len(values))}"


def _seeds(n: int) -> str:
    return f" (mean of {n} seeds)" if n > 1 else ""


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
