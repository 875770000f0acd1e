"""What each kind of claim decides, by which records."""

import numpy as np
import pytest
from forged import SUBSET, SYNTHETIC, forged, packed, seeds

from labkit import compare

A, B, C = "002-M1", "002-M2", "002-C1"


def judge(claim, *groups):
    return compare.judge(claim, dict(zip(claim.rows, groups, strict=True)))


def test_one_seed_needs_more_than_the_published_spread():
    claim = compare.higher(B, A, points=22.9)
    assert judge(claim, seeds(B, 0.61), seeds(A, 0.381)).verdict == "holds"
    assert judge(claim, seeds(B, 0.39), seeds(A, 0.381)).verdict == "undecided"
    assert judge(claim, seeds(B, 0.30), seeds(A, 0.381)).verdict == "fails"


def test_the_evidence_has_the_numbers():
    evidence = judge(compare.higher(B, A, points=22.9), seeds(B, 0.61), seeds(A, 0.381)).evidence
    assert "002-M2 61.0 %" in evidence
    assert "002-M1 38.1 %" in evidence
    assert "22.9 points higher" in evidence
    assert "The report has 22.9 points." in evidence


def test_several_seeds_decide_by_their_interval():
    claim = compare.higher(B, A)
    close = judge(claim, seeds(B, 0.401, 0.402, 0.403), seeds(A, 0.396, 0.397, 0.398))
    assert close.verdict == "holds"  # within the spread of one run, but the seeds agree
    assert "95 % interval" in close.evidence
    noisy = judge(claim, seeds(B, 0.40, 0.60), seeds(A, 0.35, 0.55))
    assert noisy.verdict == "undecided"


def test_a_claim_may_ask_for_a_gap():
    claim = compare.higher(B, A, at_least=10)
    assert judge(claim, seeds(B, 0.61), seeds(A, 0.38)).verdict == "holds"
    assert judge(claim, seeds(B, 0.45), seeds(A, 0.38)).verdict == "fails"


def test_lower_is_the_other_way_round():
    good, bad = forged(B, test={**forged()["test"], "loss": 1.7}), forged(A)
    assert judge(compare.lower(B, A), [good], [bad]).verdict == "holds"
    assert judge(compare.lower(A, B), [bad], [good]).verdict == "fails"


def test_one_run_of_a_loss_or_a_time_may_be_off_by_a_tenth():
    close, far = (forged(A, test={**forged()["test"], "loss": loss}) for loss in (1.8, 2.1))
    good = forged(B, test={**forged()["test"], "loss": 1.7})
    assert judge(compare.lower(B, A), [good], [close]).verdict == "undecided"
    assert judge(compare.lower(B, A), [good], [far]).verdict == "holds"
    times = compare.lower(B, A, metric="seconds")
    assert (
        judge(times, [forged(B, seconds=95.0)], [forged(A, seconds=100.0)]).verdict == "undecided"
    )
    counts = compare.lower(B, A, metric="parameters")
    fewer = forged(B, parameters={"total": 1_638_051, "trainable": 1})
    assert judge(counts, [fewer], [forged(A)]).verdict == "holds"
    same = judge(compare.higher(B, A), seeds(B, 0.4), seeds(A, 0.4))
    assert "0 points apart" in same.evidence


def test_no_better_is_not_shown_by_noise():
    claim = compare.no_better(A, B)
    noisy = judge(claim, seeds(A, 0.40, 0.60), seeds(B, 0.41, 0.61))
    assert noisy.verdict == "undecided"
    assert judge(claim, seeds(A, 0.40), seeds(B, 0.42)).verdict == "holds"


def test_a_rise_of_the_loss_is_as_noisy_as_the_losses_it_is_made_of():
    def rising(row, rise):
        record = forged(row)
        for epoch, loss in zip(record["rows"], (4.6, 4.5, 4.4, 4.3, 4.2, 4.2 + rise), strict=True):
            epoch["test_loss"] = loss
        return [record]

    claim = compare.higher(A, B, metric="loss_rise")
    assert judge(claim, rising(A, 0.07), rising(B, 0.03)).verdict == "undecided"
    assert judge(claim, rising(A, 0.47), rising(B, 0.03)).verdict == "holds"


