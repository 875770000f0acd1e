"""Comparing: numbers from records, the table, and what each kind of claim decides."""

import numpy as np
import pytest
from forged import SUBSET, SYNTHETIC, forged, packed
from hypothesis import given
from hypothesis import strategies as st

from labkit import compare
from labkit.compare.values import READERS, welch

A, B, C = "002-M1", "002-M2", "002-C1"


def seeds(row, *scores, **changes):
    return [forged(row, score, seed=seed, **changes) for seed, score in enumerate(scores)]


def judge(claim, *groups):
    return compare.judge(claim, dict(zip(claim.rows, groups, strict=True)))


# numbers


@pytest.mark.parametrize("metric", READERS)
def test_every_metric_is_read_or_absent(metric):
    full = forged(best_test={"epoch": 3, "top1": 0.41})
    value = compare.measure(full, metric)
    assert value is None or value >= 0
    assert compare.describe(metric, value or 0.0)
    bare = forged(epochs=1, best_test=None, train_clean=None)
    del bare["rows"][0]["val_top1"], bare["rows"][0]["val_loss"]
    compare.measure(bare, metric)
    assert compare.measure({**bare, "rows": []}, "epochs") is None


def test_details_hold_any_other_metric():
    assert compare.measure(forged(details={"coarse_top1": 0.83}), "coarse_top1") == 0.83
    assert compare.measure(forged(details={"coarse_top1": "?"}), "coarse_top1") is None
    assert compare.measure(forged(), "no_such_metric") is None


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("test_top1", 0.61, "61.0 %"),
        ("test_top1", 0.9201, "92.01 %"),
        ("test_loss", 2.478, "2.48"),
        ("seconds", 28800, "8 h 00 min"),
        ("seconds", 1800, "30 min"),
        ("seconds", 33, "33 s"),
        ("parameters", 15795556, "15,795,556"),
    ],
)
def test_values_read_as_a_reader_expects(metric, value, text):
    assert compare.describe(metric, value) == text


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.3027), (5, 2.5706), (9, 2.2622), (60, 2.0003)]
)
def test_t_quantiles_are_those_of_the_tables(freedom, quantile):
    assert compare.t_quantile(freedom) == pytest.approx(quantile, abs=3e-4)


