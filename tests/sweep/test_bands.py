"""Does training still end where it did? A committed band on synthetic images, and `check --bands`.

The band is wide enough for 99 of 100 sound runs and narrow enough for a broken optimizer.
"""

import functools
import json

import band
import numpy as np
import pytest
import torch
from forged import seeds

from labkit import compare
from labkit.cli import main
from labkit.errors import InputError
from labkit.records import Record
from labkit.reports import find_report, find_row
from labkit.sweep import bands
from labkit.train import loop

COMMITTED = json.loads(band.BAND.read_text())


def limits():
    scores = COMMITTED["scores"]
    return compare.band(scores, compare.Pool(float(np.std(scores, ddof=1)), len(scores) - 1))


def test_the_band_is_of_this_recipe():
    assert COMMITTED["digest"] == band.RECIPE.digest


def test_a_further_seed_lies_in_the_band(home):
    low, high = limits()
    assert low <= band.top1(100) <= high


def test_a_broken_optimizer_falls_outside(home, monkeypatch):
    # Adam whose steps are no longer divided by the size of their gradients
    undivided = functools.partial(torch.optim.Adam, fused=True)
    monkeypatch.setitem(loop.OPTIMIZERS, "adam", lambda p, **k: undivided(p, **(k | {"eps": 1.0})))
    low, _ = limits()
    assert band.top1(100) < low


def lessons(row, *scores, seconds=60.0):
    report, experiment = find_row(row)
    recipe = experiment.at("lesson")
    runs = seeds(row, *scores, preset="lesson", report=report.name, seconds=seconds)
    for seed, run in enumerate(runs):
        mine = recipe.replace(seed=seed)
        run |= {"recipe": mine.to_json(), "digest": mine.digest}
    return [Record(run) for run in runs]


def test_the_cheapest_row_with_three_seeds_is_taken():
    report = find_report("002")
    dear = lessons("002-M1", 0.30, 0.31, 0.32, seconds=500.0)
    cheap = lessons("002-T2", 0.40, 0.41, 0.42)
    few = lessons("002-C1", 0.2, 0.21, seconds=1.0)
    assert {run["row"] for run in bands.cheapest(report, [*dear, *cheap, *few])} == {"002-T2"}
    with pytest.raises(InputError, match="no lesson with 3 recorded seeds"):
        bands.cheapest(report, few)


@pytest.mark.parametrize(("top1", "code"), [(0.31, 0), (0.10, 1)])
def test_one_more_seed_is_held_to_the_band(home, monkeypatch, capsys, top1, code):
    recorded = lessons("002-M1", 0.30, 0.31, 0.32)
    trained = []

    class Session:
        synthetic = False

        def __init__(self, name, preset):
            self.report = find_report(name)

        def train(self, row, seed):
            trained.append((row, seed))
            (run,) = lessons(row, top1)
            return type("Run", (), {"record": Record({**run, "recipe": {"seed": seed}})})

    monkeypatch.setattr(bands.records, "recorded", lambda: recorded)
    monkeypatch.setattr(bands, "Session", Session)
    assert main(["check", "--bands", "002"]) == code
    assert trained == [("002-M1", 3)]
    assert ("OUTSIDE" in capsys.readouterr().out) == bool(code)


def test_bands_need_real_images(home, monkeypatch):
    monkeypatch.setattr(bands.records, "recorded", lambda: lessons("002-M1", 0.30, 0.31, 0.32))
    with pytest.raises(InputError, match="labkit data get cifar100"):
        bands.check_bands(["002"])


def test_reports_are_of_bands_alone(capsys):
    assert main(["check", "002"]) == 2
    assert "only --bands takes reports" in capsys.readouterr().err
