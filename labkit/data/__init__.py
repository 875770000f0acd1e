"""The data sets: real ones from this machine, or stand-ins drawn by code.

    import labkit as lk
    images = lk.load("synthetic_cifar100")  # no download, under a second

A real set is decoded and checked once and kept as one prepared file in the data folder. It comes
from a copy in that folder, from one added by hand, or from a verified download.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labkit.data import download, prepared, synthetic
from labkit.data.catalogue import CATALOGUE, Entry
from labkit.data.dataset import Data, Split
from labkit.errors import DataError, InputError, unknown
from labkit.files import data_home

__all__ = ["DATASETS", "Data", "Split", "add", "available", "listing", "load", "verify"]

# name -> what it is, in a line
DATASETS = {
    "cifar10": "CIFAR-10: 60,000 images of 32 x 32, 10 classes",
    "cifar100": "CIFAR-100: 60,000 images of 32 x 32, 100 classes in 20 superclasses",
    "tiny_imagenet": "Tiny-ImageNet-200: 110,000 labelled images of 64 x 64, 200 classes",
} | dict.fromkeys(synthetic.NAMES, "drawn stand-in of 12,000 images")


def load(name: str) -> Data:
    """A data set of `DATASETS`: prepared, from a copy in the data folder, or else downloaded.

    Raises:
        InputError: no data set has this name.
        DataError: a copy is damaged, or there is none and no network.
    """
    _check_name(name)
    if name in synthetic.NAMES:
        return synthetic.draw(name)
    entry = CATALOGUE[name]
    if prepared.path_of(name).exists():
        return prepared.load(entry)
    if (copy := entry.locate(data_home())) is None:
        return _fetch(entry)
    place, layout = copy
    if place.name == entry.archive and not entry.is_published(place):
        raise DataError(
            f"{place} is not the published file, which has {entry.size:,} bytes and MD5"
            f" {entry.md5}; delete it, or if you made it yourself, add it:"
            f" labkit data add {name} {place}"
        )
    return prepared.save(entry.read(place, layout))


def available(name: str) -> bool:
    """Whether `load(name)` would do without a download.

    Raises:
        InputError: no data set has this name.
    """
    _check_name(name)
    return _state(name)[0] != "absent"


def add(name: str, path: str | Path) -> Data:
    """Prepare a copy that lies anywhere: a folder or archive in a layout that people have.

    A subset (fewer images a class than published) is accepted; its `Data.complete` is False.

    Raises:
        InputError: no real data set has this name.
        DataError: there is no such set at `path`, or it is damaged.
    """
    _check_name(name)
    if name in synthetic.NAMES:
        raise InputError(f"{name} is built in; add one of {', '.join(CATALOGUE)}")
    entry, path = CATALOGUE[name], Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; give the folder or the archive that holds {name}")
    if (copy := entry.locate(path)) is None:
        names = ", ".join([*(layout.folder for layout in entry.layouts), entry.archive])
        raise DataError(f"{path} holds no {name}: it neither is nor has one of {names}")
    return prepared.save(entry.read(*copy))


def verify() -> Iterator[str]:
    """Compute the digest of every prepared set anew; a line for each.

    Raises:
        DataError: after all lines, if one of them is damaged.
    """
    names, damaged = [name for name in CATALOGUE if prepared.path_of(name).exists()], []
    for name in names:
        try:
            data = prepared.load(CATALOGUE[name], verify=True)
            counts = f"{len(data.train):,} + {len(data.test):,} images"
            yield f"{name}: {counts}, SHA-256 {data.sha256}: ok"
        except DataError as error:
            damaged.append(str(prepared.path_of(name)))
            yield f"{name}: {error}"
    if not names:
        yield f"nothing is prepared in {data_home()}"
    if damaged:
        raise DataError(f"damaged: {', '.join(damaged)}; delete it, and it will be prepared again")


def listing() -> list[dict[str, Any]]:
    """A row for each data set: name, state (prepared, damaged, local, absent or built in), source,
    train and test (images, 0 where that is not known)."""
    columns = ("name", "state", "source", "train", "test")
    return [dict(zip(columns, (name, *_state(name)), strict=True)) for name in DATASETS]


def _check_name(name: str) -> None:
    if name not in DATASETS:
        raise InputError(unknown("data set", name, DATASETS))


def _fetch(entry: Entry) -> Data:
    path = data_home() / entry.archive
    try:
        with prepared.explain_read_only(path):
            download.fetch(entry.url, path, size=entry.size, md5=entry.md5)
    except DataError as error:
        raise DataError(
            f"{error}\n  {entry.name} is not on this machine. By hand: download {entry.url}"
            f" ({entry.size:,} bytes, MD5 {entry.md5}) and put it at {path}."
            f"\n  Or work on synthetic_{entry.name}, which needs no download."
        ) from error
    data = prepared.save(entry.read(path, entry.layouts[0]))
    path.unlink(missing_ok=True)  # all of it is in the prepared file
    return data


def _state(name: str) -> tuple[str, str, int, int]:
    """State, source, training and test images, as `listing` shows them."""
    if name in synthetic.NAMES:
        return "built in", synthetic.SOURCE, synthetic.TRAIN, synthetic.TEST
    entry = CATALOGUE[name]
    if prepared.path_of(name).exists():
        try:
            data = prepared.load(entry)
        except DataError as error:
            return "damaged", str(error), 0, 0
        return "prepared", data.source, len(data.train), len(data.test)
    if copy := entry.locate(data_home()):
        return "local", str(copy[0]), 0, 0
    return "absent", entry.url, 0, 0
