"""How much of a difference may be chance: the noise of every comparison, computed in this place.

A run's score has two kinds of luck. Its *seed*: rows that were run several times tell how far two
runs of one row lie apart; pooled over the rows of a report at one budget, that is known better than
from any row alone. Its *test images*: other images would have given another score, by the binomial
error, or by the images on which two models differ where both have answered the same ones.

With three runs or more a row's own spread counts as well, if it is wider than the pooled one.
With one or two it says nothing, and such a row may be three times as restless as the pool: a lone
run must decide nothing then, either. Two equal rows are therefore called different in at most 5 %
of all cases (simulated in tests/compare/test_noise.py); the price is power.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labkit.compare.values import EXACT, RATES, answers, fraction, mean_and_spread, measure

__all__ = [
    "MARGIN", "RESTLESS", "Gap", "Noise", "Pool", "band", "difference", "half_width", "level",
    "mcnemar", "t_quantile",
]  # fmt: skip

FEW = 3  # runs from which a row's own spread counts
RESTLESS = 3.0  # how many pooled deviations a row of fewer runs may spread by
ENOUGH = 3  # degrees of freedom from which a report's own pool is taken, rather than everyone's
MARGIN = 0.10  # of a time, a speed or a peak of memory: what one machine gives twice
NORMAL = 1.96  # half of a normal variable's 95 % interval
MACHINE = ("seconds", "peak_memory_mb", *RATES)

Records = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Pool:
    """The standard deviation of one run, pooled over rows, and its degrees of freedom."""

    deviation: float
    freedom: int


@dataclass(frozen=True)
class Gap:
    """A mean, or a mean minus another, and half of its 95 % interval (infinite: unknown)."""

    size: float
    half: float
    runs: tuple[int, ...]
    same_images: bool = False

    def beyond(self, limit: float) -> bool:
        """Whether the whole interval lies above the limit."""
        return self.size - self.half > limit

    def short_of(self, limit: float) -> bool:
        """Whether the whole interval lies below the limit."""
        return self.size + self.half < limit


class Noise:
    """What rows that were run several times tell of chance."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
        for record in records:
            if not record["data"]["synthetic"]:
                self._groups.setdefault(_kind(record), []).append(record)
        self._pools: dict[tuple[str, ...], Pool] = {}

    def pool(self, report: str, preset: str, metric: str, than: str = "") -> Pool:
        """The pool of a report at a preset; of all reports, where its own rows tell too little.

        `than` is the metric that is taken away from the first within each run, if any.
        """
        key = (report, preset, metric, than)
        if key not in self._pools:
            own = self._pool(metric, than, preset, report)
            self._pools[key] = own if own.freedom >= ENOUGH else self._pool(metric, than, preset)
        return self._pools[key]

    def _pool(self, metric: str, than: str, preset: str, report: str = "") -> Pool:
        squares, freedom = 0.0, 0
        for key, records in self._groups.items():
            if key[1] == preset and report in ("", key[0]):
                values = scores(records, metric, than)
                if len(values) > 1:
                    squares += float(np.var(values)) * len(values)
                    freedom += len(values) - 1
        return Pool(math.sqrt(squares / freedom) if freedom else 0.0, freedom)


def scores(records: Records, metric: str, than: str = "") -> list[float]:
    """The metric of each record that has it; with `than`, what it is more than that one."""
    values = [(measure(r, metric), measure(r, than) if than else 0.0) for r in records]
    return [first - second for first, second in values if None not in (first, second)]


def difference(a: Records, b: Records, metric: str, noise: Noise) -> Gap:
    """Mean of a minus mean of b, of records that share a report and a preset."""
    groups = [scores(records, metric) for records in (a, b)]
    size = mean_and_spread(groups[0])[0] - mean_and_spread(groups[1])[0]
    runs = (len(groups[0]), len(groups[1]))
    if metric in EXACT:
        return Gap(size, 0.0, runs)
    if metric in MACHINE:
        return Gap(size, MARGIN * max(map(abs, (*groups[0], *groups[1]))), runs)
    pool = noise.pool(a[0]["report"], a[0]["preset"], metric)
    images, same = _image_variance(a, b, metric)
    return Gap(size, half_width(groups, pool, images), runs, same)


def level(records: Records, metric: str, noise: Noise, than: str = "") -> Gap:
    """The mean of one row's metric, or of what it is more than another within each run."""
    values = scores(records, metric, than)
    mean, runs = mean_and_spread(values)[0], (len(values),)
    if metric in EXACT:
        return Gap(mean, 0.0, runs)
    if metric in MACHINE:
        return Gap(mean, MARGIN * max(map(abs, values)), runs)
    pool = noise.pool(records[0]["report"], records[0]["preset"], metric, than)
    images = sum(_binomial(records, name) for name in (metric, than) if name)
    return Gap(mean, half_width([values], pool, images), runs)


