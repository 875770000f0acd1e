"""Precision and threads: tried once, kept with the run and the machine, named by the record."""

import time

import pytest
import torch
from helpers import TINY, timeless, weights

import labkit as lk
from labkit import files
from labkit.errors import OutOfTimeError
from labkit.train import choice, loop

LONG = TINY.replace(epochs=3)
WAYS = [("fp32", 2), ("fp32", 1), ("bf16", 2), ("bf16", 1)]


@pytest.fixture
def timed(monkeypatch):
    """Every run is long enough to be timed, on two threads; the rates are ours to set."""
    rates = dict(zip(WAYS, (100.0, 90.0, 80.0, 70.0), strict=True))
    asked = []

    def pretend(recipe, shape, classes, ways):
        asked.append(list(ways))
        return {way: rates[way] for way in ways}

    monkeypatch.setattr(choice, "LEAST_WORK", 0.0)
    monkeypatch.setattr(choice, "_rates", pretend)
    torch.set_num_threads(2)
    yield rates, asked
    torch.set_num_threads(1)


def card(run):
    device = run.record["device"]
    return device["precision"], device["threads"]


def test_the_fastest_way_is_taken_and_named(timed, monkeypatch):
    rates, asked = timed
    rates["bf16", 1] = 200.0
    step, seen = loop.train_step, set()

    def watched(*arguments):
        seen.add((arguments[-1], torch.get_num_threads()))
        return step(*arguments)

    monkeypatch.setattr(loop, "train_step", watched)
    run = lk.fit(LONG, device="cpu")
    assert card(run) == ("bf16", 1)
    assert seen == {(True, 1)}
    assert run.record["device"]["rates"] == {
        "fp32 x 2": 100.0, "fp32 x 1": 90.0, "bf16 x 2": 80.0, "bf16 x 1": 200.0,
    }  # fmt: skip
    assert asked == [WAYS]
    assert torch.get_num_threads() == 2
    left = sorted(path.name for path in run.folder.path.iterdir())
    assert left == ["record.json", "weights.safetensors"]


def test_the_reports_precision_stands_where_another_is_not_clearly_faster(timed):
    rates, _ = timed
    rates["bf16", 2] = 104.0
    assert card(lk.fit(LONG, device="cpu")) == ("fp32", 2)


@pytest.mark.faults(1)
def test_a_stopped_run_goes_on_as_it_was_begun_and_ends_with_the_same_bits(
    timed, home, monkeypatch
):
    rates, asked = timed
    rates["bf16", 1] = 200.0
    whole = lk.fit(LONG, device="cpu")
    monkeypatch.setenv("LABKIT_RUNS", str(home / "other"))
    with pytest.raises(OutOfTimeError):
        lk.fit(LONG, device="cpu", deadline=time.monotonic() - 1)
    (files.runs_home() / "choices.json").unlink()  # the folder has its own
    rates["fp32", 2] = 999.0
    pieces = lk.fit(LONG, device="cpu")
    assert card(pieces) == card(whole) == ("bf16", 1)
    assert timeless(pieces.record) == timeless(whole.record)
    assert weights(pieces) == weights(whole)
    assert len(asked) == 2


def test_a_repeated_run_chooses_as_this_machine_chose_before(timed):
    rates, asked = timed
    first = lk.fit(LONG, device="cpu")
    rates["bf16", 2] = 999.0
    again = lk.fit(LONG, device="cpu", fresh=True)
    assert card(again) == card(first) == ("fp32", 2)
    assert timeless(again.record) == timeless(first.record)
    assert len(asked) == 1
    other = lk.fit(LONG.replace(batch=40), device="cpu")
    assert card(other) == ("bf16", 2)


def test_precision_and_threads_can_be_set_by_hand(timed, monkeypatch):
    _, asked = timed
    assert card(lk.fit(LONG.replace(precision="bf16", seed=1), device="cpu")) == ("bf16", 2)
    assert asked.pop() == WAYS[2:]
    monkeypatch.setenv("LABKIT_PRECISION", "bf16")
    monkeypatch.setenv("LABKIT_THREADS", "1")
    assert card(lk.fit(LONG, device="cpu")) == ("bf16", 1)
    assert not asked  # there is nothing left to try
    monkeypatch.setenv("LABKIT_THREADS", "many")
    with pytest.raises(lk.InputError, match="LABKIT_THREADS='many' is refused"):
        lk.fit(LONG.replace(seed=2), device="cpu")


def test_a_short_run_is_not_timed(monkeypatch):
    monkeypatch.setattr(choice, "_rates", lambda *_: pytest.fail("it was timed"))
    run = lk.fit(TINY.replace(epochs=1), device="cpu")
    assert card(run) == ("fp32", 1)
    assert "rates" not in run.record["device"]


def test_steps_are_timed_for_a_moment_and_leave_the_random_numbers_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    started = time.perf_counter()
    rates = choice._rates(LONG, (3, 32, 32), 10, [("fp32", 1), ("bf16", 1)])
    assert time.perf_counter() - started < 30
    assert set(rates) == {("fp32", 1), ("bf16", 1)}
    assert min(rates.values()) > 0
    assert torch.equal(torch.get_rng_state(), before)
