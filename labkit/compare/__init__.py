"""Ours against published: means, spreads, gaps and a verdict on every claim. No torch in here."""

from labkit.compare.budget import at_budget, elapsed
from labkit.compare.claims import (
    REPRODUCED,
    Claim,
    Needs,
    at_least,
    at_most,
    below,
    equal,
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
from labkit.compare.evidence import Evidence, caption, evidence, too_short
from labkit.compare.judges import Verdict, judge
from labkit.compare.lessons import lessons
from labkit.compare.noise import Noise, Pool, band, difference, t_quantile
from labkit.compare.published import published, published_number, published_sentence
from labkit.compare.tables import KEYS, planned, proof, table, verdicts
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
)

__all__ = [
    "KEYS", "REPRODUCED", "Agreement", "Claim", "Evidence", "Needs", "Noise", "Pool", "Value",
    "Verdict", "agreement", "answers", "at_budget", "at_least", "at_most", "band", "below",
    "caption", "describe", "difference", "elapsed", "equal", "evidence", "higher", "judge", "label",
    "lessons", "lower", "mean_and_spread", "measure", "measured", "monotone", "no_better",
    "overlap", "peak_at", "planned", "proof", "published", "published_number", "published_sentence",
    "ranking", "ratio", "t_quantile", "table", "too_short", "verdicts", "within",
]  # fmt: skip
