"""What each kind of claim decides, by which records."""

import numpy as np
import pytest
from forged import SUBSET, SYNTHETIC, forged, packed, seeds

from labkit import compare

A, B, C = "002-M1", "002-M2", "002-C1"


def noise(deviation=0.01):
    """What four rows with three seeds each tell of one run: eight degrees of freedom."""
    scores = (0.4 - deviation, 0.4, 0.4 + deviation)
    repeats = [seeds(f"002-S{n}", *scores, images=10_000) for n in range(1, 5)]
    lessons = [seeds(f"002-S{n}", *scores, preset="lesson") for n in range(1, 5)]
    return compare.Noise([record for runs in (*repeats, *lessons) for record in runs])


def judge(claim, *groups):
    return compare.judge(claim, dict(zip(claim.rows, groups, strict=True)), noise())


def test_one_run_a_side_decides_little():
    claim = compare.higher(B, A, points=22.9)
    assert judge(claim, seeds(B, 0.61), seeds(A, 0.381)).verdict == "holds"
    assert judge(claim, seeds(B, 0.43), seeds(A, 0.381)).verdict == "undecided"
    assert judge(claim, seeds(B, 0.25), seeds(A, 0.381)).verdict == "fails"


def test_the_evidence_has_the_numbers():
    evidence = judge(compare.higher(B, A, points=22.9), seeds(B, 0.61), seeds(A, 0.381)).evidence
    assert "002-M2 61.0 %" in evidence
    assert "002-M1 38.1 %" in evidence
    assert "22.9 points higher" in evidence
    assert "one run a side" in evidence
    assert "458 are right in 002-M2 alone and 0 in 002-M1 alone" in evidence
    assert "McNemar, of these two runs: p < 0.001" in evidence
    assert "The report has 22.9 points." in evidence


def test_several_seeds_decide_by_their_interval():
    claim = compare.higher(B, A)
    clear = judge(claim, seeds(B, 0.441, 0.442, 0.443), seeds(A, 0.396, 0.397, 0.398))
    assert clear.verdict == "holds"
    assert "95 % interval" in clear.evidence
    assert "McNemar" not in clear.evidence  # which is of two runs, not of means
    noisy = judge(claim, seeds(B, 0.40, 0.50, 0.60), seeds(A, 0.35, 0.45, 0.55))
    assert noisy.verdict == "undecided"
    calm = judge(claim, seeds(B, 0.401, 0.401, 0.401), seeds(A, 0.4, 0.4, 0.4))
    assert calm.verdict == "undecided"  # equal seeds are no proof


def test_without_repeats_nothing_is_decided():
    records = {A: seeds(A, 0.1), B: seeds(B, 0.9)}
    verdict = compare.judge(compare.higher(B, A), records)
    assert verdict.verdict == "undecided"
    assert "no row has been run twice" in verdict.evidence


def test_a_claim_may_ask_for_a_gap():
    claim = compare.higher(B, A, at_least=10)
    assert judge(claim, seeds(B, 0.61), seeds(A, 0.38)).verdict == "holds"
    assert judge(claim, seeds(B, 0.39), seeds(A, 0.38)).verdict == "fails"


def test_lower_is_the_other_way_round():
    def losses(row, *values):
        scores = forged()["test"]
        return [
            forged(row, seed=seed, test=scores | {"loss": loss}) for seed, loss in enumerate(values)
        ]

    good, bad = losses(B, 1.7, 1.71, 1.72), losses(A, 2.4, 2.41, 2.42)
    assert judge(compare.lower(B, A), good, bad).verdict == "holds"
    assert judge(compare.lower(A, B), bad, good).verdict == "fails"


def test_a_time_may_be_off_by_a_tenth():
    times = compare.lower(B, A, metric="seconds")
    close = judge(times, [forged(B, seconds=95.0)], [forged(A, seconds=100.0)])
    assert close.verdict == "undecided"
    assert judge(times, [forged(B, seconds=50.0)], [forged(A, seconds=100.0)]).verdict == "holds"
    counts = compare.lower(B, A, metric="parameters")
    fewer = forged(B, parameters={"total": 1_638_051, "trainable": 1})
    assert judge(counts, [fewer], [forged(A)]).verdict == "holds"
    same = judge(compare.higher(B, A), seeds(B, 0.4), seeds(A, 0.4))
    assert "0 points apart" in same.evidence


def test_no_better_is_not_shown_by_noise():
    claim = compare.no_better(A, B)
    noisy = judge(claim, seeds(A, 0.40, 0.50, 0.60), seeds(B, 0.41, 0.51, 0.61))
    assert noisy.verdict == "undecided"
    assert judge(claim, seeds(A, 0.30), seeds(B, 0.42)).verdict == "holds"
    assert judge(claim, seeds(A, 0.62), seeds(B, 0.42)).verdict == "fails"


