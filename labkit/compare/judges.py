"""How a set of records decides a claim: holds, fails, undecided or untested."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.compare.claims import Claim, Needs
from labkit.compare.evidence import too_short
from labkit.compare.noise import MACHINE, MARGIN, Gap, Noise, difference, level
from labkit.compare.values import (
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
)
from labkit.compare.words import (
    brackets,
    chance_words,
    comparison,
    difference_words,
    limit_words,
    listing,
    mean_words,
    points,
    seed_words,
    time_caveat,
)

__all__ = ["FAILS", "HOLDS", "UNDECIDED", "UNTESTED", "Verdict", "judge"]

HOLDS, FAILS, UNDECIDED, UNTESTED = "holds", "fails", "undecided", "untested"
PART = "on a part of the data"


@dataclass(frozen=True)
class Verdict:
    """holds, fails, undecided or untested, and the sentences that say why."""

    verdict: str
    evidence: str
    part: bool = False  # the images are a part of the published set

    def __str__(self) -> str:
        decided = self.part and self.verdict != UNTESTED
        return f"{self.verdict} ({PART})" if decided else self.verdict


def judge(claim: Claim, records: Rows, noise: Noise | None = None) -> Verdict:
    """Decide a claim by the records of its rows.

    A difference decides where its 95 % interval lies on one side of what the claim asks for (see
    `labkit.compare.noise`); an equality, where the interval lies within the tolerance. Of times,
    MARGIN is chance. Records that are not what the claim needs do not decide it: it is untested,
    and the evidence says what was seen.

    Args:
        records: the records of each row, of any preset; synthetic ones tell counts alone.
        noise: of all records there are, which tell more of chance than the claim's own.
    """
    usable = {row: _usable(claim, records.get(row) or ()) for row in claim.rows}
    if missing := [row for row in claim.rows if not usable[row]]:
        return Verdict(UNTESTED, f"There is no {label(claim.metric)} of {listing(missing)} yet.")
    preset = _common_preset(claim.needs, usable)
    if not preset:
        return Verdict(UNTESTED, f"No one budget has records of {listing(claim.rows)}.")
    chosen = usable if preset == "any" else _of_preset(usable, preset)
    used = list(itertools.chain(*chosen.values()))
    noise = noise or Noise(itertools.chain(*records.values()))
    verdict, evidence = JUDGES[claim.kind](claim, chosen, noise)
    lacks = _lacks(claim, preset, used)
    part = claim.needs.data == "part" and not all(r["data"]["complete"] for r in used)
    if lacks:
        return Verdict(UNTESTED, f"{evidence} {' '.join(lacks)}", part)
    return Verdict(verdict, f"{evidence}{' On a part of the published data.' * part}", part)


def _usable(claim: Claim, records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records that have every metric of the claim: of real images, but where it counts.

    A lesson that was not long enough has no accuracy to tell.
    """
    metrics = {claim.metric, claim.numbers.get("than", claim.metric)}
    if claim.needs.data != "any":
        records = [record for record in records if not record["data"]["synthetic"]]
    if fraction(claim.metric):
        records = [record for record in records if not too_short(record)]
    return [r for r in records if all(measure(r, metric) is not None for metric in metrics)]


def _common_preset(needs: Needs, usable: Rows) -> str:
    """The preset that every row has records of, the needed one first; "any" if it is all one."""
    if needs.budget == "any":
        return "any"
    shared = set.intersection(*({r["preset"] for r in records} for records in usable.values()))
    return needs.budget if needs.budget in shared else min(shared, default="")


def _of_preset(usable: Rows, preset: str) -> dict[str, list[Mapping[str, Any]]]:
    return {row: [r for r in records if r["preset"] == preset] for row, records in usable.items()}


def _lacks(claim: Claim, preset: str, used: Sequence[Mapping[str, Any]]) -> list[str]:
    """What these records lack of what the claim needs, a sentence each."""
    needs, lacks = claim.needs, []
    if preset not in ("any", needs.budget):
        where = "in class" if preset == "lesson" else f"at preset {preset}"
        lacks += [f"Seen {where}, not at the report's own budget."]
    if needs.data == "complete" and not all(record["data"]["complete"] for record in used):
        lacks += ["On a part of the published data; the printed number is of all of it."]
    if needs.device not in ("any", *(record["device"]["type"] for record in used)):
        lacks += [f"The claim is about a {'GPU' if needs.device == 'cuda' else 'CPU'}."]
    if claim.metric in ("seconds", *RATES):
        lacks += filter(None, [time_caveat(used)])
    return lacks


def _judge_higher(claim: Claim, records: Rows, noise: Noise) -> tuple[str, str]:
    a, b = claim.rows
    least, printed = claim.numbers.get("at_least", 0.0), claim.numbers.get("points")
    gap = difference(records[a], records[b], claim.metric, noise)
    evidence = comparison(claim.metric, records, a, b, gap)
    if least:
        evidence += f" The claim asks for {difference_words(claim.metric, least)}."
    if printed is not None:
        evidence += f" The report has {difference_words(claim.metric, printed)}."
    return _decision(gap, above=_in_units(claim.metric, least)), evidence


def _judge_lower(claim: Claim, records: Rows, noise: Noise) -> tuple[str, str]:
    a, b = claim.rows
    gap = difference(records[a], records[b], claim.metric, noise)
    return _decision(_reversed(gap)), comparison(claim.metric, records, a, b, gap)


def _judge_no_better(claim: Claim, records: Rows, noise: Noise) -> tuple[str, str]:
    a, b = claim.rows
    gap = difference(records[a], records[b], claim.metric, noise)
    room = _in_units(claim.metric, claim.numbers["tolerance"])
    verdict = _decision(_reversed(gap), above=-room, at_limit=HOLDS)
    return verdict, comparison(claim.metric, records, a, b, gap)


