"""Equal epochs and equal seconds, read from the rows of finished runs."""

import pytest
from forged import SYNTHETIC, forged

from labkit import compare, figures

SHORT = forged("003-S10", 0.4, epochs=3)  # 2 seconds an epoch
LONG = forged("003-S50", 0.6, epochs=15)
SEEDS = [LONG, forged("003-S50", 0.5, epochs=15, seed=1)]


def test_a_budget_of_epochs_reads_that_epoch():
    table = compare.at_budget([SHORT, LONG], epochs=5)
    assert list(table.index) == ["003-S10", "003-S50"]
    assert [v.value for v in table["epochs"]] == [3, 5]
    assert table.loc["003-S50", "val_top1"].value == LONG["rows"][4]["val_top1"]
    assert list(table["stopped by"]) == ["its own end", "the budget"]


def test_a_budget_of_seconds_counts_whole_epochs():
    table = compare.at_budget([LONG], seconds=9.9)
    assert table.loc["003-S50", "epochs"].value == 4
    assert table.loc["003-S50", "seconds"].value == 8.0


def test_seeds_are_averaged_and_synthetic_data_are_marked():
    value = compare.at_budget(SEEDS, epochs=15).loc["003-S50", "val_top1"]
    assert value.value == pytest.approx(sum(r["rows"][-1]["val_top1"] for r in SEEDS) / 2)
    assert value.n == 2
    fake = compare.at_budget([forged(data=SYNTHETIC)], epochs=1)
    assert "synthetic" in str(fake["val_top1"].iloc[0])


def test_what_a_run_cannot_answer_stays_empty():
    bare = forged("003-X1", epochs=2)
    for row in bare["rows"]:
        del row["val_top1"]
    assert compare.at_budget([bare], epochs=1).loc["003-X1", "val_top1"] == ""
    assert compare.at_budget([LONG], seconds=1.0).loc["003-S50", "epochs"] == ""


@pytest.mark.parametrize("budget", [{}, {"epochs": 1, "seconds": 1.0}])
def test_one_budget_must_be_given(budget):
    with pytest.raises(ValueError, match="exactly one budget"):
        compare.at_budget([LONG], **budget)


def test_the_figure_tells_where_each_run_ended():
    text = figures.alt(figures.over_time([SHORT, LONG], budget=10.0))
    assert "SimpleNet, 10 epochs 38.0 %" in text
    assert "after 30 s" in text
    assert "synthetic" in figures.alt(figures.over_time(forged(data=SYNTHETIC)))
    with pytest.raises(ValueError, match="test_top1"):
        figures.over_time(LONG, "test_top1")


def test_an_ablation_may_be_over_anything():
    lines = {"N = 2": {2: 0.44, 4: 0.45}}
    figure = figures.ablation(lines, "Width", over="widening factor k")
    assert "over widening factor k" in figures.alt(figure)
    assert figure.axes[0].get_xlabel() == "widening factor k (log scale)"
