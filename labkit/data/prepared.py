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

__all__ = ["explain_read_only", "header", "load", "path_of", "save", "verify"]

SCHEMA = 2  # 1 kept the images in the order of the copy they came from
_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def path_of(home: Path, name: str) -> Path:
    """Where the prepared file of a set lies in the data folder `home`."""
    return home / "prepared" / f"{name}.safetensors"


def save(data: Data, home: Path) -> Data:
    """Write the prepared file of `data`, replacing an older one; gives `data` back.

    Raises:
        DataError: the data folder cannot be written to.
        OSError: the disk is full.
    """
    path = path_of(home, data.name)
    card = data.card()
    names = ("name", "source", "sha256", "classes", "train", "test")
    values = {"schema": SCHEMA} | {name: card[name] for name in names}
    tensors = {
        "train_images": data.train.images,
        "train_labels": data.train.labels,
        "test_images": data.test.images,
        "test_labels": data.test.labels,
    }
    metadata = {"labkit": json.dumps(values, ensure_ascii=False)}
    with explain_read_only(path):
        write_atomic(path, safetensors.torch.save(tensors, metadata))
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

    Sizes, types and labels are checked, and the digest is the stored one: `verify` computes it
    anew. A file of the first schema is sorted and written again.

    Raises:
        DataError: the file is damaged or of another version.
    """
    path = path_of(home, entry.name)
    values = header(path)
    with _open(path) as file:
        train, test = (
            Split(file.get_tensor(f"{split}_images"), file.get_tensor(f"{split}_labels"))
            for split in ("train", "test")
        )
    _check(path, values, entry, train, test)
    data = entry.data(train, test, values["source"], values["sha256"])
    return data if values["schema"] == SCHEMA else _sort(data, entry, home)


def verify(data: Data, home: Path) -> None:
    """Compute the digest of what is in memory anew.

    Raises:
        DataError: it is not the one that the prepared file has.
    """
    if (sha256 := digest((data.train, data.test), data.classes)) != data.sha256:
        reason = f"its SHA-256 is {sha256}, not {data.sha256} as when it was prepared"
        raise DataError(_damage(path_of(home, data.name), reason))


def header(path: Path) -> dict[str, Any]:
    """What a prepared file says about itself; no tensor is read.

    Raises:
        DataError: the file is damaged or of another version.
    """
    with _open(path) as file:
        values = json.loads((file.metadata() or {}).get("labkit", "{}"))
    if not isinstance(values, dict) or values.get("schema") not in (1, SCHEMA):
        raise DataError(_damage(path, "it was not written by this version of labkit"))
    return values


@contextlib.contextmanager
def _open(path: Path) -> Iterator[safetensors.safe_open]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise DataError(_damage(path, error)) from error


def _sort(data: Data, entry: Entry, home: Path) -> Data:
    """An older file holds all that its source held, so it serves as the source."""
    verify(data, home)
    data = entry.data(data.train.canonical(), data.test.canonical(), data.source)
    with contextlib.suppress(DataError):  # a folder that is read-only is sorted each time
        save(data, home)
    return data


def _check(path: Path, values: dict[str, Any], entry: Entry, train: Split, test: Split) -> None:
    names = (values.get("name"), tuple(values.get("classes", ())))
    if names != (entry.name, entry.classes) or not isinstance(values.get("sha256"), str):
        raise DataError(_damage(path, "it belongs to another data set"))
    for split, count in ((train, values.get("train")), (test, values.get("test"))):
        if not _fits(split, (count, 3, entry.side, entry.side), len(entry.classes)):
            raise DataError(_damage(path, "its images or labels have another shape or range"))


def _fits(split: Split, shape: tuple[int, ...], classes: int) -> bool:
    images, labels = split.images, split.labels
    return (
        (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        and (images.shape, labels.shape) == (shape, shape[:1])
        and len(split) > 0
        and int(labels.min()) >= 0
        and int(labels.max()) < classes
    )


def _damage(path: Path, reason: object) -> str:
    return f"{path} cannot be used: {reason}; delete it, and it will be prepared again"
