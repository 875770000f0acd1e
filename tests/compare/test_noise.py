"""The noise of a comparison: pools, intervals, and simulations of every real comparison."""

import itertools
import math

import numpy as np
import pytest
from forged import SYNTHETIC, forged, packed, seeds

from labkit import records
from labkit.compare import Noise, measured
from labkit.compare.noise import (
    Pool,
    difference,
    half_width,
    level,
    mcnemar,
    t_quantile,
)
from labkit.reports import REPORTS

A, B, C = "002-M1", "002-M2", "002-C1"
DRAWS = 2000
DIFFER = 0.33  # of the images, two runs of 004-N1560 do not agree on; the mean of more runs does


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.3027), (5, 2.5706), (9, 2.2622), (60, 2.0003)]
)
def test_t_quantiles_are_those_of_the_tables(freedom, quantile):
    assert t_quantile(freedom) == pytest.approx(quantile, abs=3e-4)


def test_the_pool_is_of_all_rows_of_a_report_and_budget():
    one, two = seeds(A, 0.40, 0.42, images=10_000), seeds(B, 0.50, 0.51, 0.52, images=10_000)
    lone, lesson = seeds(C, 0.9), seeds(A, 0.1, 0.3, preset="lesson")
    pool = Noise([*one, *two, *lone, *lesson]).pool("keras_vs_mbn", "full", "test_top1")
    # (0.01^2 + 0.01^2) + (0.01^2 + 0 + 0.01^2) over 1 + 2 degrees of freedom
    assert pool.deviation == pytest.approx(math.sqrt(4e-4 / 3))
    assert pool.freedom == 3


def test_a_report_with_few_repeats_takes_the_pool_of_all():
    own = seeds(A, 0.40, 0.42, images=10_000)
    others = seeds("004-M1", 0.7, 0.71, 0.72, images=10_000, report="residual_attention")
    noise = Noise([*own, *others, *seeds(B, 0.1, 0.9, data=SYNTHETIC)])
    assert noise.pool("keras_vs_mbn", "full", "test_top1").freedom == 3
    assert noise.pool("keras_vs_mbn", "lesson", "test_top1") == Pool(0.0, 0)


def test_rows_of_another_recipe_are_not_pooled():
    longer = forged(A, 0.9, seed=1)
    longer["recipe"] = longer["recipe"] | {"epochs": 99}
    pool = Noise([forged(A, 0.4), longer]).pool("keras_vs_mbn", "full", "test_top1")
    assert pool.freedom == 0


def test_a_difference_has_the_textbook_interval():
    # variances 1 and 4 over three runs each: standard error 1.2910, 2.9412 degrees of freedom
    half = half_width([[1.0, 2.0, 3.0], [4.0, 6.0, 8.0]], Pool(0.5, 9))
    assert half == pytest.approx(t_quantile(2.9412) * 1.29099, rel=1e-4)


def test_a_lone_run_may_be_three_times_as_restless():
    half = half_width([[1.0], [2.0]], Pool(1.0, 9))
    assert half == pytest.approx(t_quantile(9) * math.sqrt(9 + 1))
    assert half_width([[1.0]], Pool(1.0, 9)) == pytest.approx(t_quantile(9))


def test_equal_seeds_are_no_proof():
    noise = Noise([*seeds(A, 0.4, 0.4), *seeds(B, 0.4005, 0.4005)])
    gap = difference(seeds(B, 0.4005, 0.4005), seeds(A, 0.4, 0.4), "test_top1", noise)
    assert gap.size == pytest.approx(0.0005)
    assert gap.half > gap.size  # one image in two thousand


def test_without_any_repeat_chance_is_unknown():
    gap = difference(seeds(A, 0.9), seeds(B, 0.1), "test_top1", Noise([]))
    assert math.isinf(gap.half)


def test_the_same_images_say_more_than_others():
    noise = Noise(seeds(C, 0.39, 0.4, 0.41, 0.4))
    paired = difference(seeds(A, 0.5), seeds(B, 0.4), "test_top1", noise)
    (b,) = seeds(B, 0.4)
    moved = {name: packed((records.decode(b[name]) + 1) % 10) for name in ("labels", "predictions")}
    other = [{**b, **moved}]
    assert paired.same_images
    assert not difference(seeds(A, 0.5), other, "test_top1", noise).same_images
    assert paired.half < difference(seeds(A, 0.5), other, "test_top1", noise).half


