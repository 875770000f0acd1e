"""On a GPU each record is finished beside the training of the next one, whatever comes between."""

import pytest
import torch

from labkit import records
from labkit.errors import DataError, InputError, RecordError
from labkit.session import Session
from labkit.sweep import local


@pytest.fixture
def sweep(home, monkeypatch):
    """A sweep over two seeds whose trainings are on a CPU, and which takes that for a GPU."""
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    monkeypatch.setattr(local, "pick_device", lambda name: torch.device("cuda"))

    def open_session(name):
        short = {"epochs": 1, "train_size": 500, "seeds": 2, "device": "cpu"}
        return Session(name, preset="smoke", **short)

    return lambda: local.run_sweep(["002-M1"], open_session, out=home / "out")


def stop_before_the_second(monkeypatch, error):
    train = Session.train

    def stopped(session, row, seed, *, deadline):
        if seed:
            raise error
        return train(session, row, seed, deadline=deadline)

    monkeypatch.setattr(Session, "train", stopped)


def seeds_with_fingerprints(home):
    found = records.recorded(folder=home / "out")
    assert all(record["fingerprint"]["losses"] for record in found)
    return [record.recipe.seed for record in found]


@pytest.mark.slow
def test_beside_a_gpu_another_process_makes_the_fingerprints(sweep, home, monkeypatch):
    monkeypatch.setattr(local, "stamp", lambda record: pytest.fail("made here"))
    assert sweep() == 0
    assert seeds_with_fingerprints(home) == [0, 1]


@pytest.mark.slow
def test_a_stop_right_after_a_training_loses_no_record(sweep, home, monkeypatch):
    monkeypatch.setattr(local, "stamp", lambda record: pytest.fail("made here"))
    stop_before_the_second(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        sweep()
    assert seeds_with_fingerprints(home) == [0]


def test_what_the_other_process_does_not_write_is_written_here(sweep, home, monkeypatch):
    monkeypatch.setattr(local, "_keep_all", bool)  # ends at once
    assert sweep() == 0
    assert seeds_with_fingerprints(home) == [0, 1]


@pytest.mark.faults(45)
def test_an_empty_file_is_no_record(sweep, home, monkeypatch):
    monkeypatch.setattr(local, "pick_device", lambda name: torch.device("cpu"))
    assert sweep() == 0
    path = next((home / "out").glob("**/*.json"))
    path.write_text("")
    monkeypatch.setattr(Session, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(RecordError, match="not a readable record"):
        sweep()
    assert path.read_text() == ""


@pytest.mark.faults(47)
def test_records_that_cannot_be_written_are_refused_before_training(sweep, home, monkeypatch):
    (home / "out").write_text("in the way")
    monkeypatch.setattr(Session, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(DataError, match=r"cannot write .*; set LABKIT_RECORDS, or --out"):
        sweep()


@pytest.mark.faults(47)
def test_an_installed_labkit_asks_where_records_go(home, monkeypatch):
    monkeypatch.delenv("LABKIT_RECORDS", raising=False)
    monkeypatch.setattr(local.files, "PACKAGE", home / "site-packages" / "labkit")
    with pytest.raises(InputError, match="--out FOLDER"):
        local.run_sweep(["002-M1"], lambda name: Session(name, preset="smoke"))
