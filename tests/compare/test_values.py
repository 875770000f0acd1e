"""One number of a record, several of them, and two models on the same images."""

import numpy as np
import pytest
from forged import forged, packed
from hypothesis import given
from hypothesis import strategies as st

from labkit import compare
from labkit.compare.values import READERS

A = "002-M1"


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
        compare.agreement(forged(A, images=100), forged("002-M2", images=200))


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
    assert compare.measure(record, "lowest_loss_share") == 0.5
    assert compare.measure(forged(rows=[]), "lowest_loss_share") is None


def test_the_lead_of_training_is_the_largest_of_any_epoch():
    record = forged(epochs=3)
    assert compare.measure(record, "train_lead_top1") is None  # the test images were not watched
    for row, train, test in zip(record["rows"], (0.1, 0.3, 0.2), (0.2, 0.25, 0.4), strict=True):
        row["train_top1"], row["test_top1"] = train, test
    assert compare.measure(record, "train_lead_top1") == pytest.approx(0.05)


def test_the_training_accuracy_of_fine_models_is_that_of_their_last_epochs():
    parts = (("router", 1000, 0.9), ("fine0", 100, 0.2), ("fine0", 100, 0.6), ("fine1", 300, 1.0))
    rows = [{"part": part, "images": images, "train_top1": top1} for part, images, top1 in parts]
    assert compare.measure(forged(rows=rows), "fine_train_top1") == pytest.approx(0.9)
    assert compare.measure(forged(), "fine_train_top1") is None
