"""How a set of records decides a claim."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from labkit.compare.claims import Claim
from labkit.compare.values import (
    EXACT,
    RATES,
    Rows,
    agreement,
    describe,
    fraction,
    label,
    mean_and_spread,
    measure,
    measured,
    same_images,
    synthetic,
    t_quantile,
    welch,
)
from labkit.compare.words import (
    budget_caveat,
    chance_words,
    comparison,
    data_caveat,
    difference_words,
    interval_words,
    listing,
    mean_words,
    points,
    seed_words,
    time_caveat,
)

__all__ = ["MARGIN", "RISE", "SPREAD", "Verdict", "judge"]

SPREAD = 0.015  # of one run's accuracy: the reports' own single-seed noise
MARGIN = 0.10  # of one run's time, loss or speed, as a share of the value
RISE = 0.10  # of one run's `loss_rise`: a difference of two losses that each move with the seed
HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "fails", "undecided", "not run"


@dataclass(frozen=True)
class Verdict:
    """holds, fails, undecided or not run, and the sentence that says why."""

    verdict: str
    evidence: str
    synthetic: bool = False

    def __str__(self) -> str:
        return f"{self.verdict} (synthetic data)" if self.synthetic else self.verdict


def judge(claim: Claim, records: Rows, *, shares: Mapping[str, float] = {}) -> Verdict:
    """Decide a claim by the records of its rows.

    With two seeds or more on both sides the 95 % confidence interval of the difference (Welch)
    decides; with one, only a gap beyond SPREAD (losses and times: 10 %) does. Where one side has
    seeds, it must also be beyond what one more of them would differ by. Of a ratio, 10 % are
    chance however many seeds there are. A value that a claim gives with a tolerance is met by any
    mean within it.

    Args:
        records: the records of each row.
        shares: which part of its own budget each row has had. At a shorter preset, rows decide
            nothing about each other that have had neither equal budgets nor equal parts of their
            own.
    """
    missing = [row for row in claim.rows if not _decidable(claim, records, row)]
    if missing:
        return Verdict(NOT_RUN, f"There is no {label(claim.metric)} of {listing(missing)} here.")
    verdict, evidence = JUDGES[claim.kind](claim, records)
    used = [record for row in claim.rows for record in records[row]]
    data, fake = data_caveat(used), synthetic(used)
    budgets = "" if fake or _any_budget(claim) else budget_caveat(claim.rows, records, shares)
    times = "" if fake else time_caveat(claim.metric, used)
    # other data or another budget can neither meet nor miss a printed accuracy
    if budgets or (data and claim.kind == "within" and claim.metric not in EXACT):
        verdict = UNDECIDED
    return Verdict(verdict, " ".join(filter(None, (evidence, data, budgets, times))), fake)


def _decidable(claim: Claim, records: Rows, row: str) -> bool:
    """Whether some record of the row has every metric that the claim is about."""
    metrics = {claim.metric, claim.numbers.get("than", claim.metric)}
    return any(
        all(measure(record, metric) is not None for metric in metrics)
        for record in records.get(row) or []
    )


def _any_budget(claim: Claim) -> bool:
    """Whether a claim can be decided however long each of its rows has trained."""
    return claim.kind == "overlap" or claim.metric in (*EXACT, *RATES)


def _judge_higher(claim: Claim, records: Rows) -> tuple[str, str]:
    a, b = claim.rows
    least, printed = claim.numbers.get("at_least", 0.0), claim.numbers.get("points")
    gap, half = _difference(records, a, b, claim.metric)
    evidence = comparison(claim.metric, records, a, b, gap, half)
    if least:
        evidence += f" The claim asks for {difference_words(claim.metric, least)}."
    if printed is not None:
        evidence += f" The report has {difference_words(claim.metric, printed)}."
    return _decision(gap - _in_units(claim.metric, least), half), evidence


def _judge_lower(claim: Claim, records: Rows) -> tuple[str, str]:
    a, b = claim.rows
    gap, half = _difference(records, a, b, claim.metric)
    return _decision(-gap, half), comparison(claim.metric, records, a, b, gap, half)


def _judge_no_better(claim: Claim, records: Rows) -> tuple[str, str]:
    a, b = claim.rows
    gap, half = _difference(records, a, b, claim.metric)
    room = _in_units(claim.metric, claim.numbers["tolerance"])
    verdict = UNDECIDED if gap - half <= room else FAILS
    verdict = HOLDS if gap + half <= room else verdict
    return verdict, comparison(claim.metric, records, a, b, gap, half)


def _judge_ratio(claim: Claim, records: Rows) -> tuple[str, str]:
    (a, b), metric = claim.rows, claim.metric
    first, second = (_mean(measured(records[row], metric)) for row in claim.rows)
    if not second:
        return UNDECIDED, f"The {label(metric)} of {b} is 0."
    share = first / second
    words = label(metric)
    evidence = (
        f"{words[0].upper()}{words[1:]} of {a}: {describe(metric, first)}; of {b}:"
        f" {describe(metric, second)}. That is {share:.3g} times as much."
    )
    if claim.numbers["printed"] is not None:
        evidence += f" The report has {claim.numbers['printed']:g}."
    return _within_limits(claim, share), evidence


def _within_limits(claim: Claim, share: float) -> str:
    """Whether a ratio lies between the claim's limits; at a limit it does."""
    least, most = claim.numbers["at_least"], claim.numbers["at_most"]
    slack = 0.0 if claim.metric in EXACT else MARGIN * share
    gaps = [share - least] if least is not None else []
    gaps += [most - share] if most is not None else []
    return _all([_decision(gap, slack, equal=HOLDS) for gap in gaps])


