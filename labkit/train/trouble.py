"""What a device cannot do, as sentences: too little memory, a missing kernel, a GPU that failed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from labkit.data import Data
from labkit.errors import DeviceError, InputError, TrainingError
from labkit.recipe import Recipe
from labkit.train import cost
from labkit.train.device import free_memory, release_memory, reset_peak_memory, reuse_memory
from labkit.train.graph import CaptureError

__all__ = ["watch_device"]

# how PyTorch words what has no exception of its own
NO_MEMORY = re.compile(
    "DefaultCPUAllocator: can't allocate memory"
    "|unable to find an engine to execute"  # cuDNN, where no kernel's scratch memory fits
)
NO_KERNEL = "does not have a deterministic implementation"
GPU_FAILED = re.compile("CUDA error|CUBLAS_STATUS|CUDNN_STATUS|cuDNN error")


@contextlib.contextmanager
def watch_device(recipe: Recipe, data: Data, device: torch.device) -> Iterator[None]:
    """Refuse a run that would not fit before it starts, and count its peak from here.

    What the device cannot do becomes a sentence that holds no tensors alive.

    Raises:
        TrainingError: too little memory, before or during the run, or the GPU failed (DeviceError).
        InputError: an operation has no deterministic kernel there.
    """
    reuse_memory()
    need = cost.memory(recipe, data, device)
    if free_memory(device) < need:
        release_memory()
    if need > (free := free_memory(device)):
        raise TrainingError(
            f"this run needs about {need:,.0f} MB of memory and {free:,.0f} MB are free on the"
            f" {device.type}: {_smaller(recipe)}"
        )
    reset_peak_memory(device)
    try:
        yield
    except RuntimeError as error:
        trouble = _sentence(error, recipe, device)
        if not trouble:
            raise
        error.__traceback__ = None
        raise trouble from error


def _sentence(error: RuntimeError, recipe: Recipe, device: torch.device) -> Exception | None:
    """The error to raise in place of PyTorch's; None where the device is not to blame."""
    what = str(error)
    if isinstance(error, torch.OutOfMemoryError) or NO_MEMORY.search(what):
        free = f"{free_memory(device):,.0f} MB are free"
        return TrainingError(f"out of memory on the {device.type}: {_smaller(recipe)}; {free}")
    if NO_KERNEL in what:
        return InputError(
            f"{recipe.model} cannot be trained deterministically on this {device.type}:"
            f" {what.partition('.')[0]}; leave deterministic=False, or use device=cpu"
        )
    if isinstance(error, CaptureError):
        return DeviceError(
            f"{what}; with LABKIT_GRAPH=0 in the environment the same command goes on without one"
            " from the last checkpoint"
        )
    if isinstance(error, torch.AcceleratorError) or GPU_FAILED.search(what):
        first = what.partition("\n")[0]
        return DeviceError(
            f"the GPU failed: {first}; the same command goes on from the last checkpoint"
        )
    return None


def _smaller(recipe: Recipe) -> str:
    where = f"{recipe.model} at batch {recipe.batch} on {recipe.dataset}"
    return f"{where}; try a smaller batch (another recipe, another record)"
