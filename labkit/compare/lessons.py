"""What was seen in class: contrasts between rows that were trained for a part of their budget.

A short run says nothing of a printed accuracy, and its own accuracy is no result. Two rows that had
the same short time may be set side by side, with the interval that chance leaves open.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.compare.claims import Claim
from labkit.compare.evidence import FULL, budget, caption, evidence
from labkit.compare.noise import Gap, Noise, difference
from labkit.compare.tables import Table
from labkit.compare.values import Rows, fraction, mean_and_spread, measured

__all__ = ["contrasts", "lessons"]

UNEVEN = 2.0  # of rows that were shown so many times the images of the other, none is the better


def contrasts(claims: Iterable[Claim]) -> dict[tuple[str, str], str]:
    """The pairs of rows whose test accuracies claims compare, each with the metric."""
    pairs: dict[tuple[str, str], str] = {}
    for claim in claims:
        if fraction(claim.metric) and "test" in claim.metric:
            for pair in _pairs(claim):
                pairs.setdefault(pair, claim.metric)
    return pairs


def lessons(
    claims: Iterable[Claim], titles: Mapping[str, str], own: Rows, recorded: Rows, noise: Noise
) -> pd.DataFrame:
    """One line for each contrast of the claims that was seen, but not at the report's own budget.

    Args:
        claims: those of a report; which rows they compare is read from them, not what they say.
        titles: the title of each row.
        own: the runs of this notebook, by row.
        recorded: those that are published with it, by row.
        noise: of the records that are published.
    """
    lines = []
    for pair, metric in contrasts(claims).items():
        seen = evidence(pair, own, recorded, alike=True)
        if not seen.untested and budget(seen[0]) != FULL and _even(seen):
            words = f"{titles[pair[0]]}, against {titles[pair[1]]}"
            lines.append([words, *_contrast(seen.rows, pair, metric, noise), caption(seen)])
    return Table(lines, columns=["contrast", "difference", "95 % interval", "accuracy", "seen"])


def _pairs(claim: Claim) -> Iterator[tuple[str, str]]:
    if claim.kind in ("ranking", "monotone"):
        rising = claim.numbers.get("direction") == "rising"
        yield from itertools.pairwise(reversed(claim.rows) if rising else claim.rows)
    elif claim.kind == "peak_at":
        which = claim.numbers["which"]
        yield from ((which, row) for row in claim.rows if row != which)
    elif claim.kind not in ("overlap", "ratio") and len(claim.rows) == 2:
        yield claim.rows


def _contrast(rows: Rows, pair: tuple[str, str], metric: str, noise: Noise) -> tuple[str, str, str]:
    """The difference, its interval, and what it is the difference of."""
    a, b = (rows[row] for row in pair)
    gap = difference(a, b, metric, noise)
    means = [f"{100 * mean_and_spread(measured(some, metric))[0]:.1f} %" for some in (a, b)]
    return f"{100 * gap.size:+.1f} points", _interval(gap), " against ".join(means)


def _interval(gap: Gap) -> str:
    if math.isinf(gap.half):
        return "unknown"
    return f"{100 * (gap.size - gap.half):+.1f} to {100 * (gap.size + gap.half):+.1f}"


def _even(records: Sequence[Mapping[str, Any]]) -> bool:
    shown = [sum(epoch["images"] for epoch in record["rows"]) for record in records]
    return max(shown) <= UNEVEN * min(shown)
