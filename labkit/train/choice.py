"""In which precision and on how many threads a run trains: tried for a moment, then kept.

On some processors bfloat16 trains twice as fast as fp32, on others at a third of its speed, and
beside a busy neighbour two threads can be ten times slower than one. So before a run of more than
about half a minute, a few steps of its network are timed each way. The choice stays in the run's
folder, so that a stopped run goes on with the same bits, and beside the runs of this machine, so
that a repeated one has them too; the record names it. The reports trained in fp32, and so do runs
where another choice is not clearly faster. LABKIT_PRECISION and LABKIT_THREADS choose by hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from labkit import files, models
from labkit.data import Data, Split
from labkit.data.batches import batches
from labkit.parameters import BY_HAND
from labkit.recipe import Recipe
from labkit.train import cost, loop
from labkit.train.device import (
    cpu_name,
    own_randomness,
    reuse_memory,
    thread_count,
    use_bf16,
)
from labkit.train.evaluate import IMAGENET, Numerics
from labkit.train.folder import RunFolder
from labkit.train.graph import WARM_UP

__all__ = ["Way", "choose", "fastest", "images_for", "step_seconds", "ways"]

Way = tuple[str, int]  # precision, threads
CPU = torch.device("cpu")

LEAST_WORK = 1e13  # operations of a run below which nothing is timed: half a minute on two cores
STEP_WORK = 2e10  # operations of a timed step, about; a tenth of a second
ROUNDS, PATIENCE = (2, 5), 3.0  # rounds of timed steps; no further one after so many seconds
A_BYTE = 100  # operations that take as long as what a step does with a byte that it keeps
# rounds that prepare: memory, kernels, and on a GPU the graph
PREPARE = {"cpu": 1, "cuda": WARM_UP + 1}
CLEARLY = 1.05  # another choice than fp32 on all threads must be so much faster


def choose(recipe: Recipe, data: Data, device: torch.device, folder: RunFolder) -> Numerics:
    """How a run of this recipe reckons on a device, as it did before if it has run before.

    Raises:
        InputError: LABKIT_PRECISION or LABKIT_THREADS holds no such value.
    """
    known = {"unit": None, "imagenet": IMAGENET, "standard": (data.mean, data.std)}
    normalise = known[recipe.normalise]
    if device.type == "cuda":
        return Numerics(normalise, use_bf16(_precision(recipe), device))
    allowed = ways(recipe, data)
    if len(allowed) == 1:
        return Numerics(normalise, allowed[0][0] == "bf16", allowed[0][1])
    choice = _kept(recipe, data, allowed, folder)
    return Numerics(normalise, choice["precision"] == "bf16", choice["threads"], choice["rates"])


def ways(recipe: Recipe, data: Data) -> list[Way]:
    """What a run may choose from on a CPU, the preferred way first; a short one has no choice.

    Raises:
        InputError: LABKIT_PRECISION or LABKIT_THREADS holds no such value.
    """
    every = _ways(_precision(recipe))
    return every[:1] if cost.operations(recipe, data) < LEAST_WORK else every


def fastest(
    recipe: Recipe, shape: tuple[int, int, int], classes: int, ways: Sequence[Way] = ()
) -> dict[str, Any]:
    """The precision and the threads that train the recipe's network fastest on this CPU.

    Args:
        shape: channels, height and width of an image.
        ways: what to try, the preferred one first; by default all that nobody has ruled out.

    Returns:
        precision, threads, and `rates`: images a second by what was tried.
    """
    ways = list(ways) or _ways(_precision(recipe))
    rates = _rates(recipe, shape, classes, ways) if len(ways) > 1 else {ways[0]: 0.0}
    best = max(ways, key=lambda way: rates[way])
    if rates[best] < CLEARLY * rates[ways[0]]:
        best = ways[0]
    named = {f"{precision} x {threads}": rates[precision, threads] for precision, threads in ways}
    return {"precision": best[0], "threads": best[1], "rates": named}


def _precision(recipe: Recipe) -> str:
    return _by_hand("precision") if recipe.precision == "auto" else recipe.precision


def _by_hand(name: str) -> Any:
    parameter = BY_HAND[name]
    return parameter.parse(os.environ.get(parameter.name, parameter.default))


def _ways(precision: str) -> list[Way]:
    """What may be chosen, the reports' own precision on all threads first."""
    threads = _by_hand("threads")
    precisions = ("fp32", "bf16") if precision == "auto" else (precision,)
    counts = (threads,) if threads else dict.fromkeys((torch.get_num_threads(), 1))
    return list(itertools.product(precisions, counts))


