"""Tiny data sets in the true byte layouts, for tests."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from labkit.data.classes import CIFAR10, CIFAR100, SUPERCLASSES, TINY_IMAGENET

FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}
WNIDS = tuple(TINY_IMAGENET)


def records(name: str, each: int, seed: int = 0) -> bytes:
    """`each` CIFAR records of every class, in random order, random pixels."""
    rng = np.random.default_rng(seed)
    classes = {"cifar10": 10, "cifar100": 100}[name]
    labels = rng.permutation(np.repeat(np.arange(classes, dtype=np.uint8), each))[:, None]
    head = labels if name == "cifar10" else np.hstack([labels // 5, labels])
    pixels = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    pixels[1] = pixels[0]  # the real sets, too, have images that come twice
    return np.hstack([head, pixels]).astype(np.uint8).tobytes()


def cifar_files(name: str, each: int = 1) -> dict[str, bytes]:
    """File name -> content of the binary layout: `each` training images a class, one test image."""
    if name == "cifar100":
        fine, coarse = "\n".join(CIFAR100), "\n".join(SUPERCLASSES)
        return {
            "train.bin": records(name, each),
            "test.bin": records(name, 1, seed=9),
            "fine_label_names.txt": f"{fine}\n".encode(),
            "coarse_label_names.txt": f"{coarse}\n".encode(),
        }
    files = {f"data_batch_{i}.bin": records(name, each, seed=i) for i in range(1, 6)}
    meta = ("\n".join(CIFAR10) + "\n\n").encode()
    return files | {"test_batch.bin": records(name, 1, seed=9), "batches.meta.txt": meta}


def cifar_folder(place: Path, name: str, each: int = 1) -> Path:
    return write(place / FOLDERS[name], cifar_files(name, each))


def cifar_archive(path: Path, name: str, each: int = 1) -> Path:
    return tar(path, {f"{FOLDERS[name]}/{k}": v for k, v in cifar_files(name, each).items()})


def reordered(name: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """The same images of each split in another order, in files of the same sizes."""
    size, rng = {"cifar10": 3073, "cifar100": 3074}[name], np.random.default_rng(5)
    result = dict(files)
    for train in (True, False):
        names = [f for f in files if f.endswith(".bin") and f.startswith("test") != train]
        content = np.frombuffer(b"".join(files[f] for f in names), np.uint8).reshape(-1, size)
        parts = np.split(rng.permutation(content), len(names))
        result |= {f: part.tobytes() for f, part in zip(names, parts, strict=True)}
    return result


def torchvision_files(name: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """torchvision's layout: each file of records as a pickled dict of bytes, list and array."""
    size, key = {"cifar10": (3073, b"labels"), "cifar100": (3074, b"fine_labels")}[name]
    batches = {}
    for file in (f for f in files if f.endswith(".bin")):
        rows = np.frombuffer(files[file], np.uint8).reshape(-1, size)
        batch = {b"data": rows[:, -3072:], key: rows[:, -3073].tolist(), b"batch_label": b"forged"}
        batches[file.removesuffix(".bin")] = pickle.dumps(batch, protocol=3)
    return batches


def jpeg(seed: int = 0, *, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    bands = len(Image.new(mode, (1, 1)).getbands())
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, bands), dtype=np.uint8)
    image = Image.fromarray(blocks.squeeze(), mode="L") if bands == 1 else None
    image = image or Image.merge(mode, [Image.fromarray(blocks[..., i]) for i in range(bands)])
    out = io.BytesIO()
    image.resize(size, Image.Resampling.NEAREST).save(out, "JPEG", quality=90)
    return out.getvalue()


def tiny_files(each: int = 1, *, reverse: bool = False) -> dict[str, bytes]:
    """Tiny-ImageNet as published: `each` training images a class, one validation image.

    With `reverse` the same images have each other's file names, so they come in another order.
    """
    content = [jpeg(seed) for seed in range(4)]
    files = {"wnids.txt": "\n".join(WNIDS).encode(), "val/val_annotations.txt": b""}
    for label, wnid in enumerate(WNIDS):
        for i in range(each):
            place = each - 1 - i if reverse else i
            files[f"train/{wnid}/images/{wnid}_{place}.JPEG"] = content[(label + i) % 4]
        files[f"train/{wnid}/{wnid}_boxes.txt"] = f"{wnid}_0.JPEG\t0\t0\t63\t63\n".encode()
        number = (label * (11 if reverse else 7)) % len(WNIDS)  # in no order of classes
        files[f"val/images/val_{number}.JPEG"] = content[label % 4]
        line = f"val_{number}.JPEG\t{wnid}\t0\t0\t63\t63\n"
        files["val/val_annotations.txt"] += line.encode()
    return files | {"test/images/test_0.JPEG": content[0]}


def tiny_folder(place: Path, each: int = 1, *, reverse: bool = False) -> Path:
    return write(place / "tiny-imagenet-200", tiny_files(each, reverse=reverse))


def tiny_archive(path: Path, each: int = 1, *, reverse: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in tiny_files(each, reverse=reverse).items():
            archive.writestr(f"tiny-imagenet-200/{name}", content)
    return path


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tar(path: Path, files: dict[str, bytes]) -> Path:
    return tar_of(path, ((tarfile.TarInfo(name), content) for name, content in files.items()))


def tar_of(path: Path, members: Iterator[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path
