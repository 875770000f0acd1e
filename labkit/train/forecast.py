"""What a run will cost, before it starts; its time by a few timed steps of its networks.

The steps are those of training, on fewer images than a batch where a batch would take long, so
that a network is timed in about half a second. Every run that starts alike shares them.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

import torch

from labkit.data import Data
from labkit.recipe import Recipe
from labkit.train import choice, cost
from labkit.train.choice import Way
from labkit.train.device import use_bf16

__all__ = ["Cost", "estimate", "pace"]

WORK, LEAST = 1.5e10, 8  # operations of a timed step, about, and its fewest images
ROUNDS, PATIENCE = (1, 3), 0.5  # rounds of steps; no further one after so many seconds
FORWARD = 1 / 3  # of a step in fp32, which is what an image takes to be scored
# of a recipe, what decides how long a step takes
STEP = ("model", "options", "optimizer", "batch", "augment", "precision")


@dataclass(frozen=True)
class Cost:
    """Of one run: floating-point operations, images seen, megabytes at the peak, seconds."""

    flop: float
    images: int
    memory_mb: float
    seconds: float


def estimate(recipe: Recipe, data: Data, device: torch.device) -> Cost:
    """Cost of a recipe on a device, of all networks that it trains; early stopping left out.

    The seconds are those of this machine as busy as it is now, within a factor of 1.5 where the
    run was made after it (see tests/train/test_forecast.py). Memory is that of `cost.memory`.

    Raises:
        InputError: no such model or option.
    """
    parts, ways = cost.parts(recipe), _ways(recipe, data, device)
    images = sum(part.images_shown(len(data.train)) for part in parts)
    seconds = sum(_seconds(part, data, device, ways) for part in parts)
    memory = cost.memory(recipe, data, device)
    return Cost(cost.operations(recipe, data), images, memory, seconds)


def _ways(recipe: Recipe, data: Data, device: torch.device) -> tuple[Way, ...]:
    """The precisions that the run may choose from, on as many threads as there are."""
    if device.type == "cuda":
        return (("bf16" if use_bf16(recipe.precision, device) else "fp32", 0),)
    ways = choice.ways(recipe, data)
    return tuple(way for way in ways if way[1] == ways[0][1])


def _seconds(part: Recipe, data: Data, device: torch.device, ways: tuple[Way, ...]) -> float:
    """Of one network: its training, and the scores that are taken on the way and at the end."""
    training, scoring = pace(part, data.shape, len(data.classes), device, ways)
    shown, test = part.images_shown(len(data.train)), part.test_size or len(data.test)
    watched = part.epochs * (part.validation + test * part.watch_test)
    clean = shown // (part.epochs * part.passes) * part.score_train
    return shown * training + (watched + test + clean) * scoring


def pace(
    part: Recipe, shape: tuple[int, int, int], classes: int, device: torch.device,
    ways: tuple[Way, ...],
) -> tuple[float, float]:  # fmt: skip
    """Seconds to train on an image the fastest of these ways, and to score one; timed once.

    Args:
        part: a recipe without a hierarchy.
        shape: channels, height and width of an image.
        ways: the preferred one first; on a GPU a single one.
    """
    step = json.dumps({name: value for name, value in part.to_json().items() if name in STEP})
    return _pace(step, shape, classes, device, ways)


@functools.lru_cache(maxsize=256)
def _pace(
    step: str, shape: tuple[int, int, int], classes: int, device: torch.device,
    ways: tuple[Way, ...],
) -> tuple[float, float]:  # fmt: skip
    part = Recipe(dataset="", epochs=1, lr=0.0, **json.loads(step))
    net = cost.examine(part.model, json.dumps(part.options), classes, shape[-1], False)
    many = part.batch if device.type == "cuda" else choice.images_for(part, net, WORK, LEAST)
    few = many if many == part.batch else max(2, many // 3)
    tries = [(way, images) for way in ways for images in dict.fromkeys((many, few))]
    took = choice.step_seconds(
        part, shape, classes, tries, device=device, rounds=ROUNDS, patience=PATIENCE
    )
    each = [_an_image(part.batch, many, took[way, many], few, took[way, few]) for way in ways]
    return min(each), FORWARD * each[0]


def _an_image(batch: int, many: int, long: float, few: int, short: float) -> float:
    """Seconds of an image in a batch, by the seconds of steps of many images and of a few.

    What a step takes whatever its images, such as the optimizer, a batch pays but once.
    """
    if many == few:
        return long / many
    slope = min(max((long - short) / (many - few), long / many / 4), long / many)
    return slope + (long - many * slope) / batch