def test_welch_gives_the_textbook_interval():
    # two samples with variances 1 and 4: standard error 1.2910, 2.9412 degrees of freedom
    gap, half = welch([1.0, 2.0, 3.0], [4.0, 6.0, 8.0])
    assert gap == -4.0
    assert half == pytest.approx(compare.t_quantile(2.9412) * 1.29099, rel=1e-4)
    assert welch([1.0, 1.0], [1.0, 1.0]) == (0.0, 0.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_agreement_shares_always_sum_to_one(answers):
    right = np.array(answers)
    labels = np.zeros(len(right), np.uint8)
    a, b = ({"row": "x", "labels": packed(labels), "predictions": packed(~r)} for r in right.T)
    found = compare.agreement(a, b)
    parts = (found.both_right, found.only_a, found.only_b, found.both_wrong)
    assert sum(parts) == pytest.approx(1.0)
    assert found.alike == pytest.approx((right[:, 0] == right[:, 1]).mean())
    assert -1e-9 <= found.expected <= 1 + 1e-9


def test_agreement_refuses_other_test_images():
    with pytest.raises(ValueError, match="different test images"):
        compare.agreement(forged(A, images=100), forged(B, images=200))


# claims


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


def test_a_count_has_no_spread():
    size = {"total": 1, "trainable": 13_166_333}  # its memory is no round number
    runs = {A: seeds(A, 0.4, 0.41, 0.42, parameters=size)}
    printed = compare.published(A).assign(metric="memory_report_unit", value=51.0).head(1)
    (line,) = compare.table({A: "a net"}, runs, {}, printed)["this run"]
    assert str(line) == "51.4"


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


def test_the_best_epoch_is_found_and_what_was_lost_after_it():
    record = forged(epochs=4)
    for row, score in zip(record["rows"], (0.1, 0.5, 0.4, 0.3), strict=True):
        row["val_top1"] = score
    assert compare.measure(record, "best_epoch") == 2
    assert compare.measure(record, "best_epoch_share") == 0.5
    assert compare.measure(record, "decay_top1") == pytest.approx(0.2)
    record["rows"][-1]["test_top1"] = 0.6
    for row in record["rows"][:-1]:
        row["test_top1"] = 0.0
    assert compare.measure(record, "best_epoch") == 4


def test_a_loss_that_turns_is_told_by_how_far_it_climbs():
    record = forged(epochs=4)
    assert compare.measure(record, "loss_rise") == 0.0
    for row, loss in zip(record["rows"], (4.0, 3.0, 3.2, 3.7), strict=True):
        row["test_loss"] = loss
    assert compare.measure(record, "loss_rise") == pytest.approx(0.7)
    assert compare.measure(forged(rows=[]), "loss_rise") is None


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
    assert judge(compare.monotone([A, B, C], "rising"), *groups).verdict == "fails"
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


def test_verdicts_are_a_table():
    claims = [compare.higher(B, A, id="mbn", text="MBN wins"), compare.overlap(A, C)]
    found = compare.verdicts(claims, {A: seeds(A, 0.38), B: seeds(B, 0.61)})
    assert list(found.columns) == ["claim", "verdict", "evidence"]
    assert found.loc["mbn", "claim"] == "MBN wins"
    assert list(found.verdict) == ["holds", "not run"]
    with pytest.raises(TypeError, match="takes id= and text="):
        compare.higher(B, A, point=3)


def test_claims_are_hashable_and_have_their_own_ids():
    claims = {compare.higher(A, B), compare.higher(A, B, metric="val_top1"), compare.lower(A, B)}
    assert len({claim.id for claim in claims}) == 3


# the table


def table(runs, recorded=None):
    titles = {A: "MNIST net", C: "a control"}
    return compare.table(titles, runs, recorded or {}, compare.published(report="002"))


def line(found, key="test_top1", row=A):
    return found[(found.row == row) & (found.key == key)].iloc[0]


def test_the_table_puts_ours_beside_the_published():
    found = table({A: seeds(A, 0.40)}, {A: seeds(A, 0.39, 0.41)})
    assert list(found.columns) == [
        "row", "title", "metric", "published", "recorded at full", "this run", "gap", "source",
        "key", "best", "logged",
    ]  # fmt: skip
    first = line(found)
    assert (first.metric, first.best, first.logged) == ("test top-1", False, False)
    assert str(first.published) == "38.1 %"
    assert str(first["recorded at full"]) == "40.0 % ± 1.4 (n = 2)"
    assert str(first["this run"]) == "40.0 %"
    assert first.gap == "+1.9 points (this run)"
    assert first.source.startswith("report")
    assert line(found, "test_loss").gap == "-0.08 (this run)"
    assert line(found, "seconds").gap == "× 0.0667 (this run)"
    control = line(found, row=C)
    assert (control.published, control.source) == ("", "not printed")


def test_no_gap_is_drawn_from_synthetic_data():
    fake = {A: seeds(A, 0.9, data=SYNTHETIC)}
    assert line(table(fake)).gap == "none from synthetic data"
    assert "[synthetic]" in str(line(table(fake))["this run"])
    recorded = line(table(fake, {A: seeds(A, 0.39)}))
    assert recorded.gap == "+0.9 points (recorded)"


def test_a_count_is_compared_whatever_the_data():
    record = forged(B, data=SYNTHETIC, parameters={"total": 15795556, "trainable": 15786340})
    found = compare.table({B: "MBN"}, {B: [record]}, {}, compare.published(B))
    assert line(found, "parameters", row=B).gap == "equal (this run)"


def test_less_than_the_whole_is_marked():
    recipe = {**forged()["recipe"], "train_size": 10000}
    lesson = {A: seeds(A, 0.3, preset="lesson", recipe=recipe)}
    assert line(table(lesson)).gap == "-8.1 points (lesson, subset)"
    assert line(table({A: seeds(A, 0.3, data=SUBSET)})).gap == "-8.1 points (subset)"
    assert line(table({})).gap == ""


def test_a_best_epoch_is_compared_with_a_best_epoch():
    record = forged("004-M1", 0.91, best_test={"epoch": 3, "top1": 0.925})
    titles, published = {"004-M1": "RAN"}, compare.published("004-M1")
    found = compare.table(titles, {"004-M1": [record]}, {}, published)
    scores = found[found.key == "test_top1"]
    best, logged = scores[scores.best].iloc[0], scores[~scores.best & scores.logged].iloc[0]
    assert (best.metric, best.gap) == ("test top-1 (best epoch)", "+0.5 points (this run)")
    assert (logged.metric, logged.gap) == ("test top-1", "-0.9 points (this run)")
    assert "epochs" not in set(found.key)


def test_the_last_epoch_never_stands_beside_a_best_one():
    row = "004-N25000"
    printed = compare.published(row)
    assert set(printed.selection[printed.metric == "test_top1"]) > {"best"}
    found = compare.table({row: "RAN"}, {row: [forged(row, 0.86)]}, {}, printed)
    scores = found[found.key == "test_top1"]
    best, last = scores[scores.best], scores[~scores.best]
    assert len(best)
    assert not best["this run"].astype(bool).any()
    assert not best.gap.astype(bool).any()
    assert last["this run"].astype(bool).all()


def test_a_notebook_shows_every_word_of_a_table():
    long = "a sentence of evidence that is much longer than fifty characters, and goes on"
    claim = compare.within("002-M1", 0.4, 0.01, text=long)
    shown = compare.verdicts([claim], {})
    assert long in shown._repr_html_()
    assert long in shown[["claim"]]._repr_html_()


def test_a_notebook_does_not_show_what_only_code_reads():
    found = table({A: seeds(A, 0.40)})
    heads = [f"<th>{name}</th>" for name in compare.KEYS]
    assert not [head for head in heads if head in found[found.key == "test_top1"]._repr_html_()]
    assert "<th>gap</th>" in found._repr_html_()
    assert "<th>selection</th>" in compare.published(A)._repr_html_()


def test_the_column_of_our_runs_is_called_as_asked():
    lesson = {B: seeds(B, 0.3, preset="lesson", parameters={"total": 15795556, "trainable": 1})}
    found = compare.table({B: "MBN"}, lesson, {}, compare.published(B), ours="in class")
    assert str(line(found, row=B)["in class"]) == "30.0 % [lesson]"
    assert line(found, "parameters", row=B).gap == "equal (in class)"


def test_one_run_decides_nothing_between_two_close_losses():
    claim = compare.below(A, "train_loss", "test_loss")
    rows = [{"epoch": 1, "lr": 0.1, "train_loss": 2.0, "train_top1": 0.4, "seconds": 1.0}]

    def run(loss):
        test = {"loss": loss, "top1": 0.4, "top3": 0.5, "top5": 0.6, "images": 2000}
        return [forged(A, rows=rows, test=test)]

    assert judge(claim, run(2.001)).verdict == "undecided"
    assert judge(claim, run(2.5)).verdict == "holds"
    assert judge(claim, run(1.5)).verdict == "fails"
