"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

Both come as files of records, a label byte (CIFAR-100: superclass byte, then class byte) and
3 x 32 x 32 pixel bytes, or as torchvision's folder of pickled batches of the same arrays.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labkit import files
from labkit.data.archives import members
from labkit.data.classes import CIFAR10, CIFAR100
from labkit.data.dataset import Split
from labkit.errors import DataError

__all__ = ["SETS", "Cifar"]

Contents = Mapping[str, bytes | None]  # file -> content, None where it is too large

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Cifar:
    """One of the two sets, and how it lies in files.

    train, test: file of the binary layout -> records it has when complete.
    label_bytes: of a record; the class is the last of them.
    names: the file of class names, in label order.
    labels: what torchvision's batches call the labels.
    """

    name: str
    classes: tuple[str, ...]
    folder: str
    train: dict[str, int]
    test: dict[str, int]
    label_bytes: int
    names: str
    labels: bytes

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return self.label_bytes + PIXELS

    def read(self, place: Path) -> tuple[Split, Split]:
        """(training, test) images of the binary layout, a folder or a .tar.gz.

        Files may have fewer records than the complete ones.

        Raises:
            DataError: a file is missing, has another size or a label out of range, the classes
                are named in another order, or the archive is damaged.
        """
        records = self.train | self.test
        sizes = {self.names: 1 << 16} | {file: n * self.record for file, n in records.items()}
        contents = dict(members(place, self.folder, lambda name: sizes.get(name, 0)))
        self._check_names(contents.get(self.names, b""), place / self.names)
        return self._join(self.train, contents, place), self._join(self.test, contents, place)

    def read_torchvision(self, folder: Path) -> tuple[Split, Split]:
        """torchvision's folder (cifar-10-batches-py, cifar-100-python).

        Its files are pickles: each is read only if it has the published checksum, and through an
        unpickler that can make numpy arrays and plain containers, nothing else.

        Raises:
            DataError: a file is missing or is not the published one.
        """
        from torchvision import datasets

        published = getattr(datasets, self.name.upper())
        lists = (published.train_list, published.test_list)
        train, test = (self._batches(checksums, folder) for checksums in lists)
        return train, test

    def _check_names(self, content: bytes | None, path: Path) -> None:
        """The file of class names may be missing; if it is there, its order must be ours."""
        if content != b"" and (content or b"").decode(errors="replace").split() != [*self.classes]:
            count = len(self.classes)
            raise DataError(f"{path} does not list the {count} classes in their order")

    def _join(self, counts: dict[str, int], contents: Contents, place: Path) -> Split:
        files = [file for file in counts if file in contents]
        if not files:
            raise DataError(f"{place} has none of {', '.join(counts)}")
        parts = [self._records(contents[file], place / file, counts[file]) for file in files]
        records = np.concatenate(parts)
        return self._split(records[:, -PIXELS:], records[:, -PIXELS - 1], place)

    def _records(self, content: bytes | None, path: Path, count: int) -> np.ndarray:
        if content is None:
            raise DataError(
                f"{path} has more than the {count:,} records of {self.record:,} bytes that"
                f" {self.name} has there; it is another file"
            )
        if not content or len(content) % self.record:
            raise DataError(
                f"{path} has {len(content):,} bytes, not a multiple of a record's"
                f" {self.record:,}; it is cut short or another kind of file"
            )
        return np.frombuffer(content, np.uint8).reshape(-1, self.record)

    def _batches(self, checksums: list[tuple[str, str]], folder: Path) -> Split:
        batches = [_unpickle(folder / file, checksum) for file, checksum in checksums]
        try:
            pixels = np.concatenate([batch[b"data"] for batch in batches])
            labels = np.concatenate([np.asarray(batch[self.labels]) for batch in batches])
            return self._split(pixels, labels, folder)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{folder} holds no CIFAR batches: {error!r}") from error

    def _split(self, pixels: np.ndarray, labels: np.ndarray, place: Path) -> Split:
        """Pixels uint8 [N, 3072] and labels [N]."""
        if len(pixels) != len(labels) or pixels.dtype != np.uint8:
            raise ValueError("images and labels do not belong together")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            last = len(self.classes) - 1
            raise DataError(f"{place} has label {labels.max()}; labels go from 0 to {last}")
        images = torch.from_numpy(np.ascontiguousarray(pixels)).view(-1, 3, 32, 32)
        return Split(images, torch.from_numpy(labels.astype(np.int64)))


SETS = {
    "cifar10": Cifar(
        name="cifar10",
        classes=CIFAR10,
        folder="cifar-10-batches-bin",
        train={f"data_batch_{i}.bin": 10_000 for i in range(1, 6)},
        test={"test_batch.bin": 10_000},
        label_bytes=1,
        names="batches.meta.txt",
        labels=b"labels",
    ),
    "cifar100": Cifar(
        name="cifar100",
        classes=CIFAR100,
        folder="cifar-100-binary",
        train={"train.bin": 50_000},
        test={"test.bin": 10_000},
        label_bytes=2,
        names="fine_label_names.txt",
        labels=b"fine_labels",
    ),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Knows numpy arrays beside what pickle needs no names for: dict, list, bytes, str, int."""

    _array = np.zeros(0).__reduce__()[0]  # numpy's maker of arrays, wherever this numpy keeps it
    _known = {"ndarray": np.ndarray, "dtype": np.dtype, "_reconstruct": _array}  # noqa: RUF012

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self._known:
            return self._known[name]
        raise DataError(f"a pickle asks for {module}.{name}; labkit reads numpy arrays only")


def _unpickle(path: Path, checksum: str) -> dict[bytes, Any]:
    if not path.is_file():
        raise DataError(f"{path} is missing")
    content = path.read_bytes()
    if (md5 := files.md5(content)) != checksum:
        raise DataError(
            f"{path} has MD5 {md5}, the published file has {checksum}; it is a pickle, so it was"
            " not opened; use the binary version, or download it again"
        )
    return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
