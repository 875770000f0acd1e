"""Prepared data sets: one safetensors file each, decoded and checked once, read in a moment."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from labkit.data.catalogue import Entry
from labkit.data.dataset import Data, Split, digest
from labkit.errors import DataError
from labkit.files import write_atomic

SCHEMA = 2  # 1 kept the images in the order of the copy they came from
TENSORS = ("train_images", "train_labels", "test_images", "test_labels")
_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def path_of(home: Path, name: str) -> Path:
    return home / "prepared" / f"{name}.safetensors"


def save(data: Data, home: Path) -> Data:
    """Write the prepared file of `data`, replacing an older one; gives `data` back.

    Raises:
        DataError: the data folder cannot be written to.
        OSError: the disk is full.
    """
    path = path_of(home, data.name)
    about = {
        "schema": SCHEMA,
        "name": data.name,
        "source": data.source,
        "sha256": data.sha256,
        "classes": list(data.classes),
        "train": len(data.train),
        "test": len(data.test),
    }
    metadata = {"labkit": json.dumps(about, ensure_ascii=False)}
    with explain_read_only(path):
        write_atomic(path, safetensors.torch.save(_tensors(data), metadata))
    return data


@contextlib.contextmanager
def explain_read_only(path: Path) -> Iterator[None]:
    """Turn "permission denied" and its like into a sentence about the data folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise DataError(
            f"cannot write {path}: {error.strerror}; set LABKIT_DATA to a folder you may write to"
        ) from error


def load(entry: Entry, home: Path) -> Data:
    """The prepared copy of a set; its bytes are mapped, not read.

    Sizes, types and labels are checked, and the digest is the stored one: `labkit data verify`
    computes it anew. A file of the first schema is sorted and written again.

    Raises:
        DataError: the file is damaged or of another version.
    """
    path = path_of(home, entry.name)
    about = describe(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = [file.get_tensor(name) for name in TENSORS]
    except (safetensors.SafetensorError, OSError) as error:
        raise DataError(_damaged(path, error)) from error
    train, test = Split(*tensors[:2]), Split(*tensors[2:])
    _check(path, about, entry, train, test)
    data = entry.data(train, test, about["source"], about["sha256"])
    return data if about["schema"] == SCHEMA else _sort(data, entry, home)


def _sort(data: Data, entry: Entry, home: Path) -> Data:
    """An older file holds all that its source held, so it serves as the source."""
    if sha256_of(data) != data.sha256:
        raise DataError(_damaged(path_of(home, data.name), "its digest is not the stored one"))
    data = entry.data(data.train.canonical(), data.test.canonical(), data.source)
    with contextlib.suppress(DataError):  # a folder that is read-only is sorted each time
        save(data, home)
    return data


def describe(path: Path) -> dict[str, Any]:
    """What the header of a prepared file says about it; no tensor is read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("labkit", "{}"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise DataError(_damaged(path, error)) from error
    if not isinstance(about, dict) or about.get("schema") not in (1, SCHEMA):
        raise DataError(_damaged(path, "it was not written by this version of labkit"))
    return about


def sha256_of(data: Data) -> str:
    """The digest of what is in memory, computed anew."""
    return digest(_tensors(data).values(), data.classes)


def _tensors(data: Data) -> dict[str, torch.Tensor]:
    tensors = (data.train.images, data.train.labels, data.test.images, data.test.labels)
    return dict(zip(TENSORS, tensors, strict=True))


def _check(path: Path, about: dict[str, Any], entry: Entry, train: Split, test: Split) -> None:
    shape, classes = (3, entry.side, entry.side), len(entry.classes)
    for split, count in ((train, about.get("train")), (test, about.get("test"))):
        fits = (
            split.images.dtype == torch.uint8
            and split.labels.dtype == torch.int64
            and tuple(split.images.shape) == (count, *shape)
            and tuple(split.labels.shape) == (count,)
            and len(split)
            and int(split.labels.min()) >= 0
            and int(split.labels.max()) < classes
        )
        if not fits:
            raise DataError(_damaged(path, "its images or labels have another shape or range"))
    names = (about.get("name"), tuple(about.get("classes", ())))
    if names != (entry.name, entry.classes) or not isinstance(about.get("sha256"), str):
        raise DataError(_damaged(path, "it belongs to another data set"))


def _damaged(path: Path, reason: object) -> str:
    return f"{path} cannot be used: {reason}; delete it, and it will be prepared again"
