"""A data set is two splits of tensors and what there is to know about them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from labkit.errors import InputError

__all__ = ["Data", "Split", "digest"]


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, on one device.

    images: uint8 [N, 3, H, W]; labels: int64 [N], indices into the classes of the data set.
    """

    images: Tensor
    labels: Tensor
    _cache: dict[Callable, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Split:
        """The same images on a device."""
        return Split(self.images.to(device), self.labels.to(device))

    def through(self, transform: Callable[[Tensor], Tensor]) -> Tensor:
        """The images after a transform, which is computed once and kept with the split."""
        if transform not in self._cache:
            self._cache[transform] = transform(self.images)
        return self._cache[transform]

    def take(self, index: Tensor) -> Split:
        """The images at `index` (int64 [M] or bool [N]), in that order."""
        return Split(self.images[index], self.labels[index])

    def canonical(self) -> Split:
        """The images by the SHA-256 of their pixels, then by label: alike from every copy."""
        digests = [hashlib.sha256(pixels).digest() for pixels in self.images.contiguous().numpy()]
        keys = list(zip(digests, self.labels.tolist(), strict=True))
        order = sorted(range(len(self)), key=keys.__getitem__)
        return self.take(torch.tensor(order, dtype=torch.int64))


@dataclass(frozen=True)
class Data:
    """A data set in memory: every image, decoded, and where it came from.

    mean, std: of the published training images, a channel each, for pixels in [0, 1].
    superclasses: superclass -> its classes, where the set has such a hierarchy.
    published: how many training and test images the complete set has.
    sha256: of all pixels, labels and class names; it keeps the records of two copies apart.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    superclasses: dict[str, tuple[str, ...]] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    source: str
    sha256: str
    synthetic: bool
    published: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of every image."""
        return tuple(self.train.images.shape[1:])

    @property
    def complete(self) -> bool:
        """Whether every published image is here; a subset added by hand is not complete."""
        return (len(self.train), len(self.test)) == self.published

    def card(self) -> dict[str, Any]:
        """What a record says about its data: JSON values only."""
        return {
            "name": self.name,
            "source": self.source,
            "sha256": self.sha256,
            "synthetic": self.synthetic,
            "train": len(self.train),
            "test": len(self.test),
            "published_train": self.published[0],
            "published_test": self.published[1],
            "complete": self.complete,
            "classes": list(self.classes),
        }

    def holdout(self, validation: int, train_size: int, seed: int) -> tuple[Split, Split]:
        """Class-balanced (training, validation) images; the same for the same arguments.

        The validation images leave the training set first, int(validation / classes) of each
        class; of the rest int(train_size / classes) a class are kept, or all if `train_size` is
        0. A `train_size` below the number of classes keeps one image of so many classes. For one
        seed, smaller training sets are contained in larger ones.

        Raises:
            InputError: more images are asked for than a class has, or validation images for only
                some of the classes.
        """
        classes = len(self.classes)
        if 0 < validation < classes:
            raise InputError(
                f"validation is {validation}, less than one image for each of the {classes}"
                f" classes of {self.name}; it must be 0 or at least {classes}"
            )
        held, kept = validation // classes, max(train_size // classes, min(train_size, 1))
        if not held and not kept:
            return self.train, self.train.take(torch.zeros(0, dtype=torch.int64))
        self._check_supply(held + max(kept, 1), f"{validation=} and {train_size=}")
        labels, device = self.train.labels.cpu(), self.train.labels.device
        rank = _rank(labels, seed)
        chosen = (rank >= held) & (rank < held + (kept or len(rank)))
        if 0 < train_size < classes:
            order = torch.randperm(classes, generator=Generator().manual_seed(seed))
            chosen &= (order < train_size)[labels]
        return self.train.take(chosen.to(device)), self.train.take((rank < held).to(device))

    def test_subset(self, size: int) -> Split:
        """The test images, or the first class-balanced `size` of them; 0 gives all.

        A `size` below the number of classes keeps one image of each of the first so many.
        """
        labels, classes = self.test.labels, len(self.classes)
        if not size or size >= len(self.test):
            return self.test
        rank = F.one_hot(labels, classes).cumsum(0).gather(1, labels[:, None])[:, 0]  # from 1
        chosen = rank <= max(1, size // classes)
        if size < classes:
            chosen &= labels < size
        return self.test.take(chosen.nonzero()[:, 0])

    def _check_supply(self, each: int, request: str) -> None:
        counts = torch.bincount(self.train.labels.cpu(), minlength=len(self.classes))
        if counts.min() < each:
            raise InputError(
                f"{self.name} has {int(counts.min())} training images of class"
                f" {self.classes[int(counts.argmin())]!r}; {request} need {each} of each class;"
                " ask for fewer, or add the complete set"
            )


def digest(splits: Iterable[Split], classes: Iterable[str]) -> str:
    """SHA-256 of images and labels (values, types and shapes) and class names."""
    total = hashlib.sha256("\n".join(classes).encode())
    for split in splits:
        for tensor in (split.images, split.labels):
            total.update(f"\n{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            total.update(memoryview(tensor.contiguous().numpy()).cast("B"))
    return total.hexdigest()


def _rank(labels: Tensor, seed: int) -> Tensor:
    """int64 [N]: the place of each image in a random order of the images of its class."""
    order = torch.randperm(len(labels), generator=Generator().manual_seed(seed))
    order = order[labels[order].argsort(stable=True)]  # by class, at random within a class
    counts = torch.bincount(labels)
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order)) - starts)
