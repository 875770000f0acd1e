"""Batches of a split, shuffled, augmented and normalised on the device where the split lies."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from labkit.data.augment import AUGMENTS, pipelines, unit
from labkit.data.dataset import Split
from labkit.errors import InputError


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
    order = _order(samples, generator if shuffle else None, split.labels.device)
    count = samples // batch if drop_last else math.ceil(samples / batch)
    scale = _scale(normalise, split.images.device)
    sources = [split.through(pipeline.prepare) for pipeline in augments]
    groups = _groups(order, batch, len(split), len(augments), count)
    for parts in groups:
        images = [
            unit(pipeline.random(source.index_select(0, index), generator))
            for pipeline, source, index in zip(augments, sources, parts, strict=True)
            if len(index)
        ]
        x = images[0] if len(images) == 1 else torch.cat(images)
        if scale is not None:
            x = x.sub_(scale[0]).mul_(scale[1])  # ours: nobody else holds these pixels
        # the pixels of a channel lie together until here: augmenting is then twice as fast
        yield (
            x.contiguous(memory_format=torch.channels_last),
            split.labels.index_select(0, torch.cat(parts)),
        )


def _order(samples: int, generator: Generator | None, device: torch.device) -> Tensor:
    if generator is None:
        return torch.arange(samples, device=device)
    return torch.randperm(samples, generator=generator, device=device)


def _groups(
    order: Tensor, batch: int, n: int, ways: int, count: int
) -> Iterator[tuple[Tensor, ...]]:
    """For each of `count` batches, the image indices that go through each pipeline.

    A sample s of `order` is image s % n under pipeline s // n. Within a batch the samples are
    grouped by pipeline; the sizes of the groups are read from the device once.
    """
    if ways == 1:
        for step in range(count):
            yield (order[step * batch : (step + 1) * batch],)
        return
    key = torch.arange(len(order), device=order.device) // batch * ways + order // n
    sizes = torch.bincount(key, minlength=ways * math.ceil(len(order) / batch)).tolist()
    parts = (order[key.argsort(stable=True)] % n).split(sizes)
    for step in range(count):
        yield parts[step * ways : (step + 1) * ways]


def _scale(normalise: tuple | None, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """(mean, 1 / std) as [1, 3, 1, 1], or None."""
    if normalise is None:
        return None
    mean, std = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in normalise)
    return mean, 1 / std
