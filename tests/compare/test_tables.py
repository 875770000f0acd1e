"""Ours beside the published numbers, and verdicts, as tables."""

import pytest
from forged import SUBSET, SYNTHETIC, forged, seeds

from labkit import compare

A, B, C = "002-M1", "002-M2", "002-C1"


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


def test_a_count_has_no_spread():
    size = {"total": 1, "trainable": 13_166_333}  # its memory is no round number
    runs = {A: seeds(A, 0.4, 0.41, 0.42, parameters=size)}
    printed = compare.published(A).assign(metric="memory_report_unit", value=51.0).head(1)
    (line,) = compare.table({A: "a net"}, runs, {}, printed)["this run"]
    assert str(line) == "51.4"


def test_verdicts_are_a_table():
    claims = [compare.higher(B, A, id="mbn", text="MBN wins"), compare.overlap(A, C)]
    found = compare.verdicts(claims, {A: seeds(A, 0.38), B: seeds(B, 0.61)})
    assert list(found.columns) == ["claim", "verdict", "evidence"]
    assert found.loc["mbn", "claim"] == "MBN wins"
    assert list(found.verdict) == ["undecided", "untested"]
    with pytest.raises(TypeError, match="takes id=, text= and sentence="):
        compare.higher(B, A, point=3)
