"""What a run needs, before it starts: arithmetic and memory.

A network is followed on torch's meta device, where tensors have shapes and no bytes, and what its
layers would keep for the backward pass is counted.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from labkit import models
from labkit.data import Data
from labkit.data.augment import pipelines
from labkit.data.batches import CHUNK
from labkit.recipe import Recipe
from labkit.train.device import use_bf16
from labkit.train.evaluate import BATCH

__all__ = ["Net", "examine", "memory", "operations", "parts"]

# copies of the weights that an optimizer keeps; SGD keeps one with momentum
STATES = {"sgd": 0, "adam": 2, "radam": 2, "rmsprop": 1, "adadelta": 2}
# what of a batch lies idle between blocks that are kept, as a factor, and the scratch memory of
# the kernels in megabytes. On a CPU five of the benchmark's nets and SimpleNet were estimated at
# 0.83 to 1.1 times their peak. A GPU's are reckoned, not measured: cuBLAS takes 32 MiB for both its
# threads on both streams
IDLE = {"cpu": 1.3, "cuda": 1.0}
SCRATCH = {"cpu": 100.0, "cuda": 134.0}
AUGMENTED = 7  # float32 copies of a chunk of images that `set2` holds at once, counted on a CPU
SCORED = 3  # float32 outputs of the widest layer that are held at once without a backward pass
TRAINING = 3  # forward, and backward through inputs and weights


@dataclass(frozen=True)
class Net:
    """What one network needs: `kept` bytes an image for the backward pass, `widest` bytes of the
    largest layer's output for one image, in the precision of the run."""

    parameters: int
    multiply_adds: int
    kept: int
    widest: int


def parts(recipe: Recipe) -> list[Recipe]:
    """What a recipe trains, as recipes of one network each.

    A coarse-to-fine system has a router and its fine models, which count as one: between them they
    see every image, and what their outputs take is no work to speak of.
    """
    h, router = recipe.hierarchy, recipe.replace(hierarchy=None)
    if not h:
        return [router]
    fine = router.replace(model=h.model, options=h.options, epochs=h.epochs or recipe.epochs)
    return [router, fine]


def operations(recipe: Recipe, data: Data) -> float:
    """The floating-point operations of a run, of all networks that it trains."""
    nets = _nets(recipe, data, False)
    return sum(2 * TRAINING * net.multiply_adds * images for net, images in nets)


def memory(recipe: Recipe, data: Data, device: torch.device) -> float:
    """Megabytes of weights, gradients, the optimizer, and a batch or scored images.

    That is what the run takes beyond what is held before it: on a CPU the interpreter and the set
    are there already, on a GPU the set is part of it. With both counted in, the peak is met within
    20 % on the CPU where it was measured; it has not been held against a GPU.
    """
    bf16, needs = use_bf16(recipe.precision, device), []
    states = STATES[recipe.optimizer] + bool(recipe.optimizer_options.get("momentum"))
    # the training images that pipelines keep as they want them
    fixed = {pipeline for pipeline in pipelines(recipe.augment) if pipeline.fixed}
    shown = min(recipe.train_size or len(data.train), len(data.train) - recipe.validation)
    images = len(fixed) * shown * data.train.images[0].nbytes
    for net, _ in _nets(recipe, data, bf16):
        weights = 4 * net.parameters * (2 + states)
        training = recipe.batch * (net.kept + 2 * net.widest)
        scoring = BATCH[device.type] * SCORED * net.widest * (2 if bf16 else 1)
        if device.type == "cuda":
            weights += 4 * net.parameters * bf16  # weights and gradients in bfloat16, all at once
            training += AUGMENTED * max(CHUNK["cuda"], recipe.batch) * 4 * math.prod(data.shape)
            weights += data.train.images.nbytes + data.test.images.nbytes
        needs.append(weights + images + IDLE[device.type] * max(training, scoring))
    return max(needs) / 1e6 + SCRATCH[device.type]


@functools.lru_cache(maxsize=256)
def examine(model: str, options: str, classes: int, size: int, bf16: bool) -> Net:
    """Count what a network of `labkit.models` holds, whose `options` are JSON.

    Raises:
        InputError: no such model or option.
    """
    with torch.device("meta"):
        net = models.build(model, classes=classes, size=size, **json.loads(options))
    table = models.summary(net, (3, size, size))
    width = 2 if bf16 else 4
    few, more = (_kept(net.train(), n, size, width) for n in (2, 3))
    widest = max(math.prod(line.output) for line in table.lines) * width
    return Net(table.parameters, table.multiply_adds, more - few, widest)


def _nets(recipe: Recipe, data: Data, bf16: bool) -> list[tuple[Net, int]]:
    """Each network that a recipe trains, with the images that it sees."""
    size, classes, images = data.shape[-1], len(data.classes), len(data.train)
    return [
        (examine(net.model, json.dumps(net.options), classes, size, bf16), net.images_shown(images))
        for net in parts(recipe)
    ]


def _kept(net: nn.Module, batch: int, size: int, width: int) -> int:
    """Bytes that a forward pass of `batch` images keeps for the backward pass."""
    storages: dict[int, tuple[torch.UntypedStorage, int]] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage, own = tensor.untyped_storage(), tensor.element_size()
        each = width if tensor.is_floating_point() else own
        storages[storage._cdata] = storage, storage.nbytes() // own * each
        return tensor

    x = torch.zeros(batch, 3, size, size, device="meta")
    labels = torch.zeros(batch, dtype=torch.int64, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        F.cross_entropy(net(x), labels)
    return sum(count for _, count in storages.values())