def test_equal_has_two_sides():
    claim = compare.equal(A, B)
    near = seeds(A, 0.419, 0.42, 0.421), seeds(B, 0.42, 0.421, 0.419)
    assert judge(claim, *near).verdict == "holds"
    assert judge(claim, seeds(A, 0.20), seeds(B, 0.36)).verdict == "fails"
    assert judge(claim, seeds(A, 0.36), seeds(B, 0.20)).verdict == "fails"
    assert judge(claim, seeds(A, 0.42), seeds(B, 0.42)).verdict == "undecided"  # one run a side


def test_evidence_counts_the_runs_of_both_sides():
    claim = compare.higher(A, B)
    uneven = judge(claim, seeds(A, 0.5), seeds(B, 0.4, 0.405, 0.41))
    assert "one run on one side" in uneven.evidence
    assert "two runs a side" in judge(claim, seeds(A, 0.5, 0.6), seeds(B, 0.4, 0.5)).evidence


def test_a_claim_is_untested_at_another_budget():
    claim = compare.higher(A, B)
    class_hour = {"preset": "lesson", "epochs": 40}
    short = seeds(A, 0.9, **class_hour), seeds(B, 0.1, **class_hour)
    verdict = judge(claim, *short)
    assert verdict.verdict == "untested"
    assert "80 points higher" in verdict.evidence
    assert "Seen in class, not at the report's own budget." in verdict.evidence
    mixed = judge(claim, seeds(A, 0.9), seeds(B, 0.1, **class_hour))
    assert mixed.verdict == "untested"
    assert "No one budget has records of" in mixed.evidence
    both = judge(claim, [*seeds(A, 0.9), *short[0]], [*seeds(B, 0.1), *short[1]])
    assert both.verdict == "holds"  # by the report's own budget alone
    changed = judge(claim, seeds(A, 0.9, preset="changed"), seeds(B, 0.1, preset="changed"))
    assert "Seen at preset changed" in changed.evidence


def test_a_lesson_that_was_not_long_enough_tells_no_accuracy():
    verdict = judge(
        compare.higher(A, B), seeds(A, 0.9, preset="lesson"), seeds(B, 0.1, preset="lesson")
    )
    assert verdict.verdict == "untested"
    assert verdict.evidence == "There is no test top-1 of 002-M1 and 002-M2 yet."


def test_counts_need_neither_budget_nor_real_images():
    claim = compare.ratio(A, B, metric="parameters", at_least=1, at_most=1)
    for changes in ({"preset": "smoke", "data": SYNTHETIC}, {"preset": "lesson"}):
        assert judge(claim, [forged(A, **changes)], [forged(B)]).verdict == "holds"


def test_times_need_the_reports_kind_of_device_and_a_machine_alone():
    claim = compare.ratio(A, B, metric="seconds", at_least=0.8, at_most=1.25)
    device = forged()["device"]
    assert judge(claim, [forged(A)], [forged(B)]).verdict == "holds"
    other = forged(B, device=device | {"threads": 1})
    shared = [forged(row, device=device | {"together": 2}) for row in (A, B)]
    for pair in ((forged(A), other), shared):
        verdict = judge(claim, *([record] for record in pair))
        assert verdict.verdict == "untested"
        assert "Not all were timed alone" in verdict.evidence
    gpu = compare.ratio(A, B, metric="seconds", at_least=0.8, at_most=1.25, device="cuda")
    assert "about a GPU" in judge(gpu, [forged(A)], [forged(B)]).evidence


def test_ratios_have_limits():
    slow, quick = [forged(B, seconds=1000.0)], [forged(A, seconds=100.0)]
    assert judge(compare.ratio(B, A, metric="seconds", at_least=8), slow, quick).verdict == "holds"
    close = compare.ratio(B, A, metric="seconds", at_least=10, at_most=32, printed=16)
    assert judge(close, slow, quick).verdict == "undecided"
    assert "16" in judge(close, slow, quick).evidence
    far = [forged(B, seconds=16_000.0)]
    assert judge(close, far, quick).verdict == "fails"  # 160 times is not about 16
    most = compare.ratio(B, A, metric="seconds", at_most=5)
    assert judge(most, slow, quick).verdict == "fails"
    with pytest.raises(ValueError, match="limit on either side"):
        compare.ratio(B, A, metric="seconds", at_least=8, printed=16)


def test_a_ranking_needs_every_step():
    claim = compare.ranking([C, B, A])
    assert judge(claim, seeds(C, 0.8), seeds(B, 0.6), seeds(A, 0.4)).verdict == "holds"
    broken = judge(claim, seeds(C, 0.6), seeds(B, 0.2), seeds(A, 0.4))
    assert broken.verdict == "fails"
    assert "not 002-M2 above 002-M1" in broken.evidence
    close = judge(claim, seeds(C, 0.6), seeds(B, 0.405), seeds(A, 0.4))
    assert close.verdict == "undecided"
    assert "Too close to tell: 002-M2 above 002-M1" in close.evidence


