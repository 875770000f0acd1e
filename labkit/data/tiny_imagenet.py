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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from labkit.data.archives import zip_members
from labkit.data.classes import TINY_IMAGENET
from labkit.data.dataset import Split
from labkit.errors import DataError

FOLDER = "tiny-imagenet-200"
SIDE = 64
LARGEST = 1 << 20  # bytes of one image file; the published ones have a few thousand
SHOWN = 10  # faults that an error lists

LABELS = {wnid: label for label, wnid in enumerate(TINY_IMAGENET)}
_IMAGE = re.compile(r"(train|val)/(?:([^/]+)/)?(?:images/)?([^/]+\.jpe?g)", re.IGNORECASE)
_ANNOTATIONS = "val/val_annotations.txt"

Members = Callable[[Callable[[str], bool]], Iterator[tuple[str, bytes]]]


def read_folder(folder: Path) -> tuple[Split, Split]:
    """(training, validation) images of an unpacked tiny-imagenet-200; a class may have fewer.

    Grey and CMYK images become RGB.

    Raises:
        DataError: lists up to ten images that are missing, damaged, of another size or class.
    """
    return _read(lambda wanted: _folder_members(folder, wanted), folder)


def read_archive(path: Path) -> tuple[Split, Split]:
    """The same from the zip; nothing is unpacked to disk."""
    start = f"{FOLDER}/"

    def members(wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
        chosen = zip_members(path, lambda name: wanted(name.removeprefix(start)), LARGEST)
        return ((name.removeprefix(start), content) for name, content in chosen)

    return _read(members, path)


def _folder_members(
    folder: Path, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes | None]]:
    """Files by sorted name; None for the content of one that is too large to be an image."""
    for path in sorted(folder.glob("*/**/*")):
        name = path.relative_to(folder).as_posix()
        if wanted(name) and path.is_file():
            small = path.stat().st_size <= LARGEST or name == _ANNOTATIONS
            yield name, path.read_bytes() if small else None


def _read(members: Members, place: Path) -> tuple[Split, Split]:
    classes = _annotations(members)
    faults: list[str] = []
    found: dict[str, list[tuple[int, np.ndarray]]] = {"train": [], "val": []}
    seen = set()
    bar = tqdm(desc=f"reading {place.name}", unit=" images", disable=None)
    with bar, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for name, content in members(lambda name: bool(_IMAGE.fullmatch(name))):
            split, wnid, file = _IMAGE.fullmatch(name).groups()
            wnid = classes.get(file) if split == "val" and wnid in (None, "images") else wnid
            seen.add(file)
            image = _decode(content) if wnid in LABELS else _unknown(split, wnid)
            if isinstance(image, str):
                faults.append(f"{name}: {image}")
            else:
                found[split].append((LABELS[wnid], image))
            bar.update()
    faults += [f"val/images/{file}: missing" for file in sorted(classes) if file not in seen]
    if faults:
        more = f"\n  and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        shown = "\n  ".join(faults[:SHOWN])
        raise DataError(f"{place} has {len(faults)} images that cannot be used:\n  {shown}{more}")
    return _split(found.pop("train"), place, "train"), _split(found.pop("val"), place, "val")


def _annotations(members: Members) -> dict[str, str]:
    """File name of a validation image -> its wnid; empty where val has class folders."""
    text = b"".join(content for _, content in members(lambda name: name == _ANNOTATIONS))
    lines = text.decode("utf-8", errors="replace").splitlines()
    fields = [line.split("\t") for line in lines if line.strip()]
    return {field[0]: field[1] if len(field) > 1 else "" for field in fields}


def _unknown(split: str, wnid: str | None) -> str:
    if wnid is None:
        return "has no line in val/val_annotations.txt" if split == "val" else "is in no class"
    return f"its class {wnid!r} is not one of Tiny-ImageNet's 200"


def _decode(content: bytes | None) -> np.ndarray | str:
    """uint8 [3, 64, 64], or what is wrong with the file."""
    if content is None:
        return f"larger than {LARGEST:,} bytes"
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.size != (SIDE, SIDE):
                return f"{image.size[0]} x {image.size[1]} pixels, not {SIDE} x {SIDE}"
            return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"far more pixels than {SIDE} x {SIDE}"
    except (OSError, ValueError, SyntaxError) as error:
        return f"cannot be decoded ({error})" if "cannot identify" not in str(error) else "no JPEG"


def _split(found: list[tuple[int, np.ndarray]], place: Path, name: str) -> Split:
    if not found:
        raise DataError(f"{place} has no images in {name}; is it a {FOLDER} folder?")
    images = torch.from_numpy(np.stack([image for _, image in found]))
    return Split(images, torch.tensor([label for label, _ in found]))
