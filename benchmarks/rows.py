"""How long each row of the reports takes at a preset, from a few timed steps of each network.

The steps are those of `labkit.train.loop.optimise` on random images of the row's shape; what is
timed is training, without the scoring of validation and test images.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import speed
import torch

from labkit import records
from labkit.data.catalogue import CATALOGUE, Entry
from labkit.errors import OK, InputError
from labkit.recipe import Recipe
from labkit.reports import PRESETS, Row, find_rows
from labkit.reports.rows import Report
from labkit.train import cost, forecast
from labkit.train.device import own_randomness, pick_device
from labkit.train.graph import WARM_UP

# all rows that the reports print, on one H200: labkit's own target and its hard ceiling
MINUTES, CEILING = 20.0, 30.0
SECONDS = 2.0  # a network is timed for, after as long a warm-up
# a network's steps and the optimizer's are timed once for all rows that share them
SHARED = ("model", "options", "optimizer", "optimizer_options", "batch", "augment", "precision")


@dataclass(frozen=True)
class Line:
    """One row at the preset: images over all its networks, operations, seconds."""

    row: str
    report: str  # its title
    title: str
    printed: bool  # by the report; else it is one of ours
    images: int
    flop: float
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """`labkit bench --rows`, or `python benchmarks/rows.py`; returns the exit code."""
    text = "How long each row of the reports takes, from a few timed steps of its networks."
    parser = argparse.ArgumentParser(
        prog="labkit bench --rows", description=text, allow_abbrev=False
    )
    parser.add_argument("targets", nargs="*", help="reports or rows (default: all)")
    text = "lesson or full (lesson on a CPU, full on a GPU)"
    parser.add_argument("--preset", default="", help=text)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    bench_rows(**vars(parser.parse_args(argv)))
    return OK


def bench_rows(
    targets: Sequence[str] = (),
    *,
    preset: str = "",
    device: str = "auto",
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Time the networks of all rows that the preset runs (or of these reports or rows).

    Without a preset: full on a GPU; lesson on a CPU, where a class hour is what has to fit.
    Prints a line a row. `seconds` is about how long a network is timed. Some of the rows, or
    another time, replace no written results.

    Raises:
        InputError: no such report, row, preset or device.
    """
    target = pick_device(device)
    preset = preset or ("full" if target.type == "cuda" else "lesson")
    if preset not in PRESETS:
        raise InputError(f"preset is {preset!r}; it must be one of {', '.join(PRESETS)}")
    known: dict[str, tuple[float, float]] = {}
    lines = []
    for report, row in _chosen(targets, preset):
        lines.append(_time(report, row, preset, target, seconds, known))
        line = lines[-1]
        print(
            f"{line.row:<10} {line.images:>13,} images {line.images / line.seconds:>9,.0f} a second"
            f" {line.flop / line.seconds / 1e12:>8.3f} TFLOP/s {line.seconds:>12,.1f} s"
            f"  {line.title}",
            flush=True,
        )
    total = sum(line.seconds for line in lines if line.printed) / 60
    goal = f"; target {MINUTES:g}, ceiling {CEILING:g}"
    print(
        f"the rows that the reports print, one after another: {total:,.1f} minutes"
        + (goal if (target.type, preset) == ("cuda", "full") else "")
    )
    results = {
        "device": speed.machine(target), "versions": records.versions(),
        "created": records.now(), "preset": preset, "minutes": total,
        "rows": [asdict(line) for line in lines],
    }  # fmt: skip
    if targets or seconds != SECONDS:
        print("not written: the results are of all rows, timed as long as usual")
        return results
    speed.write(results, f"rows-{preset}-{target.type}")
    return results


def _chosen(targets: Sequence[str], preset: str) -> list[tuple[Report, Row]]:
    """What a notebook runs at the preset, and every row that is named."""
    return [
        (report, row)
        for report, row in find_rows(targets, optional=True)
        if row.at(preset) and (row.id in targets or row in report.at(preset))
    ]


def _time(
    report: Report,
    row: Row,
    preset: str,
    device: torch.device,
    seconds: float,
    known: dict[str, tuple[float, float]],
) -> Line:
    """`known` holds the speeds that were measured before."""
    recipe, data = row.at(preset), CATALOGUE[row.full.dataset]
    took, flop, images = 0.0, 0.0, 0
    for part in cost.parts(recipe):
        key = json.dumps([{name: part.to_json()[name] for name in SHARED}, data.side])
        if key not in known:
            known[key] = _speed(part, len(data.classes), data, device, seconds)
        rate, each = known[key]
        shown = part.images_shown(data.published[0])
        images, took, flop = images + shown, took + shown / rate, flop + shown * each
    return Line(row.id, report.title, row.title, not row.optional, images, flop, took)


def _speed(
    recipe: Recipe, classes: int, data: Entry, device: torch.device, seconds: float
) -> tuple[float, float]:
    """(images a second, operations an image) of a network as this recipe trains it."""
    choice = speed.choice_of(recipe, (3, data.side, data.side), classes, device)
    bf16 = choice["precision"] == "bf16"
    net = cost.examine(recipe.model, json.dumps(recipe.options), classes, data.side, bf16)
    flop = 2 * cost.TRAINING * net.multiply_adds
    way = choice["precision"], choice["threads"]
    guess, _ = forecast.pace(recipe, (3, data.side, data.side), classes, device, (way,))
    # a GPU's graph is captured after a few steps, and must be there when the time counts
    least = 2 * WARM_UP if device.type == "cuda" else 1
    steps = max(least, round(seconds / (guess * recipe.batch * recipe.passes)))
    split = speed.random_images(steps * recipe.batch, data.side, classes, device)
    short = recipe.replace(
        dataset="random", epochs=2, validation=0, train_size=0, patience=0, watch_test=False,
        schedule="constant", milestones=(), warmup=0.0, drop_last=True,
    )  # fmt: skip
    with own_randomness(device, deterministic=False):  # as in every training
        return speed.images_per_second(short, split, classes, choice), flop


if __name__ == "__main__":
    sys.exit(main())