def test_monotone_goes_either_way():
    groups = seeds(A, 0.8), seeds(B, 0.6), seeds(C, 0.4)
    assert judge(compare.monotone([A, B, C]), *groups).verdict == "holds"
    assert judge(compare.monotone([A, B, C], "rising"), *groups).verdict == "fails"
    with pytest.raises(ValueError, match="falling or rising"):
        compare.monotone([A, B], "sideways")


def test_a_peak_is_above_every_other():
    claim = compare.peak_at([A, B, C], B)
    assert judge(claim, seeds(A, 0.4), seeds(B, 0.6), seeds(C, 0.45)).verdict == "holds"
    assert judge(claim, seeds(A, 0.7), seeds(B, 0.5), seeds(C, 0.45)).verdict == "fails"
    with pytest.raises(ValueError, match="not among the rows"):
        compare.peak_at([A, B], C)


def test_within_counts_the_width_of_its_interval():
    claim = compare.within(A, 0.50, 0.03)
    assert judge(claim, seeds(A, 0.50, images=10_000)).verdict == "holds"
    assert judge(claim, seeds(A, 0.49)).verdict == "undecided"
    assert judge(claim, seeds(A, 0.40)).verdict == "fails"
    restless = judge(compare.within(A, 0.50, 0.01), seeds(A, 0.40, 0.60))
    assert restless.verdict == "undecided"  # in the middle by chance
    assert "the claim asks for 49.0 % to 51.0 %" in restless.evidence


def test_limits_have_one_side():
    assert judge(compare.at_most(A, 0.2), seeds(A, 0.1)).verdict == "holds"
    assert judge(compare.at_most(A, 0.2), seeds(A, 0.19)).verdict == "undecided"
    assert judge(compare.at_least(A, 0.2), seeds(A, 0.1)).verdict == "fails"
    assert "20.0 % or more" in judge(compare.at_least(A, 0.2), seeds(A, 0.1)).evidence


def test_a_printed_score_is_tested_by_the_whole_data_alone():
    claim, exact = compare.within(A, 0.92, 0.01), compare.within(A, 5, 0, metric="parameters")
    part = judge(claim, seeds(A, 0.92, data=SUBSET))
    assert part.verdict == "untested"
    assert "On a part of the published data" in part.evidence
    assert judge(exact, seeds(A, 0.4, data=SUBSET)).verdict == "fails"  # a count needs no training


def test_an_order_seen_on_a_part_of_the_data_says_so():
    verdict = judge(compare.higher(B, A), seeds(B, 0.6, data=SUBSET), seeds(A, 0.3, data=SUBSET))
    assert str(verdict) == "holds (on a part of the data)"


def test_below_compares_two_metrics_of_a_run():
    claim = compare.below(A, "test_top1", "train_clean_top1")
    assert judge(claim, seeds(A, 0.5)).verdict == "holds"
    reverse = compare.below(A, "train_clean_top1", "test_top1")
    assert judge(reverse, seeds(A, 0.5)).verdict == "fails"
    assert judge(claim, seeds(A, 0.5, 0.51, 0.52)).verdict == "holds"


def test_one_image_is_no_gap():
    same = [run | {"train_clean": {"top1": run["test"]["top1"] + 0.0005, "loss": 1.0}}
            for run in seeds(A, 0.5, 0.5, 0.5)]  # fmt: skip
    assert judge(compare.below(A, "test_top1", "train_clean_top1"), same).verdict == "undecided"


def test_overlap_is_measured_against_independence():
    claim = compare.overlap(A, B)
    same = judge(claim, seeds(A, 0.4), seeds(B, 0.6))
    assert same.verdict == "holds"
    assert "both right on 40.0 %" in same.evidence
    rng, labels = np.random.default_rng(0), np.zeros(2000, np.uint8)
    one, two = (
        forged(row, labels=packed(labels), predictions=packed(rng.random(2000) < 0.5))
        for row in (A, B)
    )
    assert judge(claim, [one], [two]).verdict == "undecided"


def test_overlap_of_other_test_images_is_undecided():
    verdict = judge(compare.overlap(A, B), seeds(A, 0.4, images=100), seeds(B, 0.6, images=200))
    assert verdict.verdict == "undecided"
    assert "different test images" in verdict.evidence


def test_what_has_not_run_is_untested():
    missing = compare.judge(compare.higher(B, A), {A: seeds(A, 0.4)})
    assert missing.verdict == "untested"
    assert "002-M2" in missing.evidence
    unmeasured = judge(compare.within(A, 0.8, 0.1, metric="coarse_top1"), seeds(A, 0.4))
    assert unmeasured.verdict == "untested"


def test_synthetic_runs_give_no_verdict():
    fake = seeds(B, 0.61, data=SYNTHETIC), seeds(A, 0.381, data=SYNTHETIC)
    assert judge(compare.higher(B, A), *fake).verdict == "untested"


def test_claims_are_hashable_and_have_their_own_ids():
    claims = {compare.higher(A, B), compare.higher(A, B, metric="val_top1"), compare.lower(A, B)}
    assert len({claim.id for claim in claims}) == 3
