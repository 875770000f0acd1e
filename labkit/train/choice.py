"""In which precision and on how many threads a run trains: tried for a moment, then kept.

On some processors bfloat16 trains twice as fast as fp32, on others at a third of its speed, and
beside a busy neighbour two threads can be ten times slower than one. So before a run of more than
about half a minute, a few steps of its network are timed each way. The choice stays in the run's
folder, so that a stopped run goes on with the same bits, and beside the runs of this machine, so
that a repeated one has them too; the record names it. The reports trained in fp32, and so do runs
where another choice is not clearly faster. LABKIT_PRECISION and LABKIT_THREADS choose by hand.
"""

from __future__ import annotations

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
from labkit.data import Data
from labkit.parameters import BY_HAND
from labkit.recipe import Recipe
from labkit.train import cost, loop
from labkit.train.device import cpu_name, own_randomness, thread_count, use_bf16
from labkit.train.evaluate import IMAGENET, Numerics
from labkit.train.folder import RunFolder

__all__ = ["Way", "choose", "fastest"]

Way = tuple[str, int]  # precision, threads

LEAST_WORK = 1e13  # operations of a run below which nothing is timed: half a minute on two cores
STEP_WORK = 2e10  # operations of a timed step, about; a tenth of a second
PATIENCE = 3.0  # seconds after which no further round of steps is timed
CLEARLY = 1.05  # another choice than fp32 on all threads must be so much faster


def choose(recipe: Recipe, data: Data, device: torch.device, folder: RunFolder) -> Numerics:
    """How a run of this recipe reckons on a device, as it did before if it has run before.

    Raises:
        InputError: LABKIT_PRECISION or LABKIT_THREADS holds no such value.
    """
    known = {"unit": None, "imagenet": IMAGENET, "standard": (data.mean, data.std)}
    normalise, precision = known[recipe.normalise], _precision(recipe)
    if device.type == "cuda":
        return Numerics(normalise, use_bf16(precision, device))
    ways = _ways(precision)
    if len(ways) == 1 or cost.operations(recipe, data) < LEAST_WORK:
        return Numerics(normalise, ways[0][0] == "bf16", ways[0][1])
    choice = _kept(recipe, data, ways, folder)
    return Numerics(normalise, choice["precision"] == "bf16", choice["threads"], choice["rates"])


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
    """Images a second of the network that takes the run's time, each way: medians of a few steps.

    Of a system that is its fine models' network.
    """
    part = cost.parts(recipe)[-1]
    adds = cost.examine(part.model, json.dumps(part.options), classes, shape[-1], False)
    images = max(4, min(recipe.batch, round(STEP_WORK / (2 * cost.TRAINING * adds.multiply_adds))))
    seconds: dict[Way, list[float]] = {way: [] for way in ways}
    started = time.perf_counter()
    with own_randomness(torch.device("cpu"), deterministic=recipe.deterministic):
        net = models.build(part.model, classes=classes, size=shape[-1], **part.options).train()
        net.to(memory_format=torch.channels_last)
        optimizer = loop.make_optimizer(net, recipe)
        x = torch.rand(images, *shape).contiguous(memory_format=torch.channels_last)
        y = torch.arange(images) % classes
        for turn in range(6):  # the first prepares
            for way in ways:
                bf16, threads = way[0] == "bf16", thread_count(way[1])
                with threads, loop.make_update(net, optimizer, recipe, bf16) as update:
                    before = time.perf_counter()
                    update(x, y, 0.0)
                if turn:
                    seconds[way].append(time.perf_counter() - before)
            if turn > 1 and time.perf_counter() - started > PATIENCE:
                break
    return {way: round(images / statistics.median(took), 1) for way, took in seconds.items()}
