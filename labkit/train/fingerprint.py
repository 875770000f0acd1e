"""What today's code makes of a recipe in three steps: the mark by which a record stays true.

The record of a run has none yet; `stamp` gives it one when the record is kept.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import math
from collections.abc import Mapping

import torch

from labkit import records
from labkit.data import Split
from labkit.data.batches import batches
from labkit.recipe import Recipe
from labkit.records import Record
from labkit.train import loop, system
from labkit.train.device import own_randomness, thread_count

__all__ = ["fingerprint", "record_fingerprint", "same_fingerprint", "stamp"]

# what a training starts from, of all that a recipe says
STARTS = (
    "model", "options", "seed", "optimizer", "optimizer_options", "lr", "label_smoothing",
    "augment",
)  # fmt: skip
ROUNDING = 2e-3, 1e-2, 3e-2  # by which the losses of the three steps may differ


def stamp(record: Record) -> Record:
    """The record with its fingerprint, so that it can be kept."""
    return records.amend(record, {"fingerprint": record_fingerprint(record)})


def record_fingerprint(record: Record) -> dict[str, list]:
    """The fingerprint that the record's recipe has today, on images and classes like its own."""
    data = record["data"]
    return fingerprint(record.recipe, data["size"], tuple(data["classes"]))


def fingerprint(recipe: Recipe, size: int, classes: tuple[str, ...]) -> dict[str, list]:
    """What today's code makes of a recipe: initial weights and the losses of three steps.

    Of a coarse-to-fine system: the router's, the first fine model's, and who is in which group.
    """
    if not recipe.hierarchy:
        return fingerprint_of(recipe, size, len(classes))
    groups = system.class_groups(recipe.hierarchy.groups, classes)
    router = fingerprint_of(system.router_recipe(recipe), size, len(groups))
    fine = fingerprint_of(system.fine_recipe(recipe, 0), size, len(groups[0]))
    of_class = system.group_of_class(groups).tolist()
    members = sum(place * group for place, group in enumerate(of_class))
    return {
        "weights": [*router["weights"], *fine["weights"], members],
        "losses": router["losses"] + fine["losses"],
    }


def fingerprint_of(recipe: Recipe, size: int, classes: int) -> dict[str, list]:
    """One network's fingerprint. Many rows start alike, so each start is tried once a process."""
    start = {name: value for name, value in recipe.to_json().items() if name in STARTS}
    return copy.deepcopy(try_start(json.dumps(start), size, classes))


@functools.cache
def try_start(start: str, size: int, classes: int) -> dict[str, list]:
    """The fingerprint of every recipe with these STARTS (as JSON).

    Always on one thread of the CPU, in fp32, on two fixed random images a step. Weights enter as
    count, sum and sum of squares, losses as numbers, because a digest would not survive another
    CPU's rounding.
    """
    recipe = Recipe(dataset="", epochs=1, batch=2, **json.loads(start))
    numbers = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 3, size, size), generator=numbers, dtype=torch.uint8)
    split = Split(images, torch.arange(6) % classes)
    with own_randomness(torch.device("cpu"), deterministic=True), thread_count(1):
        net = loop.build(recipe, classes, size).train()
        weights = [p.detach().double() for p in net.parameters()]
        marks = [sum(w.numel() for w in weights), sum(w.sum().item() for w in weights)]
        marks.append(sum(w.square().sum().item() for w in weights))
        optimizer = loop.make_optimizer(net, recipe)
        torch.manual_seed(0)
        stream = batches(split, recipe.batch, generator=numbers, augment=recipe.augment)
        rate, smoothing = recipe.lr, recipe.label_smoothing
        losses = [
            loop.train_step(net, optimizer, x, y, rate, smoothing, False)[0].item() / len(y)
            for x, y in itertools.islice(stream, 3)
        ]
    return {"weights": marks, "losses": losses}


def same_fingerprint(ours: Mapping[str, list], theirs: Mapping[str, list]) -> bool:
    """Equal counts, and numbers within the rounding of another CPU or order of additions.

    Every update lets rounding grow: Adam's first one moves a weight by the sign of its gradient,
    however small that is. So each of the three losses is allowed more than the one before it.
    """
    close = functools.partial(math.isclose, abs_tol=2e-3)
    weights = zip(ours["weights"], theirs["weights"], strict=True)
    losses = zip(ours["losses"], theirs["losses"], itertools.cycle(ROUNDING))
    return (
        len(ours["losses"]) == len(theirs["losses"])
        and all(a == b if isinstance(a, int) else close(a, b, rel_tol=2e-3) for a, b in weights)
        and all(close(a, b, rel_tol=share) for a, b, share in losses)
    )
