"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

Both come as files of records, a label byte (CIFAR-100: superclass byte, then class byte) and
3 x 32 x 32 pixel bytes, or as torchvision's folder of pickled batches of the same arrays.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from labkit import files
from labkit.data.archives import members
from labkit.data.classes import CIFAR10, CIFAR100
from labkit.data.dataset import Split
from labkit.errors import DataError

__all__ = ["read_binary", "read_pickled"]

PIXELS = 3 * 32 * 32
LARGEST = 1 << 28  # bytes of one pickle; the published ones have 31 to 155 MB


class _Binary(NamedTuple):
    """train, test: file -> records when complete; names: the file of class names, by label."""

    train: dict[str, int]
    test: dict[str, int]
    record: int  # bytes
    names: str
    classes: tuple[str, ...]


BINARY = {
    "cifar-10-batches-bin": _Binary(
        train={f"data_batch_{i}.bin": 10_000 for i in range(1, 6)},
        test={"test_batch.bin": 10_000},
        record=1 + PIXELS,
        names="batches.meta.txt",
        classes=CIFAR10,
    ),
    "cifar-100-binary": _Binary(
        train={"train.bin": 50_000},
        test={"test.bin": 10_000},
        record=2 + PIXELS,
        names="fine_label_names.txt",
        classes=CIFAR100,
    ),
}


def read_binary(place: Path, root: str) -> tuple[Split, Split]:
    """(training, test) images of the folder `root`, or of a .tar.gz that has it.

    Files may be missing, or have fewer records than the complete ones.

    Raises:
        DataError: a file has another size, the classes are named in another order, or the archive
            is damaged.
    """
    layout = BINARY[root]
    counts = layout.train | layout.test
    sizes = {file: count * layout.record for file, count in counts.items()}
    contents = dict(members(place, root, (sizes | {layout.names: 1 << 16}).get))
    names = contents.pop(layout.names, " ".join(layout.classes).encode()) or b""
    if tuple(names.decode(errors="replace").split()) != layout.classes:
        order = f"the {len(layout.classes)} classes in their order"
        raise DataError(f"{place / layout.names} does not list {order}")
    for file, content in contents.items():
        _check(place / file, content, counts[file], layout.record)
    return _unpack(contents, layout.train, layout), _unpack(contents, layout.test, layout)


def _check(path: Path, content: bytes | None, count: int, record: int) -> None:
    if content is None:
        raise DataError(f"{path} has more than the {count:,} records of the published file")
    if not content or len(content) % record:
        size = f"{len(content):,} bytes, not a multiple of a record's {record:,}"
        raise DataError(f"{path} has {size}; it is cut short or another kind of file")


def _unpack(contents: dict[str, bytes], names: Iterable[str], layout: _Binary) -> Split:
    content = b"".join(contents.get(name, b"") for name in names)
    rows = np.frombuffer(content, np.uint8).reshape(-1, layout.record)
    return _split(rows[:, -PIXELS:], rows[:, -PIXELS - 1])


def read_pickled(folder: Path, root: str) -> tuple[Split, Split]:
    """(training, test) images of torchvision's folder `root`.

    Its files are pickles: each is read only if it has the published checksum, and through an
    unpickler that can make numpy arrays and plain containers, nothing else.

    Raises:
        DataError: a file is missing or is not the published one.
    """
    from torchvision import datasets

    published = {each.base_folder: each for each in (datasets.CIFAR10, datasets.CIFAR100)}[root]
    return _batches(folder, published.train_list), _batches(folder, published.test_list)


def _batches(folder: Path, checksums: list[tuple[str, str]]) -> Split:
    batches = [_unpickle(folder / file, checksum) for file, checksum in checksums]
    labels = [batch.get(b"fine_labels") or batch[b"labels"] for batch in batches]
    return _split(np.concatenate([batch[b"data"] for batch in batches]), np.concatenate(labels))


def _split(pixels: np.ndarray, labels: np.ndarray) -> Split:
    """Pixels uint8 [N, 3072] and labels [N]."""
    images = torch.from_numpy(pixels.copy()).view(-1, 3, 32, 32)
    return Split(images, torch.from_numpy(labels.astype(np.int64)))


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
    if (size := path.stat().st_size) > LARGEST:
        raise DataError(f"{path} has {size:,} bytes, far more than the published file")
    content = path.read_bytes()
    if (md5 := files.md5(content)) != checksum:
        raise DataError(
            f"{path} has MD5 {md5}, the published file has {checksum}; it is a pickle, so it was"
            " not opened; use the binary version, or download it again"
        )
    return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
