"""Fingerprints: what they tell apart, what they forgive, and who carries one."""

import pytest
import torch
from helpers import SYSTEM, TINY

import labkit as lk
from labkit import records
from labkit.book import stale
from labkit.data.partitions import PARTITIONS
from labkit.train import fingerprint, loop, system
from labkit.train.fingerprint import same_fingerprint

TEN = tuple("abcdefghij")
HUNDRED = lk.load("synthetic_cifar100").classes


@pytest.fixture(autouse=True)
def afresh():
    fingerprint.try_start.cache_clear()


def test_fingerprints_tell_recipes_apart_and_repeat():
    mark = fingerprint.fingerprint(TINY, 32, TEN)
    fingerprint.try_start.cache_clear()
    assert fingerprint.fingerprint(TINY, 32, TEN) == mark
    for change in (
        {"model": "mbn"}, {"lr": 1e-2}, {"seed": 1}, {"optimizer": "sgd"},
        {"label_smoothing": 0.2}, {"augment": "rotate20_flip"},
        {"optimizer_options": {"eps": 0.1}}, {"model": "mbn", "options": {"thinner": 4}},
    ):  # fmt: skip
        other = fingerprint.fingerprint(TINY.replace(**change), 32, TEN)
        assert not same_fingerprint(mark, other), change
    assert not same_fingerprint(mark, fingerprint.fingerprint(TINY, 32, HUNDRED))
    assert not same_fingerprint(mark, fingerprint.fingerprint(TINY, 36, TEN))


def test_rows_that_start_alike_are_tried_once(monkeypatch):
    tried = []
    build = loop.build
    monkeypatch.setattr(loop, "build", lambda *given: tried.append(given) or build(*given))
    mark = fingerprint.fingerprint(TINY, 32, TEN)
    mark["losses"].clear()  # the caller's own
    budget = TINY.replace(epochs=9, batch=7, train_size=0, schedule="cosine", warmup=0.1)
    assert len(fingerprint.fingerprint(budget, 32, TEN)["losses"]) == 3
    assert len(tried) == 1


@pytest.mark.faults(28)
def test_a_fingerprint_does_not_depend_on_the_threads():
    """Adam moves a weight by its gradient's sign, so that an order of additions can be seen."""
    recipe = TINY.replace(model="residual_attention", optimizer="adam")
    one = fingerprint.fingerprint(recipe, 32, TEN)
    fingerprint.try_start.cache_clear()
    torch.set_num_threads(2)
    try:
        assert fingerprint.fingerprint(recipe, 32, TEN) == one
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_later_losses_of_a_fingerprint_may_differ_by_more():
    ours = {"weights": [5, 1.0, 2.0], "losses": [2.0, 3.0, 4.0]}
    for losses, same in (
        ([2.0, 3.02, 4.1], True),
        ([2.01, 3.0, 4.0], False),
        ([2.0, 3.04, 4.0], False),
        ([2.0, 3.0, 4.2], False),
        ([2.0, 3.0], False),
    ):
        assert same_fingerprint(ours, ours | {"losses": losses}) == same
    assert not same_fingerprint(ours, ours | {"weights": [5, 1.0, 2.01]})
    many = ours | {"weights": [100_000, 1.0, 2.0]}
    assert not same_fingerprint(many, ours | {"weights": [100_001, 1.0, 2.0]})


def test_the_fingerprint_covers_the_fine_models_and_the_partition(monkeypatch):
    mark = fingerprint.fingerprint(SYSTEM, 32, HUNDRED)
    assert mark["weights"][0] == 1_605_760 + 896 + 18_496 + 3 * 129
    assert len(mark["losses"]) == 6
    for change in ({"model": "mbn"}, {"groups": "four"}):
        h = lk.Hierarchy(**{"groups": "three", "model": "mnist_net", "epochs": 2} | change)
        other = fingerprint.fingerprint(SYSTEM.replace(hierarchy=h), 32, HUNDRED)
        assert not same_fingerprint(mark, other), change
    swapped = dict(PARTITIONS["three"])
    first, second, _ = swapped
    swapped[first] = ("whale", *swapped[first][1:])
    swapped[second] = tuple({*swapped[second], "apple"} - {"whale"})
    monkeypatch.setitem(system.PARTITIONS, "three", swapped)
    assert not same_fingerprint(mark, fingerprint.fingerprint(SYSTEM, 32, HUNDRED))


@pytest.mark.faults(28)
def test_a_record_is_kept_only_with_a_fingerprint():
    report = lk.report("keras_vs_mbn", preset="smoke")
    record = report.run("002-M1").record
    assert record["fingerprint"] is None
    assert "no fingerprint" in stale.staleness(record)
    kept = fingerprint.stamp(record)
    assert stale.staleness(kept) == ""
    changed = kept["fingerprint"] | {"losses": [0.0, 0.0, 0.0]}
    assert "another training" in stale.staleness(records.amend(kept, {"fingerprint": changed}))
