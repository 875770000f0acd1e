"""Ours against published: means, spreads, gaps and a verdict on every claim. No torch in here."""

from labkit.compare.budget import at_budget, elapsed
from labkit.compare.claims import (
    Claim,
    below,
    higher,
    lower,
    monotone,
    no_better,
    overlap,
    peak_at,
    ranking,
    ratio,
    within,
)
from labkit.compare.judges import SPREAD, Verdict, judge
from labkit.compare.published import published, published_number
from labkit.compare.tables import KEYS, table, verdicts
from labkit.compare.values import (
    Agreement,
    Value,
    agreement,
    answers,
    describe,
    label,
    mean_and_spread,
    measure,
    measured,
    t_quantile,
)

__all__ = [
    "KEYS", "SPREAD", "Agreement", "Claim", "Value", "Verdict", "agreement", "answers",
    "at_budget", "below", "describe", "elapsed", "higher", "judge", "label", "lower",
    "mean_and_spread", "measure", "measured", "monotone", "no_better", "overlap", "peak_at",
    "published", "published_number", "ranking", "ratio", "t_quantile", "table", "verdicts",
    "within",
]  # fmt: skip
