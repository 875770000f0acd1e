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
from typing import Any

import torch

from labkit import files, models
from labkit.data import Data
from labkit.parameters import Parameter
from labkit.recipe import PRECISIONS, Recipe
from labkit.train import cost, loop
from labkit.train.device import cpu_name, own_randomness, thread_count, use_bf16
from labkit.train.evaluate import Numerics
from labkit.train.folder import RunFolder

__all__ = ["PRECISION", "THREADS", "choose"]

PRECISION = Parameter("LABKIT_PRECISION", str, "auto", choices=PRECISIONS)
THREADS = Parameter("LABKIT_THREADS", int, 0, low=0, high=1024)  # 0: what is fastest
LEAST_WORK = 1e13  # operations of a run below which nothing is timed: half a minute on two cores
STEP_WORK = 2e10  # operations of a timed step, about; a tenth of a second
PATIENCE = 3.0  # seconds after which no further round of steps is timed
CLEARLY = 1.05  # another choice than fp32 on all threads must be so much faster


def choose(recipe: Recipe, data: Data, device: torch.device, folder: RunFolder) -> Numerics:
    """How a run of this recipe reckons on a device, as it did before if it has run before.

    Raises:
        InputError: LABKIT_PRECISION or LABKIT_THREADS holds no such value.
    """
    asked = PRECISION.parse(os.environ.get(PRECISION.name, PRECISION.default))
    precision = asked if recipe.precision == "auto" else recipe.precision
    threads = THREADS.parse(os.environ.get(THREADS.name, THREADS.default))
    if device.type == "cuda":
        return Numerics.of(recipe, data, bf16=use_bf16(precision, device))
    precisions = ("fp32", "bf16") if precision == "auto" else (precision,)
    counts = dict.fromkeys((torch.get_num_threads(), 1)) if not threads else (threads,)
    ways = list(itertools.product(precisions, counts))
    way, rates = ways[0], {}
    if len(ways) > 1 and _work(recipe, data) >= LEAST_WORK:
        way, rates = _kept(recipe, data, ways, folder)
    return Numerics.of(recipe, data, bf16=way[0] == "bf16", threads=way[1], rates=rates)


def _kept(
    recipe: Recipe, data: Data, ways: list[tuple[str, int]], folder: RunFolder
) -> tuple[tuple[str, int], dict[str, float]]:
    """The choice of this run or else of this machine; made now where there is none."""
    place = files.runs_home() / "choices.json"
    network = [_network(recipe), recipe.batch, data.shape, len(data.classes)]
    machine = [cpu_name(), os.cpu_count(), torch.__version__, ways]
    text = json.dumps([machine, network], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:20]
    choices = files.read_json(place)
    choice = folder.choice or choices.get(key) or _fastest(recipe, data, ways)
    if choices.get(key) != choice:
        files.write_atomic(place, json.dumps({**files.read_json(place), key: choice}, indent=1))
    folder.keep_choice(choice)
    return (choice["precision"], choice["threads"]), choice["rates"]


def _fastest(recipe: Recipe, data: Data, ways: list[tuple[str, int]]) -> dict[str, Any]:
    rates = _rates(recipe, data, ways)
    best = max(ways, key=lambda way: rates[way])
    if rates[best] < CLEARLY * rates[ways[0]]:
        best = ways[0]
    named = {f"{precision} x {threads}": rates[precision, threads] for precision, threads in ways}
    return {"precision": best[0], "threads": best[1], "rates": named}


def _rates(recipe: Recipe, data: Data, ways: list[tuple[str, int]]) -> dict[tuple[str, int], float]:
    """Images a second of the run's network, each way: medians over rounds of steps in turn."""
    model, options = _network(recipe)
    size, classes = data.shape[-1], len(data.classes)
    adds = cost.examine(model, json.dumps(options), classes, size, False).multiply_adds
    images = max(4, min(recipe.batch, round(STEP_WORK / (2 * cost.TRAINING * adds))))
    seconds: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    started = time.perf_counter()
    with own_randomness(torch.device("cpu"), deterministic=recipe.deterministic):
        net = models.build(model, classes=classes, size=size, **options).train()
        net.to(memory_format=torch.channels_last)
        optimizer = loop.make_optimizer(net, recipe)
        x = torch.rand(images, *data.shape).contiguous(memory_format=torch.channels_last)
        y = torch.arange(images) % classes
        for round_ in range(6):  # the first prepares
            for precision, threads in ways:
                with (
                    thread_count(threads),
                    loop.make_update(net, optimizer, recipe, precision == "bf16") as update,
                ):
                    before = time.perf_counter()
                    update(x, y, 0.0)
                if round_:
                    seconds[precision, threads].append(time.perf_counter() - before)
            if round_ > 1 and time.perf_counter() - started > PATIENCE:
                break
    return {way: round(images / statistics.median(took), 1) for way, took in seconds.items()}


def _network(recipe: Recipe) -> tuple[str, dict[str, Any]]:
    """The network that takes the run's time; of a system, its fine models'."""
    h = recipe.hierarchy
    return (h.model, h.options) if h else (recipe.model, recipe.options)


def _work(recipe: Recipe, data: Data) -> float:
    """Operations of the whole run, about."""
    model, options = _network(recipe)
    net = cost.examine(model, json.dumps(options), len(data.classes), data.shape[-1], False)
    return 2 * cost.TRAINING * net.multiply_adds * recipe.images_shown(len(data.train))