def _kept(recipe: Recipe, data: Data, ways: list[Way], folder: RunFolder) -> dict[str, Any]:
    """The choice of this run or else of this machine; made now where there is none."""
    place, part = files.runs_home() / "choices.json", cost.parts(recipe)[-1]
    network = [[part.model, part.options], recipe.batch, data.shape, len(data.classes)]
    machine = [cpu_name(), os.cpu_count(), torch.__version__, ways]
    text = json.dumps([machine, network], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:20]
    choice = files.read_json(folder.choice) or files.read_json(place).get(key)
    choice = choice or fastest(recipe, data.shape, len(data.classes), ways)
    choices = files.read_json(place)  # again: another run may have added its own meanwhile
    if choices.get(key) != choice:
        files.write_atomic(place, json.dumps(choices | {key: choice}, indent=1))
    files.write_atomic(folder.choice, json.dumps(choice))
    return choice


def _rates(
    recipe: Recipe, shape: tuple[int, int, int], classes: int, ways: Sequence[Way]
) -> dict[Way, float]:
    """Images a second of the network that takes the run's time, each way.

    Of a system that is its fine models' network.
    """
    part = cost.parts(recipe)[-1]
    net = cost.examine(part.model, json.dumps(part.options), classes, shape[-1], False)
    images = images_for(part, net, STEP_WORK)
    took = step_seconds(part, shape, classes, [(way, images) for way in ways])
    return {way: round(images / seconds, 1) for (way, _), seconds in took.items()}


def images_for(part: Recipe, net: cost.Net, work: float, least: int = 4) -> int:
    """How many images, of a batch, take as long in an update as so many operations, about."""
    each = 2 * cost.TRAINING * net.multiply_adds + A_BYTE * net.kept
    return min(part.batch, max(least, round(work / each)))


def step_seconds(
    part: Recipe, shape: tuple[int, int, int], classes: int, tries: Sequence[tuple[Way, int]], *,
    device: torch.device = CPU, rounds: tuple[int, int] = ROUNDS, patience: float = PATIENCE,
) -> dict[tuple[Way, int], float]:  # fmt: skip
    """Seconds of an update of one network with its images' augmentation: medians of a few.

    Args:
        part: a recipe without a hierarchy.
        shape: channels, height and width of an image.
        tries: each a way and a number of images; on a GPU one, whose threads count for nothing.
        rounds: how often each is timed, at least and at most.
        patience: seconds after which no further round is timed.
    """
    seconds: dict[tuple[Way, int], list[float]] = {each: [] for each in tries}
    reuse_memory()  # as a run does
    started, prepare = time.perf_counter(), PREPARE[device.type]
    with own_randomness(device, deterministic=part.deterministic), contextlib.ExitStack() as stack:
        net = models.build(part.model, classes=classes, size=shape[-1], **part.options).train()
        net.to(device, memory_format=torch.channels_last)
        optimizer = loop.make_optimizer(net, part)
        updates, splits = {}, {}
        for way, images in tries:
            make = loop.make_update(net, optimizer, part, way[0] == "bf16")
            updates[way, images] = stack.enter_context(make)
            splits[images] = _random_split(images, shape, classes).to(device)
        for turn in range(prepare + rounds[1]):
            for way, images in tries:
                with thread_count(way[1]):
                    took = _step(updates[way, images], splits[images], part)
                seconds[way, images] += [took] * (turn >= prepare)
            enough = turn + 1 >= prepare + rounds[0]
            if enough and time.perf_counter() - started > patience:
                break
    return {each: statistics.median(took) for each, took in seconds.items()}


def _random_split(images: int, shape: tuple[int, int, int], classes: int) -> Split:
    pixels = torch.randint(0, 256, (images, *shape), dtype=torch.uint8)
    return Split(pixels, torch.arange(images) % classes)


def _step(update: loop.Update, split: Split, part: Recipe) -> float:
    """Seconds of an update on all images of a split, the mean over its augmentations."""
    device = split.labels.device
    started, generator = time.perf_counter(), torch.Generator(device).manual_seed(0)
    for x, y in batches(split, len(split), generator=generator, augment=part.augment):
        update(x, y, 0.0)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / part.passes