def test_evidence_counts_the_runs_of_both_sides():
    claim = compare.higher(A, B)
    assert "one run a side" in judge(claim, seeds(A, 0.5), seeds(B, 0.4)).evidence
    uneven = judge(claim, seeds(A, 0.5), seeds(B, 0.4, 0.405, 0.41))
    assert uneven.verdict == "holds"
    assert "one run on one side; chance may explain 2.48 points" in uneven.evidence  # 4.303 x 1.155
    far = judge(claim, seeds(A, 0.5), seeds(B, 0.37, 0.4, 0.43))
    assert far.verdict == "undecided"  # the seeds lie further apart than a usual spread


def test_a_short_preset_decides_nothing_between_incomparable_budgets():
    claim = compare.higher(A, B)
    records = {
        A: [forged(A, 0.5, preset="lesson")],
        B: [forged(B, 0.4, epochs=60, preset="lesson")],
    }

    def verdict(records, **shares):
        return compare.judge(claim, records, shares=dict(zip((A, B), shares.values(), strict=True)))

    apart = verdict(records, a=0.1, b=0.6)
    assert apart.verdict == "undecided"
    assert f"{A} 6,000 images, 10 % of its own and {B} 60,000 images, 60 %" in apart.evidence
    assert verdict(records, a=0.1, b=0.15).verdict == "holds"  # alike parts of their budgets
    alike = {A: records[A], B: [forged(B, 0.4, epochs=8, preset="lesson")]}
    assert verdict(alike, a=0.1, b=0.6).verdict == "holds"  # alike budgets
    whole = {row: [{**found[0], "preset": "full"}] for row, found in records.items()}
    assert verdict(whole, a=0.3, b=1.0).verdict == "holds"  # the early stopper's doing
    for metric in ("parameters", "images_per_second"):  # whatever the budget
        equal = compare.ratio(A, B, metric=metric, at_least=0.8, at_most=1.2)
        assert compare.judge(equal, records, shares={A: 0.1, B: 0.6}).verdict == "holds"


def test_times_of_a_shared_machine_say_so():
    claim = compare.ratio(A, B, metric="seconds", at_least=0.8, at_most=1.25)
    alone = forged(A), forged(B)
    assert "timed" not in judge(claim, [alone[0]], [alone[1]]).evidence
    other = forged(B, device=alone[1]["device"] | {"threads": 1})
    assert "Not all were timed alone" in judge(claim, [alone[0]], [other]).evidence
    shared = [forged(row, device=alone[0]["device"] | {"together": 2}) for row in (A, B)]
    assert "Not all were timed alone" in judge(claim, shared[:1], shared[1:]).evidence


def test_no_better_leaves_room_for_noise():
    claim = compare.no_better(B, A)
    assert judge(claim, seeds(B, 0.40), seeds(A, 0.42)).verdict == "holds"
    assert judge(claim, seeds(B, 0.43), seeds(A, 0.42)).verdict == "undecided"
    assert judge(claim, seeds(B, 0.50), seeds(A, 0.42)).verdict == "fails"
    close = judge(claim, seeds(B, 0.421, 0.422, 0.423), seeds(A, 0.419, 0.42, 0.421))
    assert close.verdict == "holds"


def test_ratios_have_limits():
    slow, quick = [forged(B, seconds=1000.0)], [forged(A, seconds=100.0)]
    assert judge(compare.ratio(B, A, metric="seconds", at_least=8), slow, quick).verdict == "holds"
    close = compare.ratio(B, A, metric="seconds", at_least=10, printed=16)
    assert judge(close, slow, quick).verdict == "undecided"
    assert "16" in judge(close, slow, quick).evidence
    most = compare.ratio(B, A, metric="seconds", at_most=5)
    assert judge(most, slow, quick).verdict == "fails"
    same = compare.ratio(B, A, metric="parameters", at_least=1, at_most=1)
    assert judge(same, slow, quick).verdict == "holds"


def test_a_ranking_names_the_pair_that_breaks_it():
    claim = compare.ranking([C, B, A])
    assert judge(claim, seeds(C, 0.6), seeds(B, 0.5), seeds(A, 0.4)).verdict == "holds"
    broken = judge(claim, seeds(C, 0.6), seeds(B, 0.3), seeds(A, 0.4))
    assert broken.verdict == "fails"
    assert "not 002-M2 above 002-M1" in broken.evidence
    assert judge(claim, seeds(C, 0.6), seeds(B, 0.405), seeds(A, 0.4)).verdict == "undecided"


