"""Are the committed records still what today's code would give?

A record that is kept carries a fingerprint of its training: what today's code makes of its recipe
in three steps. The record of a run has none yet; `stamp` gives it one.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from labkit import hierarchy, records, train
from labkit.data import Split
from labkit.data.augment import passes
from labkit.data.batches import batches
from labkit.device import one_thread, own_randomness
from labkit.errors import InputError, RecordError
from labkit.recipe import Recipe
from labkit.records import Record
from labkit.reports import find_row

# what a training starts from, of all that a recipe says
STARTS = (
    "model", "options", "seed", "optimizer", "optimizer_options", "lr", "label_smoothing",
    "augment",
)  # fmt: skip
ROUNDING = 2e-3, 1e-2, 3e-2  # by which the losses of the three steps may differ


def stamp(record: Record) -> Record:
    """The record with its fingerprint, so that it can be kept."""
    return records.amend(record, {"fingerprint": fingerprint(*_trained(record))})


def staleness(record: Record) -> str:
    """Why a record is stale, in words; empty when it is fresh.

    A record is held to its recipe (the row must still ask for it) and to its fingerprint (today's
    code must start the same training), not to lines of source: a refactor keeps GPU hours. Its
    learning rates are those of today's schedule. How images are normalised, held out, routed and
    scored is not covered; tests hold that.
    """
    recipe = record.recipe
    try:
        row = find_row(record["row"])[1]
    except InputError as error:
        return str(error)
    wanted = row.at(record["preset"])
    if wanted is None:
        return f"row {row.id} asks for no record of preset {record['preset']!r}"
    wanted = wanted.replace(dataset=recipe.dataset, seed=recipe.seed)
    if wanted.digest != recipe.digest:
        changed = _differing(wanted.to_json(), recipe.to_json())
        return f"the row's recipe has changed: {', '.join(changed)}"
    if not record["fingerprint"]:
        return "it has no fingerprint; `labkit sweep` writes records that have one"
    if not same_fingerprint(fingerprint(*_trained(record)), record["fingerprint"]):
        return "today's code starts another training: its fingerprint differs"
    if not recipe.hierarchy and not _same_schedule(record, recipe):
        return "today's schedule gives other learning rates"
    return ""


def fingerprint(recipe: Recipe, size: int, classes: tuple[str, ...]) -> dict[str, list]:
    """What today's code makes of a recipe: initial weights and the losses of three steps.

    Of a coarse-to-fine system: the router's, the first fine model's, and who is in which group.
    """
    if not recipe.hierarchy:
        return fingerprint_of(recipe, size, len(classes))
    groups = hierarchy.class_groups(recipe.hierarchy.groups, classes)
    router = fingerprint_of(hierarchy.router_recipe(recipe), size, len(groups))
    fine = fingerprint_of(hierarchy.fine_recipe(recipe, 0), size, len(groups[0]))
    of_class = hierarchy.group_of_class(groups).tolist()
    members = sum(place * group for place, group in enumerate(of_class))
    return {
        "weights": [*router["weights"], *fine["weights"], members],
        "losses": router["losses"] + fine["losses"],
    }


def fingerprint_of(recipe: Recipe, size: int, classes: int) -> dict[str, list]:
    """The fingerprint of one network's training.

    Always on one thread of the CPU, in fp32, on two fixed random images a step. Weights enter as
    count, sum and sum of squares, losses as numbers, because a digest would not survive another
    CPU's rounding. Many rows start alike and differ in their budget, so each start is tried once.
    """
    start = {name: value for name, value in recipe.to_json().items() if name in STARTS}
    return copy.deepcopy(try_start(json.dumps(start), size, classes))


@functools.cache
def try_start(start: str, size: int, classes: int) -> dict[str, list]:
    """The fingerprint of every recipe with these STARTS, given as JSON."""
    recipe = Recipe(dataset="", epochs=1, batch=2, **json.loads(start))
    numbers = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 3, size, size), generator=numbers, dtype=torch.uint8)
    split = Split(images, torch.arange(6) % classes)
    with own_randomness(torch.device("cpu"), deterministic=True), one_thread():
        net = train.build(recipe, classes, size).train()
        weights = [p.detach().double() for p in net.parameters()]
        marks = [sum(w.numel() for w in weights), sum(w.sum().item() for w in weights)]
        marks.append(sum(w.square().sum().item() for w in weights))
        optimizer = train.make_optimizer(net, recipe)
        torch.manual_seed(0)
        stream = batches(split, recipe.batch, generator=numbers, augment=recipe.augment)
        losses = []
        for (x, y), _ in zip(stream, range(3), strict=False):
            step = (net, optimizer, x, y, recipe.lr, recipe.label_smoothing, False)
            values = train.train_step(*step)
            losses.append(values[0].item() / len(y))
    return {"weights": marks, "losses": losses}


def same_fingerprint(ours: Mapping[str, list], theirs: Mapping[str, list]) -> bool:
    """Equal counts, and numbers within the rounding of another CPU or order of additions.

    Every update lets rounding grow: Adam's first one moves a weight by the sign of its gradient,
    however small that is. So each of the three losses is allowed more than the one before it.
    """
    weights = zip(ours["weights"], theirs["weights"], strict=True)
    losses = zip(ours["losses"], theirs["losses"], itertools.cycle(ROUNDING))
    return (
        len(ours["losses"]) == len(theirs["losses"])
        and all(
            a == b if isinstance(a, int) else math.isclose(a, b, rel_tol=2e-3, abs_tol=2e-3)
            for a, b in weights
        )
        and all(math.isclose(a, b, rel_tol=share, abs_tol=2e-3) for a, b, share in losses)
    )


def _trained(record: Record) -> tuple[Recipe, int, tuple[str, ...]]:
    return record.recipe, record["data"]["size"], tuple(record["data"]["classes"])


def _same_schedule(record: Record, recipe: Recipe) -> bool:
    images = record["details"]["train_images"] * len(passes(recipe.augment))
    steps = recipe.steps(images)
    return all(
        math.isclose(row["lr"], recipe.lr_at(row["epoch"] * steps - 1, images), abs_tol=1e-12)
        for row in record["rows"]
    )


def check_records(folder: Path | None = None) -> int:
    """Print one line a record; 0 when every one can be read and is fresh, else 1."""
    folder = folder or records.records_home()
    paths = sorted(folder.glob("**/*.json"))
    bad = 0
    for path in paths:
        try:
            reason = staleness(records.read(path))
        except RecordError as error:
            reason = str(error)
        bad += bool(reason)
        print(f"{'STALE' if reason else 'fresh'}  {path.relative_to(folder)}  {reason}".rstrip())
    print(f"{len(paths) - bad} fresh, {bad} stale", file=sys.stderr)
    return int(bool(bad))


def stale_records(found: Iterable[Record]) -> dict[str, str]:
    """Path of each stale record with its reason."""
    reasons = {str(record.path): staleness(record) for record in found}
    return {path: reason for path, reason in reasons.items() if reason}


def _differing(ours: dict, theirs: dict) -> list[str]:
    return [name for name in ours if ours[name] != theirs.get(name)]
