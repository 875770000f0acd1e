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

WORK = 1e10  # operations of a timed step, about
A_WEIGHT = 400  # operations that take as long as a step takes for a weight, whatever its images
ROUNDS, PATIENCE = (1, 3), 0.3  # rounds of steps; no further one after so many seconds
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
    few, images = (0, part.batch) if device.type == "cuda" else _sizes(part, shape, classes)
    tries = [*((way, images) for way in ways), *([(ways[0], few)] if few else [])]
    took = choice.step_seconds(
        part, shape, classes, tries, device=device, rounds=ROUNDS, patience=PATIENCE
    )
    whole = took[ways[0], images]
    # what a step takes whatever its images, such as the optimizer; a batch pays it once
    fixed = max(0.0, (images * took[ways[0], few] - few * whole) / (images - few)) if few else 0.0
    each = [max(took[way, images] - fixed, 0.1 * whole) / images for way in ways]
    return min(each) + fixed / part.batch, FORWARD * each[0]


def _sizes(part: Recipe, shape: tuple[int, int, int], classes: int) -> tuple[int, int]:
    """Images of the timed steps: of a small one, or 0 where none is wanted, and of a large one."""
    net = cost.examine(part.model, json.dumps(part.options), classes, shape[-1], False)
    images = choice.images_for(part, net, WORK)
    if images == part.batch or net.parameters * A_WEIGHT < images * choice.image_work(net) / 5:
        return 0, images
    return max(2, images // 2), min(part.batch, 2 * images)