def test_mcnemar_counts_the_images_that_differ():
    labels = np.zeros(1000, np.uint8)
    first, second = labels.copy(), labels.copy()
    first[:177], second[177 : 177 + 212] = 1, 1
    a, b = (forged(A, labels=packed(labels), predictions=packed(p)) for p in (first, second))
    only_a, only_b, chance = mcnemar(a, b)
    assert (only_a, only_b) == (212, 177)
    assert chance == pytest.approx(0.0848, abs=2e-4)  # R: mcnemar.test(matrix(c(0,177,212,0),2))
    assert mcnemar(a, a)[2] == 1.0


def test_counts_have_no_noise_and_times_have_their_own():
    noise = Noise([])
    assert difference([forged(A)], [forged(B)], "parameters", noise).half == 0
    times = difference([forged(A, seconds=90.0)], [forged(B, seconds=100.0)], "seconds", noise)
    assert times.half == pytest.approx(10.0)
    assert level([forged(A)], "seconds", noise).half == pytest.approx(12.0)


def _real_comparisons():
    """Runs on either side, degrees of freedom and deviation of the pool, and images, once each."""
    every = [record for record in records.recorded() if not record.synthetic]
    noise, kinds = Noise(every), set()
    for report in REPORTS.values():
        for preset in ("full", "lesson"):
            rows = records.by_row(
                r for r in every if (r["report"], r["preset"]) == (report.name, preset)
            )
            pool = noise.pool(report.name, preset, "test_top1")
            for claim in report.claims:
                for a, b in itertools.combinations([row for row in claim.rows if row in rows], 2):
                    runs = sorted(len(measured(rows[row], "test_top1")) for row in (a, b))
                    images = rows[a][0]["test"]["images"]
                    kinds.add((*runs, pool.freedom, round(pool.deviation, 4), images))
    return sorted(kinds)


REAL = _real_comparisons()
EXPECTED = (3, 3, 12, 0.01, 10_000)  # what most comparisons come to when all seeds are in


def _decided(kind, seed, *, spread=(1.0, 1.0), apart=0.0, equal_seeds=False):
    """How often two rows of these true spreads (in pooled deviations), so far apart, differ."""
    runs_a, runs_b, freedom, deviation, images = kind
    rng = np.random.default_rng([seed, runs_a, runs_b, freedom])
    variance = DIFFER / min(runs_a, runs_b) / images
    found = 0
    for _ in range(DRAWS):
        pool = Pool(deviation * math.sqrt(rng.chisquare(freedom) / freedom), freedom)
        luck = rng.normal(apart * deviation, math.sqrt(variance))
        sides = [
            rng.normal(middle, factor * deviation, n)
            for middle, factor, n in zip((0.3, 0.3 + luck), spread, (runs_a, runs_b), strict=True)
        ]
        if equal_seeds:
            sides = [np.full(len(side), side[0]) for side in sides]
        gap = float(sides[1].mean() - sides[0].mean())
        found += abs(gap) > half_width([list(side) for side in sides], pool, variance)
    return found / DRAWS


# 5 % and what 2,000 draws may add by chance: two standard errors
ALLOWED = 0.05 + 2 * math.sqrt(0.05 * 0.95 / DRAWS)


@pytest.mark.parametrize("kind", [*REAL, EXPECTED], ids=str)
def test_equal_rows_are_rarely_called_different(kind):
    assert _decided(kind, 0) <= ALLOWED


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("kind", [*REAL, EXPECTED], ids=str)
def test_not_even_when_one_side_is_three_times_as_restless(kind, side):
    spread = (3.0, 1.0) if side == 0 else (1.0, 3.0)
    assert _decided(kind, 1 + side, spread=spread) <= ALLOWED


def test_a_repeated_score_is_no_repeated_run():
    # two copies of one run are one run, however often they are given
    assert _decided((2, 2, 12, 0.01, 10_000), 3, equal_seeds=True) <= ALLOWED


@pytest.mark.parametrize(("runs", "power"), [(3, 0.50), (4, 0.80), (5, 0.90)])
def test_a_difference_of_three_deviations_is_found(runs, power):
    """With three runs a side in 0.5 to 0.6 of all cases, with four in more than 0.8.

    No test of two means finds more than some 0.7 with three, if it may call two equal rows
    different in 5 % of the cases only when one side has three times the spread of the other.
    """
    assert _decided((runs, runs, 12, 0.01, 10_000), 4, apart=3.0) >= power
