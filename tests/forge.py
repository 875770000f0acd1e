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


def torchvision_batch(key: bytes, labels: list[int], seed: int = 0) -> bytes:
    """A batch as torchvision's folder has it: a dict of bytes, list and array."""
    pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    return pickle.dumps({b"data": pixels, key: labels, b"batch_label": b"forged"}, protocol=3)


def jpeg(seed: int = 0, *, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    bands = len(Image.new(mode, (1, 1)).getbands())
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, bands), dtype=np.uint8)
    image = Image.fromarray(blocks.squeeze(), mode="L") if bands == 1 else None
    image = image or Image.merge(mode, [Image.fromarray(blocks[..., i]) for i in range(bands)])
    out = io.BytesIO()
    image.resize(size, Image.Resampling.NEAREST).save(out, "JPEG", quality=90)
    return out.getvalue()


def tiny_files(each: int = 1) -> dict[str, bytes]:
    """Tiny-ImageNet as published: `each` training images a class, one validation image."""
    content = [jpeg(seed) for seed in range(4)]
    files = {"wnids.txt": "\n".join(WNIDS).encode(), "val/val_annotations.txt": b""}
    for label, wnid in enumerate(WNIDS):
        for i in range(each):
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = content[(label + i) % 4]
        files[f"train/{wnid}/{wnid}_boxes.txt"] = f"{wnid}_0.JPEG\t0\t0\t63\t63\n".encode()
        number = (label * 7) % len(WNIDS)  # the validation images come in no order of classes
        files[f"val/images/val_{number}.JPEG"] = content[label % 4]
        line = f"val_{number}.JPEG\t{wnid}\t0\t0\t63\t63\n"
        files["val/val_annotations.txt"] += line.encode()
    return files | {"test/images/test_0.JPEG": content[0]}


def tiny_folder(place: Path, each: int = 1) -> Path:
    return write(place / "tiny-imagenet-200", tiny_files(each))


def tiny_archive(path: Path, each: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in tiny_files(each).items():
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