def half_width(groups: Sequence[Sequence[float]], pool: Pool, images: float = 0.0) -> float:
    """Half of the 95 % interval of a mean, or of the difference of two.

    Args:
        groups: the values of each side, one or two sides.
        pool: what the report's rows tell of the spread of one run.
        images: the variance that the test images add.

    Of sides with three values or more, the own variance counts, at least the pool's (Welch 1947,
    Biometrika 34). If one of two sides has fewer, the smallest may be RESTLESS.
    """
    own, pooled, least = [], 0.0, pool.deviation**2
    for values in groups:
        variance = max(mean_and_spread(values)[1] ** 2, least) / len(values)
        if len(values) >= FEW:
            own.append((variance, len(values) - 1))
        else:
            pooled += variance
    few = [len(values) for values in groups if len(values) < FEW]
    if few and not pool.freedom:
        return math.inf
    if few and len(groups) > 1:
        pooled += (RESTLESS**2 - 1) * least / min(few)
    parts = [*own, (pooled, pool.freedom)] if few else own
    return math.hypot(_seed_width(parts), NORMAL * math.sqrt(images))


def _seed_width(parts: Sequence[tuple[float, int]]) -> float:
    """Half of the interval of a sum of means: the variance and degrees of freedom of each."""
    total = sum(variance for variance, _ in parts)
    uncertain = sum(variance**2 / freedom for variance, freedom in parts)
    return t_quantile(total**2 / uncertain) * math.sqrt(total) if uncertain else 0.0


def band(values: Sequence[float], pool: Pool) -> tuple[float, float]:
    """Between what one more run on the same images lies in 99 of 100 cases.

    Args:
        values: what earlier runs of the same recipe gave.
        pool: the spread of one run, of rows that may include this one.
    """
    middle = mean_and_spread(values)[0]
    half = t_quantile(pool.freedom, 0.99) * pool.deviation * math.sqrt(1 + 1 / len(values))
    return middle - half, middle + half


def mcnemar(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[int, int, float]:
    """Images that only a has right, those that only b has right, and how likely chance is.

    The probability is McNemar's (1947, Psychometrika 12), corrected for continuity: that of a split
    as uneven as this one between two runs that are equally good.
    """
    (labels, first), (_, second) = answers(a), answers(b)
    right, other = first == labels, second == labels
    only_a, only_b = int((right & ~other).sum()), int((~right & other).sum())
    distance = max(0.0, abs(only_a - only_b) - 1) / math.sqrt(max(1, only_a + only_b))
    return only_a, only_b, math.erfc(distance / math.sqrt(2))


def t_quantile(freedom: float, level: float = 0.95) -> float:
    """The t for which a Student variable lies within -t and t with probability `level`.

    The degrees of freedom are taken down to a tenth.
    """
    return _t_quantile(max(1.0, math.floor(10 * freedom + 1e-6) / 10), level)


@functools.cache
def _t_quantile(freedom: float, level: float) -> float:
    """With t = sqrt(freedom) * tan(angle), the density is a power of the cosine; it is summed on a
    grid and inverted, to four digits."""
    angle = np.linspace(0.0, math.pi / 2, 200_001)
    middle = (angle[1:] + angle[:-1]) / 2
    share = np.concatenate([[0.0], np.cumsum(np.cos(middle) ** (freedom - 1))])
    return float(math.sqrt(freedom) * np.tan(np.interp(level, share / share[-1], angle)))


def _kind(record: Mapping[str, Any]) -> tuple[str, ...]:
    """What the runs have in common that differ by their seed alone; report and preset first."""
    recipe = {name: value for name, value in record["recipe"].items() if name != "seed"}
    return record["report"], record["preset"], record["row"], json.dumps(recipe, sort_keys=True)


def _image_variance(a: Records, b: Records, metric: str) -> tuple[float, bool]:
    """What the choice of test images adds to a difference, and whether both sides had the same."""
    labels = [record["labels"] for record in (*a, *b)]
    if metric == "test_top1" and len(set(labels)) == 1:
        gaps = _right(a) - _right(b)
        return float(gaps.var()) / len(gaps), True
    return _binomial(a, metric) + _binomial(b, metric), False


def _right(records: Records) -> np.ndarray:
    """The share of a row's runs that have each test image right, float64 [N]."""
    pairs = [answers(record) for record in records]
    return np.mean([predictions == labels for labels, predictions in pairs], axis=0)


def _binomial(records: Records, metric: str) -> float:
    """The variance of an accuracy by the choice of its images; 0 for what is no such accuracy."""
    if not fraction(metric) or "train" in metric or metric == "decay_top1":
        return 0.0
    record, share = records[0], mean_and_spread(scores(records, metric))[0]
    held_out = metric.startswith("val_")
    images = record["recipe"].get("validation") if held_out else record["test"]["images"]
    return share * (1 - share) / images if images else 0.0
