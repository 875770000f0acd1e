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
from torch import Tensor

from labkit import files
from labkit.data.archives import tar_members
from labkit.data.classes import CIFAR10, CIFAR100
from labkit.data.dataset import Split
from labkit.errors import DataError

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Binary:
    """The binary layout of one set: file -> records it has when complete."""

    folder: str
    train: dict[str, int]
    test: dict[str, int]
    label_bytes: int  # the class is the last of them
    labels: str  # the file of class names, in label order
    classes: tuple[str, ...]

    @property
    def record(self) -> int:
        return self.label_bytes + PIXELS


BINARY = {
    "cifar10": Binary(
        folder="cifar-10-batches-bin",
        train={f"data_batch_{i}.bin": 10_000 for i in range(1, 6)},
        test={"test_batch.bin": 10_000},
        label_bytes=1,
        labels="batches.meta.txt",
        classes=CIFAR10,
    ),
    "cifar100": Binary(
        folder="cifar-100-binary",
        train={"train.bin": 50_000},
        test={"test.bin": 10_000},
        label_bytes=2,
        labels="fine_label_names.txt",
        classes=CIFAR100,
    ),
}


def read_folder(name: str, folder: Path) -> tuple[Split, Split]:
    """The binary layout, unpacked: (training, test) images. Files may have fewer records.

    Raises:
        DataError: a file is missing, has another size or a label out of range, or the classes
            are named in another order.
    """
    layout = BINARY[name]
    _check_names(layout, folder / layout.labels)
    contents = {}
    for file, records in {**layout.train, **layout.test}.items():
        if (folder / file).is_file():
            size = (folder / file).stat().st_size
            if size > records * layout.record:
                raise DataError(
                    f"{folder / file} has {size:,} bytes, more than the {records:,} records of"
                    f" {layout.record:,} bytes that {name} has there; it is another file"
                )
            contents[file] = (folder / file).read_bytes()
    return _splits(layout, contents, folder)


def read_archive(name: str, path: Path, official: bool) -> tuple[Split, Split]:
    """The binary layout as .tar.gz; nothing is unpacked to disk.

    official: whether the checksum is the published one, so that every size is known.
    """
    layout = BINARY[name]
    sizes = {
        f"{layout.folder}/{file}": records * layout.record
        for file, records in {**layout.train, **layout.test}.items()
    }
    found = tar_members(path, sizes, exact=official)
    return _splits(layout, {key.split("/")[1]: value for key, value in found.items()}, path)


def read_torchvision(name: str, folder: Path) -> tuple[Split, Split]:
    """torchvision's folder (cifar-10-batches-py, cifar-100-python).

    Its files are pickles: each is read only if it has the published checksum, and through an
    unpickler that can make numpy arrays and plain containers, nothing else.

    Raises:
        DataError: a file is missing or is not the published one.
    """
    from torchvision.datasets import CIFAR10, CIFAR100

    published = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
    key = {"cifar10": b"labels", "cifar100": b"fine_labels"}[name]
    splits = []
    for listed in (published.train_list, published.test_list):
        batches = [_unpickle(folder / file, checksum) for file, checksum in listed]
        try:
            pixels = np.concatenate([batch[b"data"] for batch in batches])
            labels = np.concatenate([np.asarray(batch[key]) for batch in batches])
            splits.append(_split(pixels, labels, len(BINARY[name].classes), folder))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{folder} holds no CIFAR batches: {error!r}") from error
    return splits[0], splits[1]


def _check_names(layout: Binary, path: Path) -> None:
    """The file of class names may be missing; if it is there, its order must be ours."""
    if not path.is_file():
        return
    found = path.read_text(encoding="utf-8", errors="replace").split()
    if found != list(layout.classes):
        raise DataError(f"{path} does not list the {len(layout.classes)} classes in their order")


def _splits(layout: Binary, contents: Mapping[str, bytes], place: Path) -> tuple[Split, Split]:
    splits = []
    for wanted in (layout.train, layout.test):
        parts = [_records(layout, contents[f], place / f) for f in wanted if f in contents]
        if not parts:
            raise DataError(f"{place} has none of {', '.join(wanted)}")
        records = np.concatenate(parts)
        labels = records[:, layout.label_bytes - 1]
        splits.append(_split(records[:, layout.label_bytes :], labels, len(layout.classes), place))
    return splits[0], splits[1]


def _records(layout: Binary, content: bytes, path: Path) -> np.ndarray:
    if not content or len(content) % layout.record:
        raise DataError(
            f"{path} has {len(content):,} bytes, not a multiple of a record's {layout.record:,};"
            " it is cut short or another kind of file"
        )
    return np.frombuffer(content, np.uint8).reshape(-1, layout.record)


def _split(pixels: np.ndarray, labels: np.ndarray, classes: int, place: Path) -> Split:
    if len(pixels) != len(labels) or pixels.dtype != np.uint8:
        raise ValueError("images and labels do not belong together")
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"{place} has label {labels.max()}; labels go from 0 to {classes - 1}")
    images = torch.from_numpy(np.ascontiguousarray(pixels)).view(-1, 3, 32, 32)
    return Split(images, _int64(labels))


def _int64(labels: np.ndarray) -> Tensor:
    return torch.from_numpy(labels.astype(np.int64))


class _Plain(pickle.Unpickler):
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
    if (got := files.md5(content)) != checksum:
        raise DataError(
            f"{path} has MD5 {got}, the published file has {checksum}; it is a pickle, so it was"
            " not opened; use the binary version, or download it again"
        )
    return _Plain(io.BytesIO(content), encoding="bytes").load()
