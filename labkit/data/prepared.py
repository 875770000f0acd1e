"""Prepared data sets: one safetensors file each, decoded and checked once, read in a moment."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path

import safetensors
import safetensors.torch

from labkit.data.catalogue import Entry
from labkit.data.dataset import Data, Split
from labkit.errors import DataError
from labkit.files import data_home, write_atomic

__all__ = ["explain_read_only", "load", "path_of", "save"]

SCHEMA = 2  # 1 kept the images in the order of the copy they came from
HEADER = ("name", "source", "sha256", "classes", "train", "test")
TENSORS = ("train_images", "train_labels", "test_images", "test_labels")
MALFORMED = (AttributeError, KeyError, TypeError, ValueError)  # what a strange header gives
_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def path_of(name: str) -> Path:
    """Where the prepared file of a set lies in the data folder."""
    return data_home() / "prepared" / f"{name}.safetensors"


def save(data: Data) -> Data:
    """Write the prepared file of `data`, replacing an older one; gives `data` back.

    Raises:
        DataError: the data folder cannot be written to.
        OSError: the disk is full.
    """
    path, card = path_of(data.name), data.card()
    values = {"schema": SCHEMA} | {name: card[name] for name in HEADER}
    splits = (data.train.images, data.train.labels, data.test.images, data.test.labels)
    tensors = dict(zip(TENSORS, splits, strict=True))
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


def load(entry: Entry, *, verify: bool = False) -> Data:
    """The prepared copy of a set; its bytes are mapped, not read.

    Sizes, types and labels are checked. Its digest is the stored one, or is computed to `verify`.

    Raises:
        DataError: the file is damaged or of another version.
    """
    path = path_of(entry.name)
    expected = {"schema": SCHEMA, "name": entry.name, "classes": [*entry.classes]}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            values = json.loads((file.metadata() or {}).get("labkit", "{}"))
            if not expected.items() <= values.items():
                raise ValueError("it is of another set or another version of labkit")
            tensors = [file.get_tensor(name) for name in TENSORS]
        train, test = Split(*tensors[:2]), Split(*tensors[2:])
        data = entry.data(train, test, values["source"], "" if verify else values["sha256"])
        if data.sha256 != values["sha256"]:
            raise ValueError(f"its SHA-256 is {data.sha256}, not {values['sha256']}")
    except (safetensors.SafetensorError, OSError, *MALFORMED) as error:
        advice = "delete it, and it will be prepared again"
        raise DataError(f"{path} cannot be used: {error}; {advice}") from error
    return data
