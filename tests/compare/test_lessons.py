"""What was seen in class is told as contrasts, with intervals, not beside printed numbers."""

import pytest
from forged import forged, seeds

from labkit import compare
from labkit.compare.lessons import contrasts

A, B, C = "002-M1", "002-M2", "002-C1"
TITLES = {A: "MNIST net", B: "MBN", C: "a control"}
LESSON = {"preset": "lesson", "epochs": 100}


def lessons(claims, recorded, own=None):
    every = [record for records in recorded.values() for record in records]
    return compare.lessons(claims, TITLES, own or {}, recorded, compare.Noise(every))


def test_a_contrast_has_its_interval_and_says_what_it_was_seen_on():
    recorded = {A: seeds(A, 0.30, 0.31, 0.32, **LESSON), B: seeds(B, 0.40, 0.41, 0.42, **LESSON)}
    (line,) = lessons([compare.higher(B, A)], recorded).itertuples(index=False)
    assert line.contrast == "MBN, against MNIST net"
    assert line.difference == "+10.0 points"
    low, _, high = line[2].partition(" to ")
    assert 0 < float(low) < 10 < float(high) < 20
    assert line.accuracy == "41.0 % against 31.0 %"
    assert line.seen == "seen in class, real CIFAR-100, n = 3"


def test_a_run_of_the_notebook_takes_the_place_of_the_recorded_ones():
    recorded = {A: seeds(A, 0.3, **LESSON), B: seeds(B, 0.4, **LESSON)}
    (line,) = lessons([compare.higher(B, A)], recorded, {B: seeds(B, 0.5, **LESSON)}).accuracy
    assert line == "50.0 % against 30.0 %"


@pytest.mark.parametrize(
    "changes",
    [
        {"preset": "full"},  # which the claims decide
        {"preset": "lesson", "epochs": 2},  # not trained long enough
        {"preset": "lesson", "epochs": 250},  # more than twice the images of the other
    ],
)
def test_what_is_no_lesson_of_two_equal_rows_is_no_contrast(changes):
    recorded = {A: seeds(A, 0.3, **changes), B: seeds(B, 0.4, **LESSON)}
    if changes["preset"] == "full":
        recorded[B] = seeds(B, 0.4)
    assert not len(lessons([compare.higher(B, A)], recorded))


def test_contrasts_are_read_from_claims_of_every_kind_about_test_accuracy():
    claims = [
        compare.ranking((A, B, C)),
        compare.monotone((A, C), "rising"),
        compare.peak_at((A, B), B),
        compare.lower(A, B, metric="test_loss"),
        compare.ratio(A, B, metric="parameters", at_least=1),
        compare.overlap(C, A),
        compare.below(A, "test_top1", "train_clean_top1"),
        compare.higher(A, C, metric="best_test_top1"),
    ]
    top1 = "test_top1"
    assert contrasts(claims) == {
        (A, B): top1, (B, C): top1, (C, A): top1, (B, A): top1, (A, C): "best_test_top1",
    }  # fmt: skip


def test_an_unknown_interval_is_called_so():
    recorded = {A: [forged(A, 0.3, **LESSON)], B: [forged(B, 0.4, **LESSON)]}
    assert list(lessons([compare.higher(B, A)], recorded)["95 % interval"]) == ["unknown"]
