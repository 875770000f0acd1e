"""Batches of a split, shuffled, augmented and normalised on the device where the split lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from labkit.data.augment import AUGMENTS, pipelines, unit
from labkit.data.dataset import Split
from labkit.errors import InputError

__all__ = ["CHUNK", "batches"]

# images that are augmented at once, in whole batches and never less than one: on a GPU that saves
# launches, and takes the memory of `labkit.train.cost.AUGMENTED`
CHUNK = {"cpu": 1, "cuda": 2048}


def batches(
    split: Split,
    batch: int,
    *,
    generator: Generator | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    augment: str = "none",
    normalise: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (images float32 [B, 3, H, W], labels int64 [B]).

    Images are augmented, scaled to [0, 1], then normalised by (mean, std) where given. With a union
    such as augment="set1+set2" the epoch has 2N samples: every image once under each pipeline,
    shuffled together. What a pipeline does alike in every epoch is done in the first one, and the
    split keeps its result. All randomness is drawn from `generator`, which lives on the device of
    the split; nothing waits for the device, but for one read an epoch when pipelines are united.

    Raises:
        InputError: no such augmentation, no batch size, or no generator where one is needed.
    """
    augments = pipelines(augment)
    if batch < 1:
        raise InputError(f"batch is {batch}; it must be at least 1")
    if generator is None and (shuffle or any(each is not AUGMENTS["none"] for each in augments)):
        raise InputError(
            "shuffling and augmenting draw random numbers:"
            " pass generator=torch.Generator().manual_seed(0), or shuffle=False and no augment"
        )
    samples = len(split) * len(augments)
    device = split.labels.device
    order = torch.arange(samples, device=device)
    if shuffle:
        order = torch.randperm(samples, generator=generator, device=device)
    if drop_last:
        order = order[: samples // batch * batch]
    several = max(1, CHUNK[device.type] // batch)
    scale = _scale(normalise, device)
    sources = [split.through(pipeline.prepare) for pipeline in augments]
    for parts, rows in _chunks(order, batch, several, len(split), len(augments)):
        images = [
            unit(pipeline.random(source.index_select(0, index), generator))
            for pipeline, source, index in zip(augments, sources, parts, strict=True)
            if len(index)
        ]
        x = images[0] if len(images) == 1 else torch.cat(images)
        y = split.labels.index_select(0, torch.cat(parts))
        if rows is not None:
            x, y = x.index_select(0, rows), y.index_select(0, rows)
        if scale is not None:
            x = x.sub_(scale[0]).mul_(scale[1])  # ours: nobody else holds these pixels
        # the pixels of a channel lie together until here: augmenting is then twice as fast
        x = x.contiguous(memory_format=torch.channels_last)
        for start in range(0, len(x), batch):
            yield x[start : start + batch], y[start : start + batch]


def _chunks(
    order: Tensor, batch: int, several: int, n: int, ways: int
) -> Iterator[tuple[Sequence[Tensor], Tensor | None]]:
    """For each chunk of `several` batches, the image indices that go through each pipeline.

    A sample s of `order` is image s % n under pipeline s // n. Within a chunk the samples are
    grouped by pipeline; `rows` brings them back into their batches, where a chunk has more than
    one. The sizes of the groups are read from the device once.
    """
    chunk = batch * several
    if ways == 1:
        yield from (((indices,), None) for indices in order.split(chunk) if len(indices))
        return
    starts = range(0, len(order), chunk)
    key = torch.arange(len(order), device=order.device) // chunk * ways + order // n
    sizes = torch.bincount(key, minlength=ways * len(starts)).tolist()
    grouped = key.argsort(stable=True)
    parts = (order[grouped] % n).split(sizes)
    for step, start in enumerate(starts):
        places = grouped[start : start + chunk] // batch
        rows = places.argsort(stable=True) if several > 1 else None
        yield parts[step * ways : (step + 1) * ways], rows


def _scale(normalise: tuple | None, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """(mean, 1 / std) as [1, 3, 1, 1], or None."""
    if normalise is None:
        return None
    mean, std = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in normalise)
    return mean, 1 / std
