"""The three real data sets: what they are, where they come from, which layouts they lie in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from labkit import files
from labkit.data import cifar, tiny_imagenet
from labkit.data.classes import CIFAR10, CIFAR100, SUPERCLASSES, TINY_IMAGENET
from labkit.data.dataset import Data, Split, digest
from labkit.errors import DataError

__all__ = ["CATALOGUE", "Entry", "Layout"]


class Layout(NamedTuple):
    """A folder that people have, by its usual name and by what must lie in it to be one."""

    folder: str
    contents: tuple[str, ...]
    read: Callable[[Path, str], tuple[Split, Split]]  # from a folder or archive, and the usual name


@dataclass(frozen=True)
class Entry:
    """A published data set.

    published: its training and test images.
    url, size, md5: of its archive. An MD5 is all its publishers give; it counts with the size.
    layouts: the first is that of the archive.
    """

    name: str
    classes: tuple[str, ...]
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    published: tuple[int, int]
    url: str
    size: int
    md5: str
    layouts: tuple[Layout, ...]
    superclasses: dict[str, tuple[str, ...]] | None = None

    @property
    def archive(self) -> str:
        """The file name of the archive."""
        return self.url.rsplit("/", 1)[-1]

    def is_published(self, archive: Path) -> bool:
        """Whether the file is the archive that was published."""
        return archive.stat().st_size == self.size and files.md5(archive) == self.md5

    def data(self, train: Split, test: Split, source: str, sha256: str = "") -> Data:
        """These splits as a data set; its digest is computed unless it is given.

        Raises:
            ValueError: they are not of this set.
        """
        self._check("training", train, self.published[0])
        self._check("test", test, self.published[1])
        return Data(
            name=self.name,
            train=train,
            test=test,
            classes=self.classes,
            superclasses=self.superclasses,
            mean=self.mean,
            std=self.std,
            source=source,
            sha256=sha256 or digest((train, test), self.classes),
            synthetic=False,
            published=self.published,
        )

    def locate(self, place: Path) -> tuple[Path, Layout] | None:
        """The copy of this set at `place`: an archive, the folder itself, or either in a folder."""
        for layout in self.layouts:
            for folder in (place, place / layout.folder):
                if all((folder / name).exists() for name in layout.contents):
                    return folder, layout
        archive = place if place.is_file() else place / self.archive
        return (archive, self.layouts[0]) if archive.is_file() else None

    def read(self, place: Path, layout: Layout) -> Data:
        """Decode and check the copy that `locate` gave; its images get their canonical order.

        Raises:
            DataError: it is damaged, lacks a class, or has more images than were published.
        """
        source = f"local copy, {layout.folder} layout"
        if place.is_file():
            official = self.is_published(place)
            archive = f"official archive {self.url}" if official else "unofficial archive"
            source = f"{archive} ({place.name})"
        train, test = layout.read(place, layout.folder)
        try:
            return self.data(train.canonical(), test.canonical(), source)
        except ValueError as error:
            raise DataError(f"{place} cannot be used: {error}") from error

    def _check(self, kind: str, split: Split, published: int) -> None:
        images, labels, shape = split.images, split.labels, (len(split), 3, self.side, self.side)
        if (images.dtype, images.shape, labels.dtype) != (torch.uint8, shape, torch.int64):
            raise ValueError(f"it has {kind} images or labels of another shape or type")
        last = len(self.classes) - 1
        if len(strange := labels[(labels < 0) | (labels > last)]):
            raise ValueError(f"it has label {strange[0]}; labels go from 0 to {last}")
        counts = torch.bincount(labels, minlength=len(self.classes))
        if missing := [name for name, n in zip(self.classes, counts, strict=True) if not n]:
            raise ValueError(
                f"it has no {kind} images of {len(missing)} of the {len(self.classes)} classes of"
                f" {self.name}: {', '.join(missing[:10])}; a subset may have fewer images a"
                " class, but not fewer classes"
            )
        if counts.max() > (each := published // len(self.classes)):
            raise ValueError(
                f"it has {counts.max()} {kind} images of class {self.classes[counts.argmax()]!r},"
                f" more than the {each} that {self.name} has; it is another data set"
            )


# The means and standard deviations are those of the complete training sets; Tiny-ImageNet takes
# ImageNet's, as report 001 does.
_ENTRIES = (
    Entry(
        name="cifar10",
        classes=CIFAR10,
        side=32,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        published=(50_000, 10_000),
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        size=170_052_171,
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        layouts=(
            Layout("cifar-10-batches-bin", ("test_batch.bin",), cifar.read_binary),
            Layout("cifar-10-batches-py", ("data_batch_1", "test_batch"), cifar.read_pickled),
        ),
    ),
    Entry(
        name="cifar100",
        classes=CIFAR100,
        superclasses=SUPERCLASSES,
        side=32,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        published=(50_000, 10_000),
        url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        size=168_513_733,
        md5="03b5dce01913d631647c71ecec9e9cb8",
        layouts=(
            Layout("cifar-100-binary", ("test.bin",), cifar.read_binary),
            Layout("cifar-100-python", ("train", "test"), cifar.read_pickled),
        ),
    ),
    Entry(
        name="tiny_imagenet",
        classes=tuple(TINY_IMAGENET.values()),
        side=tiny_imagenet.SIDE,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        published=(100_000, 10_000),
        url="https://cs231n.stanford.edu/tiny-imagenet-200.zip",
        size=248_100_043,
        md5="90528d7ca1a48142e341f4ef8d21d0de",
        layouts=(Layout("tiny-imagenet-200", ("train", "val"), tiny_imagenet.read),),
    ),
)
CATALOGUE = {entry.name: entry for entry in _ENTRIES}
