"""The three real data sets: what they are, where they come from, which layouts they lie in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from labkit import files
from labkit.data import cifar, tiny_imagenet
from labkit.data.classes import SUPERCLASSES, TINY_IMAGENET
from labkit.data.dataset import Data, Split, digest
from labkit.errors import DataError

Read = Callable[[Path], tuple[Split, Split]]


@dataclass(frozen=True)
class Archive:
    """A published archive. Its publishers give an MD5 at most: it counts together with the size."""

    url: str
    size: int
    md5: str

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1]

    def matches(self, path: Path) -> bool:
        """Whether the file at `path` is the published one."""
        return path.stat().st_size == self.size and files.md5(path) == self.md5


@dataclass(frozen=True)
class Layout:
    """A folder that people have, by its usual name and by what must lie in it to be one."""

    folder: str
    files: tuple[str, ...]
    read: Read
    folders: tuple[str, ...] = ()

    def fits(self, folder: Path) -> bool:
        """Whether the folder has all that this layout is told by."""
        files = all((folder / name).is_file() for name in self.files)
        return files and all((folder / name).is_dir() for name in self.folders)


@dataclass(frozen=True)
class Entry:
    """A published data set."""

    name: str
    classes: tuple[str, ...]
    superclasses: dict[str, tuple[str, ...]] | None
    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    published: tuple[int, int]  # training and test images
    archive: Archive
    layouts: tuple[Layout, ...]
    read_archive: Callable[[Path, bool], tuple[Split, Split]]

    def data(self, train: Split, test: Split, source: str, sha256: str = "") -> Data:
        """These splits as a data set; its digest is computed unless it is given."""
        tensors = (train.images, train.labels, test.images, test.labels)
        return Data(
            name=self.name,
            train=train,
            test=test,
            classes=self.classes,
            superclasses=self.superclasses,
            mean=self.mean,
            std=self.std,
            source=source,
            sha256=sha256 or digest(tensors, self.classes),
            synthetic=False,
            published=self.published,
        )

    def locate(self, place: Path) -> Path | None:
        """The copy of this set at `place`: an archive, the folder itself, or either in a folder."""
        if place.is_file():
            return place
        for layout in self.layouts:
            for folder in (place, place / layout.folder):
                if layout.fits(folder):
                    return folder
        archive = place / self.archive.file
        return archive if archive.is_file() else None

    def read(self, place: Path) -> Data:
        """Decode and check the copy that `locate` found; its images get their canonical order.

        Raises:
            DataError: it is damaged, lacks a class, or has more images than were published.
        """
        train, test, source = self._read(place)
        for kind, split, published in zip(
            ("training", "test"), (train, test), self.published, strict=True
        ):
            self._check_counts(place, kind, split, published // len(self.classes))
        return self.data(train.canonical(), test.canonical(), source)

    def _read(self, place: Path) -> tuple[Split, Split, str]:
        if place.is_file():
            official = self.archive.matches(place)
            origin = f"official archive {self.archive.url}" if official else "unofficial archive"
            return *self.read_archive(place, official), f"{origin} ({place.name})"
        layout = next((x for x in self.layouts if x.fits(place)), None)
        if layout is None:
            raise DataError(f"{place} went away, or lost some of its files, before it was read")
        return *layout.read(place), f"local copy, {layout.folder} layout"

    def _check_counts(self, place: Path, kind: str, split: Split, each: int) -> None:
        counts = torch.bincount(split.labels, minlength=len(self.classes))
        if not counts.min():
            missing = [name for name, n in zip(self.classes, counts, strict=True) if not n]
            raise DataError(
                f"{place} has no {kind} images of {len(missing)} of the {len(self.classes)}"
                f" classes of {self.name}: {', '.join(missing[:10])}; a subset may have fewer"
                " images a class, but not fewer classes"
            )
        if counts.max() > each:
            name = self.classes[int(counts.argmax())]
            raise DataError(
                f"{place} has {int(counts.max())} {kind} images of class {name!r}, more than the"
                f" {each} that {self.name} has; it is another data set"
            )


def _cifar(name: str, folder: str, python: str, **about: object) -> Entry:
    binary = cifar.BINARY[name]
    return Entry(
        name=name,
        classes=binary.classes,
        side=32,
        published=(sum(binary.train.values()), sum(binary.test.values())),
        layouts=(
            Layout(folder, tuple(binary.test), lambda path: cifar.read_folder(name, path)),
            Layout(
                python,
                ("data_batch_1", "test_batch") if name == "cifar10" else ("train", "test"),
                lambda path: cifar.read_torchvision(name, path),
            ),
        ),
        read_archive=lambda path, official: cifar.read_archive(name, path, official),
        **about,
    )


# The means and standard deviations are those of the complete training sets; Tiny-ImageNet takes
# ImageNet's, as report 001 does.
CATALOGUE = {
    "cifar10": _cifar(
        "cifar10",
        "cifar-10-batches-bin",
        "cifar-10-batches-py",
        superclasses=None,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        archive=Archive(
            url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            size=170_052_171,
            md5="c32a1d4ab5d03f1284b67883e8d87530",
        ),
    ),
    "cifar100": _cifar(
        "cifar100",
        "cifar-100-binary",
        "cifar-100-python",
        superclasses=SUPERCLASSES,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        archive=Archive(
            url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            size=168_513_733,
            md5="03b5dce01913d631647c71ecec9e9cb8",
        ),
    ),
    "tiny_imagenet": Entry(
        name="tiny_imagenet",
        classes=tuple(TINY_IMAGENET.values()),
        superclasses=None,
        side=tiny_imagenet.SIDE,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        published=(100_000, 10_000),
        archive=Archive(
            url="https://cs231n.stanford.edu/tiny-imagenet-200.zip",
            size=248_100_043,
            md5="90528d7ca1a48142e341f4ef8d21d0de",
        ),
        layouts=(
            Layout(tiny_imagenet.FOLDER, (), tiny_imagenet.read_folder, folders=("train", "val")),
        ),
        read_archive=lambda path, official: tiny_imagenet.read_archive(path),
    ),
}