def test_monotone_has_a_direction():
    groups = seeds(A, 0.6), seeds(B, 0.5), seeds(C, 0.4)
    assert judge(compare.monotone([A, B, C]), *groups).verdict == "holds"
    rising = judge(compare.monotone([A, B, C], "rising"), *groups)
    assert rising.verdict == "fails"
    assert "Against the claim: not 002-M2 above 002-M1 and 002-C1 above 002-M2." in rising.evidence
    with pytest.raises(ValueError, match="falling or rising"):
        compare.monotone([A, B], "down")


def test_a_peak_lies_above_every_other_row():
    claim = compare.peak_at([A, B, C], B)
    assert judge(claim, seeds(A, 0.4), seeds(B, 0.5), seeds(C, 0.45)).verdict == "holds"
    assert judge(claim, seeds(A, 0.6), seeds(B, 0.5), seeds(C, 0.45)).verdict == "fails"
    with pytest.raises(ValueError, match="not among the rows"):
        compare.peak_at([A, B], C)


def test_within_allows_the_tolerance_and_then_the_noise():
    claim = compare.within(A, 0.92, 0.01)
    assert "92.0 % ± 1 points" in claim.text
    assert judge(claim, seeds(A, 0.915)).verdict == "holds"
    assert judge(claim, seeds(A, 0.90)).verdict == "undecided"
    assert judge(claim, seeds(A, 0.80)).verdict == "fails"
    assert judge(claim, seeds(A, 0.80, 0.801, 0.802)).verdict == "fails"


@pytest.mark.parametrize(
    "other", [{"preset": "lesson"}, {"data": forged(A)["data"] | {"complete": False}}]
)
def test_another_budget_can_neither_meet_nor_miss_a_printed_accuracy(other):
    claim, exact = compare.within(A, 0.92, 0.01), compare.within(A, 5, 0, metric="parameters")
    for value in (0.915, 0.3):
        found = judge(claim, [forged(A, top1=value, **other)])
        assert found.verdict == "undecided"
        assert "budget" in found.evidence or "subset" in found.evidence
    assert judge(exact, [forged(A, **other)]).verdict == "fails"  # a count needs no training


def test_below_compares_two_metrics_of_the_same_runs():
    claim = compare.below(A, "val_top1", "test_top1")
    assert judge(claim, seeds(A, 0.5)).verdict == "holds"
    assert (
        judge(compare.below(A, "train_clean_top1", "test_top1"), seeds(A, 0.5)).verdict == "fails"
    )
    assert judge(claim, seeds(A, 0.5, 0.51)).verdict == "holds"


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
    found = judge(compare.overlap(A, B), seeds(A, 0.4, images=100), seeds(B, 0.6, images=200))
    assert found.verdict == "undecided"
    assert "different test images" in found.evidence


def test_what_has_not_run_is_said():
    claim = compare.higher(B, A)
    missing = compare.judge(claim, {A: seeds(A, 0.4)})
    assert missing.verdict == "not run"
    assert "002-M2" in missing.evidence
    unmeasured = compare.judge(
        compare.within(A, 0.8, 0.1, metric="coarse_top1"), {A: seeds(A, 0.4)}
    )
    assert unmeasured.verdict == "not run"


def test_synthetic_and_partial_data_are_said():
    claim = compare.higher(B, A)
    fake = judge(claim, seeds(B, 0.61, data=SYNTHETIC), seeds(A, 0.381, data=SYNTHETIC))
    assert str(fake) == "holds (synthetic data)"
    assert "On synthetic data, says nothing about the report." in fake.evidence
    lesson = judge(claim, seeds(B, 0.61, preset="lesson"), seeds(A, 0.381))
    assert "At preset lesson" in lesson.evidence
    assert not lesson.synthetic
    part = judge(claim, seeds(B, 0.61, data=SUBSET), seeds(A, 0.381))
    assert "subset" in part.evidence


def test_claims_are_hashable_and_have_their_own_ids():
    claims = {compare.higher(A, B), compare.higher(A, B, metric="val_top1"), compare.lower(A, B)}
    assert len({claim.id for claim in claims}) == 3


def test_one_run_decides_nothing_between_two_close_losses():
    claim = compare.below(A, "train_loss", "test_loss")
    rows = [{"epoch": 1, "lr": 0.1, "train_loss": 2.0, "train_top1": 0.4, "seconds": 1.0}]

    def run(loss):
        test = {"loss": loss, "top1": 0.4, "top3": 0.5, "top5": 0.6, "images": 2000}
        return [forged(A, rows=rows, test=test)]

    assert judge(claim, run(2.001)).verdict == "undecided"
    assert judge(claim, run(2.5)).verdict == "holds"
    assert judge(claim, run(1.5)).verdict == "fails"
