"""The data sets: real ones from this machine, or stand-ins drawn by code.

import labkit as lk
images = lk.load("synthetic_cifar100")  # no download, 0.4 s
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from labkit.data import synthetic
from labkit.data.sets import Data, Split
from labkit.parameters import InputError

__all__ = ["DATASETS", "Data", "Split", "available", "data_home", "load"]

DATASETS = tuple(synthetic.SETS)


def data_home() -> Path:
    """The data folder: LABKIT_DATA, or ~/.cache/labkit/data."""
    return Path(os.environ.get("LABKIT_DATA") or "~/.cache/labkit/data").expanduser()


def load(name: str) -> Data:
    """A data set by name."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"no data set is called {name!r}; {hint}there are {', '.join(DATASETS)}")
    return synthetic.draw(name)


def available(name: str) -> bool:
    """Whether `load(name)` works without a download."""
    return name in synthetic.SETS
