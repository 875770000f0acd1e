"""How fast labkit trains: against the loop students write, and against the bare network.

Each network is timed three ways in turn, several rounds over, and the medians are compared, so
that a machine that slows down slows all three:

- `student`: a DataLoader with two workers, PIL transforms, fp32, a loss read every step;
- `labkit`: `labkit.train.optimise`, as every record is made;
- `bare`: one fixed batch through the same update, with no data behind it. Nothing can be faster.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from labkit import records, train
from labkit.checkpoint import Checkpoint
from labkit.data import Split
from labkit.device import device_card, pick_device, use_bf16
from labkit.recipe import Recipe

TARGETS = {"student": 3.0, "bare": 0.95}  # labkit's speed over theirs
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


@dataclass(frozen=True)
class Case:
    """One network as its report trains it; `images` make one timed round on two CPU cores."""

    model: str
    batch: int
    images: int
    augment: str
    transform: tuple[Callable, ...]  # the same augmentation as torchvision writes it
    optimizer: str = "sgd"
    lr: float = 0.01
    size: int = 32
    classes: int = 100

    @property
    def recipe(self) -> Recipe:
        # two epochs: the first warms up, the second is timed
        return Recipe(
            dataset="random", model=self.model, epochs=2, batch=self.batch, lr=self.lr,
            optimizer=self.optimizer, augment=self.augment, drop_last=True,
        )  # fmt: skip


CROP = (transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip())
TURN = (transforms.RandomRotation(20), transforms.RandomHorizontalFlip())
SHIFT = (
    transforms.RandomHorizontalFlip(),
    transforms.RandomAffine(0, translate=(0.1, 0.1)),
    transforms.ToTensor(),
    transforms.RandomErasing(),
)
ZOOM = (transforms.RandomHorizontalFlip(), transforms.CenterCrop(56), transforms.Resize(64))
CASES = (
    Case("mnist_net", 256, 5120, "none", (), "adam", 1e-3),
    Case("mbn", 64, 192, "rotate20_flip", TURN, "rmsprop", 1e-4),
    Case("resnet18_cifar", 128, 384, "crop_flip", CROP),
    Case("residual_attention", 64, 1024, "flip_shift_cutout", SHIFT, "adam", 1e-3, classes=10),
    Case("wrn16_4", 64, 640, "crop_flip", CROP),
    Case("m1", 256, 4096, "set1", ZOOM, "radam", 1e-3, size=64, classes=200),
)


def bench(
    names: list[str] | None = None, *, rounds: int = 3, device: str = "auto", scale: float = 1.0
) -> dict[str, Any]:
    """Time every case, print a line each, write the results; images per second throughout."""
    target = pick_device(device)
    bf16 = use_bf16("auto", target)
    card = device_card(target, bf16)
    print(f"{card['name']}, {card['threads']} threads, {card['precision']}; images per second")
    print(
        f"{'model':<20} {'student':>9} {'labkit':>9} {'bare':>9}   {'x student':>9} {'of bare':>8}"
    )
    lines = []
    for case in CASES:
        if names and case.model not in names:
            continue
        split = _random_images(case, target, scale)
        ways = {"student": _student, "labkit": _labkit, "bare": _bare}
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, run in ways.items():
                speeds[way].append(run(case, split, target, bf16))
        lines.append(_line(case, speeds))
    results = {"device": card, "versions": records.versions(), "created": records.now(),
               "rounds": rounds, "targets": TARGETS, "cases": lines}  # fmt: skip
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{target.type}.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")
    return results


def _line(case: Case, speeds: dict[str, list[float]]) -> dict[str, Any]:
    median = {way: statistics.median(values) for way, values in speeds.items()}
    ratios = {way: median["labkit"] / median[way] for way in TARGETS}
    met = {way: ratios[way] >= TARGETS[way] for way in TARGETS}
    print(
        f"{case.model:<20} {median['student']:>9,.0f} {median['labkit']:>9,.0f}"
        f" {median['bare']:>9,.0f}   {ratios['student']:>9.2f} {ratios['bare']:>8.2f}"
        f"   {'' if all(met.values()) else 'short of the target'}",
        flush=True,
    )
    return {"model": case.model, "batch": case.batch, "size": case.size, "speeds": speeds,
            "median": median, "ratios": ratios, "met": met}  # fmt: skip


def _random_images(case: Case, device: torch.device, scale: float) -> Split:
    count = max(1, round(case.images * scale / case.batch)) * case.batch
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, case.size, case.size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, case.classes, (count,), generator=generator)
    return Split(images, labels).to(device)


def _labkit(case: Case, split: Split, device: torch.device, bf16: bool) -> float:
    net = _net(case, device)
    empty = split.take(torch.zeros(0, dtype=torch.int64, device=device))
    with tempfile.TemporaryDirectory() as folder:
        rows = train.optimise(
            net, case.recipe, split, empty, normalise=train.IMAGENET,
            checkpoint=Checkpoint(Path(folder), every=1e9), bf16=bf16, label=case.model,
        )  # fmt: skip
    return rows[-1]["images"] / rows[-1]["train_seconds"]


def _bare(case: Case, split: Split, device: torch.device, bf16: bool) -> float:
    net = _net(case, device).train()
    optimizer = train.make_optimizer(net, case.recipe)
    x = split.images[: case.batch].float().div(255).contiguous(memory_format=torch.channels_last)
    y = split.labels[: case.batch]

    def epoch() -> None:
        for _ in range(len(split) // case.batch):
            train.train_step(net, optimizer, x, y, case.lr, 0.0, bf16)

    return len(split) / _seconds(epoch, device)


class _Pictures(Dataset):
    def __init__(self, split: Split, transform: Callable) -> None:
        self.images = split.images.permute(0, 2, 3, 1).cpu().numpy()
        self.labels, self.transform = split.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        picture = transforms.functional.to_pil_image(self.images[index])
        return self.transform(picture), self.labels[index]


def _student(case: Case, split: Split, device: torch.device, bf16: bool) -> float:
    net = train.build(case.recipe, case.classes, case.size).to(device).train()
    optimizer = train.make_optimizer(net, case.recipe)
    tensor = [] if any(isinstance(t, transforms.ToTensor) for t in case.transform) else [
        transforms.ToTensor()
    ]  # fmt: skip
    steps = [*case.transform, *tensor, transforms.Normalize(*train.IMAGENET)]
    pictures = _Pictures(split, transforms.Compose(steps))
    loader = DataLoader(
        pictures, case.batch, shuffle=True, num_workers=2, persistent_workers=True,
        pin_memory=device.type == "cuda",
    )  # fmt: skip

    def epoch() -> None:
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
            loss.item()

    return len(split) / _seconds(epoch, device)


def _net(case: Case, device: torch.device) -> nn.Module:
    net = train.build(case.recipe, case.classes, case.size)
    return net.to(device, memory_format=torch.channels_last)


def _seconds(epoch: Callable[[], None], device: torch.device) -> float:
    """Of the second of two epochs, with the device's work done."""
    for _ in range(2):
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        epoch()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - started