def _judge_ranking(claim: Claim, records: Rows) -> tuple[str, str]:
    return _ordered(claim, records, itertools.pairwise(claim.rows))


def _judge_monotone(claim: Claim, records: Rows) -> tuple[str, str]:
    falling = claim.numbers["direction"] == "falling"
    pairs = itertools.pairwise(claim.rows)
    return _ordered(claim, records, (pair if falling else pair[::-1] for pair in pairs))


def _judge_peak_at(claim: Claim, records: Rows) -> tuple[str, str]:
    which = claim.numbers["which"]
    return _ordered(claim, records, ((which, row) for row in claim.rows if row != which))


def _judge_within(claim: Claim, records: Rows) -> tuple[str, str]:
    (row,), value, tolerance = claim.rows, claim.numbers["value"], claim.numbers["tolerance"]
    values = measured(records[row], claim.metric)
    distance = abs(_mean(values) - value)
    verdict = UNDECIDED if distance <= tolerance + _half_width(values, claim.metric) else FAILS
    verdict = HOLDS if distance <= tolerance else verdict
    wanted = interval_words(claim.metric, value, tolerance)
    return verdict, f"{mean_words(claim.metric, records, row)}; the claim asks for {wanted}."


def _judge_below(claim: Claim, records: Rows) -> tuple[str, str]:
    (row,), small, large = claim.rows, claim.metric, claim.numbers["than"]
    pairs = [(measure(record, small), measure(record, large)) for record in records[row]]
    pairs = [pair for pair in pairs if None not in pair]
    gaps = [second - first for first, second in pairs]
    gap, half = _mean(gaps), _half_width(gaps, small, of=list(itertools.chain(*pairs)))
    first, second = map(_mean, zip(*pairs, strict=True))
    size = difference_words(small, points(small, abs(gap)))
    evidence = (
        f"{row}: {label(small)} {describe(small, first)}, {label(large)} {describe(large, second)}"
        f"{seed_words(len(gaps))}, {size} {'below' if gap > 0 else 'above'}"
        f"{chance_words(small, gap, half, [len(gaps)])}."
    )
    return _decision(gap, half), evidence


