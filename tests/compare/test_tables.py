"""Ours beside the published numbers, and verdicts, as tables."""

import pytest
from forged import SUBSET, SYNTHETIC, forged, seeds

from labkit import compare

A, B, C = "002-M1", "002-M2", "002-C1"
TITLES = {A: "MNIST net", B: "MBN", C: "a control"}


def table(records):
    return compare.table(TITLES, records, compare.published(report="002"))


def line(found, key="test_top1", row=A):
    return found[(found.row == row) & (found.key == key)].iloc[0]


def test_the_table_puts_ours_beside_the_published():
    found = table({A: seeds(A, 0.39, 0.41), C: seeds(C, 0.2)})
    assert list(found.columns) == [
        "row", "title", "metric", "published", "at full", "gap", "source", "key", "best", "logged",
    ]  # fmt: skip
    first = line(found)
    assert (first.metric, first.best, first.logged) == ("test top-1", False, False)
    assert str(first.published) == "38.1 %"
    assert str(first["at full"]) == "40.0 % ± 1.4 (n = 2)"
    assert first.gap == "+1.9 points"
    assert first.source.startswith("report")
    assert line(found, "test_loss").gap == "-0.08"
    assert str(line(found, "seconds")["at full"]).startswith("2 min")
    assert line(found, "seconds").gap == ""  # of another machine
    control = line(found, row=C)
    assert (control.published, control.gap, control.source) == ("", "", "not printed")
    assert (line(found, row=B)["at full"], line(found, row=B).gap) == ("", "")


def test_a_row_that_is_neither_printed_nor_run_at_full_is_left_out():
    assert C not in set(table({}).row)
    assert C not in set(table({C: seeds(C, 0.2, preset="lesson")}).row)


@pytest.mark.parametrize(
    "changes", [{"preset": "lesson"}, {"preset": "changed"}, {"data": SUBSET}, {"data": SYNTHETIC}]
)
def test_nothing_but_the_whole_budget_stands_beside_a_printed_number(changes):
    found = table({A: seeds(A, 0.3, **changes), B: seeds(B, 0.3, **changes)})
    assert set(found["at full"]) == set(found["gap"]) == {""}


def test_the_literature_is_not_what_a_report_printed():
    assert "literature" in set(compare.published("002-Z").kind)
    titles, records = {"002-Z": "MBN, 200 epochs"}, {"002-Z": seeds("002-Z", 0.7)}
    (found,) = compare.table(titles, records, compare.published(report="002")).published
    assert found == ""


def test_a_best_epoch_is_compared_with_a_best_epoch():
    record = forged("004-M1", 0.91, best_test={"epoch": 3, "top1": 0.925})
    titles, published = {"004-M1": "RAN"}, compare.published("004-M1")
    found = compare.table(titles, {"004-M1": [record]}, published)
    scores = found[found.key == "test_top1"]
    best, logged = scores[scores.best].iloc[0], scores[~scores.best & scores.logged].iloc[0]
    assert (best.metric, best.gap) == ("test top-1 (best epoch)", "+0.5 points")
    assert (logged.metric, logged.gap) == ("test top-1", "-0.9 points")
    assert "epochs" not in set(found.key)


def test_the_last_epoch_never_stands_beside_a_best_one():
    row = "004-N25000"
    printed = compare.published(row)
    assert set(printed.selection[printed.metric == "test_top1"]) > {"best"}
    found = compare.table({row: "RAN"}, {row: [forged(row, 0.86)]}, printed)
    scores = found[found.key == "test_top1"]
    best, last = scores[scores.best], scores[~scores.best]
    assert len(best)
    assert not best["at full"].astype(bool).any()
    assert not best.gap.astype(bool).any()
    assert last["at full"].astype(bool).all()


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


def test_a_count_has_no_spread():
    size = {"total": 1, "trainable": 13_166_333}  # its memory is no round number
    runs = {A: seeds(A, 0.4, 0.41, 0.42, parameters=size)}
    printed = compare.published(A).assign(metric="memory_report_unit", value=51.0).head(1)
    (line,) = compare.table({A: "a net"}, runs, printed)["at full"]
    assert str(line) == "51.4"


def test_verdicts_are_a_table():
    claims = [compare.higher(B, A, id="mbn", text="MBN wins"), compare.overlap(A, C)]
    found = compare.verdicts(claims, {A: seeds(A, 0.38), B: seeds(B, 0.61)})
    assert list(found.columns) == ["claim", "verdict", "evidence"]
    assert found.loc["mbn", "claim"] == "MBN wins"
    assert list(found.verdict) == ["undecided", "untested"]
    with pytest.raises(TypeError, match="takes id=, text= and sentence="):
        compare.higher(B, A, point=3)


def test_what_is_planned_says_what_was_seen_so_far():
    recorded = {A: seeds(A, 0.39), B: seeds(B, 0.3, preset="lesson", epochs=100)}
    found = compare.planned(TITLES, {}, recorded)
    assert list(found.index) == [B, C]
    assert list(found["so far"]) == ["seen in class", "nothing yet"]


def test_a_proof_has_no_accuracy_of_synthetic_images():
    details = {"train_images": 400}
    fake = {A: seeds(A, 0.9, data=SYNTHETIC, preset="smoke", details=details)}
    found = compare.proof(TITLES, fake, {A: seeds(A, 0.3)})
    assert list(found.columns) == ["trained on", "epochs", "time"]
    assert found.loc["MNIST net", "trained on"] == "400 synthetic images"


def test_a_run_of_the_class_stands_beside_the_recorded_ones_of_its_preset():
    lesson = {"preset": "lesson", "details": {"train_images": 40_000}}
    own, recorded = {A: seeds(A, 0.31, **lesson)}, {A: seeds(A, 0.3, 0.34, **lesson)}
    recorded[A] += seeds(A, 0.5)
    found = compare.proof(TITLES, own, recorded).loc["MNIST net"]
    assert str(found["test top-1"]) == "31.0 %"
    assert str(found["recorded at this preset"]) == "32.0 % ± 2.8 (n = 2)"