def _judge_equal(claim: Claim, records: Rows, noise: Noise) -> tuple[str, str]:
    a, b = claim.rows
    gap = difference(records[a], records[b], claim.metric, noise)
    room = _in_units(claim.metric, claim.numbers["tolerance"])
    return _between(gap, -room, room), comparison(claim.metric, records, a, b, gap)


def _judge_ratio(claim: Claim, records: Rows, _: Noise) -> tuple[str, str]:
    (a, b), metric = claim.rows, claim.metric
    first, second = (_mean(measured(records[row], metric)) for row in claim.rows)
    if not second:
        return UNDECIDED, f"The {label(metric)} of {b} is 0."
    share, words = first / second, label(metric)
    evidence = (
        f"{words[0].upper()}{words[1:]} of {a}: {describe(metric, first)}; of {b}:"
        f" {describe(metric, second)}. That is {share:.3g} times as much."
    )
    if claim.numbers["printed"] is not None:
        evidence += f" The report has {claim.numbers['printed']:g}."
    half = MARGIN * share if metric in MACHINE else 0.0
    return _between(Gap(share, half, (1, 1)), *_limits(claim)), evidence


def _judge_level(claim: Claim, records: Rows, noise: Noise) -> tuple[str, str]:
    (row,), metric = claim.rows, claim.metric
    gap = level(records[row], metric, noise)
    chance = brackets(seed_words(gap.runs[0]), chance_words(metric, gap))
    asked = limit_words(metric, *_limits(claim))
    evidence = f"{row} {describe(metric, gap.size)}{chance}; the claim asks for {asked}."
    return _between(gap, *_limits(claim)), evidence


def _judge_below(claim: Claim, records: Rows, noise: Noise) -> tuple[str, str]:
    (row,), small, large = claim.rows, claim.metric, claim.numbers["than"]
    gap = level(records[row], large, noise, than=small)
    first, second = (_mean(measured(records[row], metric)) for metric in (small, large))
    size = difference_words(small, points(small, abs(gap.size)))
    evidence = (
        f"{row}: {label(small)} {describe(small, first)}, {label(large)} {describe(large, second)}"
        f"{brackets(seed_words(gap.runs[0]))}, {size} {'below' if gap.size > 0 else 'above'}"
        f"{brackets(chance_words(small, gap))}."
    )
    return _decision(gap), evidence


def _judge_ranking(claim: Claim, records: Rows, noise: Noise) -> tuple[str, str]:
    return _ordered(claim, records, noise, itertools.pairwise(claim.rows))


def _judge_monotone(claim: Claim, records: Rows, noise: Noise) -> tuple[str, str]:
    falling = claim.numbers["direction"] == "falling"
    pairs = itertools.pairwise(claim.rows)
    return _ordered(claim, records, noise, (pair if falling else pair[::-1] for pair in pairs))


def _judge_peak_at(claim: Claim, records: Rows, noise: Noise) -> tuple[str, str]:
    which = claim.numbers["which"]
    return _ordered(claim, records, noise, ((which, row) for row in claim.rows if row != which))


def _judge_overlap(claim: Claim, records: Rows, _: Noise) -> tuple[str, str]:
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
    return _decision(Gap(errors, 1.96, (1, 1))), evidence


JUDGES: dict[str, Callable[[Claim, Rows, Noise], tuple[str, str]]] = {
    "higher": _judge_higher,
    "lower": _judge_lower,
    "no_better": _judge_no_better,
    "equal": _judge_equal,
    "ratio": _judge_ratio,
    "level": _judge_level,
    "below": _judge_below,
    "ranking": _judge_ranking,
    "monotone": _judge_monotone,
    "peak_at": _judge_peak_at,
    "overlap": _judge_overlap,
}


def _ordered(
    claim: Claim, records: Rows, noise: Noise, pairs: Iterable[tuple[str, str]]
) -> tuple[str, str]:
    """Every (a, b) of the pairs must have a above b."""
    decisions = {
        f"{a} above {b}": _decision(difference(records[a], records[b], claim.metric, noise))
        for a, b in pairs
    }
    evidence = ", ".join(mean_words(claim.metric, records, row) for row in claim.rows) + "."
    for verdict, words in ((FAILS, "Against the claim: not"), (UNDECIDED, "Too close to tell:")):
        names = [name for name, decision in decisions.items() if decision == verdict]
        evidence += f" {words} {listing(names)}." if names else ""
    return _all(decisions.values()), evidence


def _decision(gap: Gap, *, above: float = 0.0, at_limit: str = UNDECIDED) -> str:
    """Is the gap above a limit by more than chance, below it, or neither?"""
    if gap.half == 0 and gap.size == above:  # counted, not measured
        return at_limit
    if gap.beyond(above):
        return HOLDS
    return FAILS if gap.short_of(above) else UNDECIDED


def _between(gap: Gap, least: float | None, most: float | None) -> str:
    """Does a value lie between limits by more than chance? At a limit, what was counted does."""
    over = [_decision(gap, above=least, at_limit=HOLDS)] if least is not None else []
    under = [_decision(_reversed(gap), above=-most, at_limit=HOLDS)] if most is not None else []
    return _all([*over, *under])


def _reversed(gap: Gap) -> Gap:
    return Gap(-gap.size, gap.half, gap.runs, gap.same_images)


def _limits(claim: Claim) -> tuple[float | None, float | None]:
    return claim.numbers["at_least"], claim.numbers["at_most"]


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
