"""Tiny-ImageNet-200 (Stanford CS231n, 2015): 64 x 64 JPEGs, 200 classes of ImageNet.

    train/<wnid>/images/<wnid>_<n>.JPEG       500 a class
    val/images/val_<n>.JPEG                   50 a class; their classes: val/val_annotations.txt
    test/images/...                           unlabelled, not read

As published the val folder has no class folders, so a reader that takes folders for classes sees
a single one. A val that somebody sorted into class folders is read as well. The validation images
are the test split here, as in the report.
"""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from labkit.data.archives import members
from labkit.data.classes import TINY_IMAGENET
from labkit.data.dataset import Split
from labkit.errors import DataError

__all__ = ["SIDE", "read"]

SIDE = 64
LARGEST = 1 << 20  # bytes of one image file; the published ones have a few thousand
SHOWN = 10  # faults that an error lists

LABELS = {wnid: label for label, wnid in enumerate(TINY_IMAGENET)}
_IMAGE = re.compile(r"(train|val)/(?:([^/]+)/)?(?:images/)?([^/]+\.jpe?g)", re.IGNORECASE)
_ANNOTATIONS = "val/val_annotations.txt"


def read(place: Path, root: str) -> tuple[Split, Split]:
    """(training, validation) images of the folder `root`, or of a .zip that has it.

    A class may have fewer images than published. Grey and CMYK images become RGB.

    Raises:
        DataError: lists up to ten images that are missing, damaged, of another size or class; or
            the archive is damaged.
    """
    wnids, files, faults = _annotations(place, root), set(), []
    images: dict[str, list[tuple[int, np.ndarray]]] = {"train": [], "val": []}
    contents = members(place, root, lambda name: LARGEST if _IMAGE.fullmatch(name) else 0)
    for name, content in tqdm(contents, f"reading {place.name}", unit=" images", disable=None):
        split, wnid, file = _IMAGE.fullmatch(name).groups()
        if split == "val" and wnid in (None, "images"):
            wnid = wnids.get(file)
        files.add(file)
        try:
            images[split].append((_label(wnid), _decode(content)))
        except ValueError as error:
            faults.append(f"{name}: {error}")
    faults += [f"val/images/{file}: missing" for file in sorted(wnids.keys() - files)]
    if faults:
        more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        listing = "\n  ".join(faults[:SHOWN])
        raise DataError(f"{place} has {len(faults)} images that cannot be used:\n  {listing}{more}")
    return _split(images.pop("train")), _split(images.pop("val"))


def _annotations(place: Path, root: str) -> dict[str, str]:
    """File name of a validation image -> its wnid; empty where val has class folders."""
    contents = dict(members(place, root, {_ANNOTATIONS: LARGEST}.get))
    lines = (contents.get(_ANNOTATIONS) or b"").decode("utf-8", errors="replace").splitlines()
    fields = [[*line.split("\t"), ""] for line in lines if line.strip()]
    return {file: wnid for file, wnid, *_ in fields}


def _label(wnid: str | None) -> int:
    """The label of a class, or a ValueError with the fault."""
    if wnid is None:
        raise ValueError(f"has no line in {_ANNOTATIONS} and lies in no class folder")
    if wnid not in LABELS:
        raise ValueError(f"its class {wnid!r} is not one of Tiny-ImageNet's 200")
    return LABELS[wnid]


def _decode(content: bytes | None) -> np.ndarray:
    """uint8 [3, 64, 64], or a ValueError with the fault of the file."""
    if content is None:
        raise ValueError(f"larger than {LARGEST:,} bytes")
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(content), formats=["JPEG"]) as image,
        ):
            if image.size == (SIDE, SIDE):
                return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"far more pixels than {SIDE} x {SIDE}") from None
    except UnidentifiedImageError:
        raise ValueError("no JPEG") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"cannot be decoded ({error})") from error
    raise ValueError(f"{image.size[0]} x {image.size[1]} pixels, not {SIDE} x {SIDE}")


def _split(images: list[tuple[int, np.ndarray]]) -> Split:
    labels, pixels = zip(*images, strict=True) if images else ((), ())
    pixels = np.array(pixels, np.uint8).reshape(-1, 3, SIDE, SIDE)
    return Split(torch.from_numpy(pixels), torch.tensor(labels, dtype=torch.int64))