def _judge_overlap(claim: Claim, records: Rows) -> tuple[str, str]:
    a, b = claim.rows
    pairs = [(x, y) for x, y in zip(records[a], records[b], strict=False) if same_images(x, y)]
    if not pairs:
        return UNDECIDED, f"{a} and {b} were scored on different test images."
    agreements = [agreement(*pair) for pair in pairs]
    alike, expected, right, wrong = (
        100 * _mean([getattr(each, name) for each in agreements])
        for name in ("alike", "expected", "both_right", "both_wrong")
    )
    errors = _mean([each.z for each in agreements])
    evidence = (
        f"{a} and {b} are both right on {right:.1f} % and both wrong on {wrong:.1f} % of"
        f" {agreements[0].images:,} test images: alike on {alike:.1f} %, where two independent"
        f" models of their accuracies would be on {expected:.1f} % ({errors:.1f} standard errors"
        " apart)."
    )
    return _decision(errors, 1.96), evidence


JUDGES: dict[str, Callable[[Claim, Rows], tuple[str, str]]] = {
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


def _ordered(claim: Claim, records: Rows, pairs: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Every (a, b) of the pairs must have a above b."""
    decisions = {
        f"{a} above {b}": _decision(*_difference(records, a, b, claim.metric)) for a, b in pairs
    }
    evidence = ", ".join(mean_words(claim.metric, records, row) for row in claim.rows) + "."
    for verdict, words in ((FAILS, "Against the claim: not"), (UNDECIDED, "Too close to tell:")):
        names = [name for name, decision in decisions.items() if decision == verdict]
        evidence += f" {words} {listing(names)}." if names else ""
    return _all(decisions.values()), evidence


def _difference(records: Rows, a: str, b: str, metric: str) -> tuple[float, float]:
    """Mean of a minus mean of b, and how much of it may be chance."""
    first, second = measured(records[a], metric), measured(records[b], metric)
    if len(first) > 1 and len(second) > 1:
        return welch(first, second)
    noise = _noise(metric, [*first, *second])
    return _mean(first) - _mean(second), max(noise, _one_more(max(first, second, key=len)))


def _one_more(values: Sequence[float]) -> float:
    """How far one more run may lie from the mean of these: half of its 95 % prediction interval."""
    n = len(values)
    return t_quantile(n - 1) * mean_and_spread(values)[1] * (1 + 1 / n) ** 0.5 if n > 1 else 0.0


def _half_width(values: Sequence[float], metric: str, of: Sequence[float] = ()) -> float:
    """Half of the 95 % interval of a mean; for one run, the noise of what it was made `of`."""
    if len(values) < 2:
        return _noise(metric, of or values)
    return t_quantile(len(values) - 1) * mean_and_spread(values)[1] / len(values) ** 0.5


def _noise(metric: str, values: Sequence[float]) -> float:
    """What a single run of the metric may be off by."""
    if metric in EXACT:
        return 0.0
    if metric == "loss_rise":
        return RISE
    return SPREAD if fraction(metric) else MARGIN * max(map(abs, values))


def _decision(gap: float, half: float, *, equal: str = UNDECIDED) -> str:
    """Is the gap above 0 by more than chance, below 0, or neither?"""
    if gap == half == 0:
        return equal
    if gap > half:
        return HOLDS
    return FAILS if gap < -half else UNDECIDED


def _all(decisions: Collection[str]) -> str:
    """What is decided of a whole whose parts must all hold."""
    if FAILS in decisions:
        return FAILS
    return UNDECIDED if UNDECIDED in decisions else HOLDS


def _in_units(metric: str, size: float) -> float:
    """A difference that a claim gives in points, in the metric's own unit."""
    return size / 100 if fraction(metric) else size


def _mean(values: Sequence[float]) -> float:
    return mean_and_spread(values)[0]
