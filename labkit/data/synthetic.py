"""Stand-ins for the real data sets: drawn by code, with their shapes, classes and hierarchy.

An image shows one figure before a striped ground. A family of classes (the superclass, where the
set has one) decides colours and ground; the class within its family decides the outline (how many
lobes) and what fills it (how many rings). Pose, colours, light, noise and a clutter of
discs vary from image to image, so that the colours alone do not give the class away, nor does any
single pixel. No class depends on left and right, or on a small rotation.

Nothing here resembles a real image: a score on a stand-in says that code runs and learns, no more.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from labkit.data.catalogue import CATALOGUE, Entry
from labkit.data.dataset import Data, Split

__all__ = ["NAMES", "SOURCE", "TEST", "TRAIN", "draw"]

SOURCE = "drawn by labkit (synthetic stand-in, not real images)"
Uniform = Callable[..., Tensor]  # (low, high, *shape) -> random numbers; [B, 1, 1] without a shape
CHUNK = 256  # images drawn at a time, small enough to stay in the cache of a core

NAMES = tuple(f"synthetic_{name}" for name in CATALOGUE)
TRAIN, TEST = 10_000, 2_000  # images, as many of each class
_ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")


@functools.cache
def draw(name: str) -> Data:
    """The stand-in `name`, always the same; drawn once in a process, so leave its tensors as is."""
    entry = CATALOGUE[name.removeprefix("synthetic_")]
    families = _families(entry)
    train, test = (
        _split(families, entry.side, count // len(families), Generator().manual_seed(seed))
        for seed, count in ((2024, TRAIN), (2025, TEST))
    )
    pixels = train.images[::8].float() / 255
    return dataclasses.replace(
        entry.data(train, test, SOURCE),
        name=name,
        mean=tuple(round(v, 4) for v in pixels.mean((0, 2, 3)).tolist()),
        std=tuple(round(v, 4) for v in pixels.std((0, 2, 3)).tolist()),
        synthetic=True,
        published=(TRAIN, TEST),
    )


def _families(entry: Entry) -> Tensor:
    """int64 [classes, 2]: the family of each class and its place in the family."""
    classes = entry.classes
    if entry.superclasses:
        families = list(entry.superclasses.values())
    elif entry.name == "cifar10":
        families = [_ANIMALS, [c for c in classes if c not in _ANIMALS]]
    else:
        families = [classes[i : i + 10] for i in range(0, len(classes), 10)]
    place = {
        member: (family, rank)
        for family, members in enumerate(families)
        for rank, member in enumerate(members)
    }
    return torch.tensor([place[c] for c in classes])


def _split(families: Tensor, side: int, each: int, generator: Generator) -> Split:
    labels = torch.arange(len(families)).repeat(each)
    images = torch.empty(len(labels), 3, side, side, dtype=torch.uint8)
    for start in range(0, len(labels), CHUNK):
        part = slice(start, start + CHUNK)
        images[part] = _images(families[labels[part]], side, generator)
    return Split(images, labels)


def _images(kind: Tensor, side: int, generator: Generator) -> Tensor:
    """kind int64 [B, 2] (family, place in it) -> uint8 [B, 3, side, side]."""
    size = len(kind)
    family, place = (column.float().view(-1, 1, 1) for column in kind.T)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        shape = shape or (size, 1, 1)
        return low + (high - low) * torch.rand(shape, generator=generator)

    axis = (torch.arange(side) + 0.5) * (2 / side) - 1
    y, x = axis.view(1, -1, 1), axis.view(1, 1, -1)
    ground = _waves(x, y, 4 + 1.7 * (family % 4), 0.8 * (family % 3) + uniform(-0.2, 0.2), uniform)
    figure, inside = _figure(x, y, place, uniform)
    inside = inside * (1 - _disc(x, y, uniform)) * (1 - _disc(x, y, uniform))

    hue = family * 0.618 + uniform(-0.09, 0.09)
    back = _colour(hue, uniform(0.15, 0.45), uniform(0.1, 0.3))  # [B, 3, 1, 1]
    hue = hue + 0.3 + 0.09 * place + uniform(-0.1, 0.1)
    front = _colour(hue, uniform(0.4, 0.7), uniform(0.15, 0.35))
    shade = torch.lerp(0.1 * ground, 0.25 * figure, inside).unsqueeze(1)
    images = torch.lerp(back, front, inside.unsqueeze(1)).add_(shade)
    images.add_(uniform(-0.5, 0.5, *images.shape), alpha=0.15)
    images.mul_(uniform(0.75, 1.2, size, 1, 1, 1)).add_(uniform(-0.1, 0.1, size, 1, 1, 1))
    return images.clamp_(0, 1).mul_(255).to(torch.uint8)


def _figure(x: Tensor, y: Tensor, place: Tensor, uniform: Uniform) -> tuple[Tensor, Tensor]:
    """Rings in [-1, 1] and a soft mask in [0, 1] of a lobed figure, each [B, H, W]."""
    x, y = x - uniform(-0.3, 0.3), (y - uniform(-0.3, 0.3)) * uniform(0.8, 1.25)
    radius = (x.square() + y.square()).sqrt_()
    lobes = 2 + place % 5
    rim = (torch.atan2(y, x).mul_(lobes) + uniform(-math.pi, math.pi)).cos_()
    rim.mul_(uniform(0.3, 0.4)).add_(1).mul_(uniform(0.5, 0.7))
    density = 7 + 5 * (place // 5) + 1.5 * (place % 2)
    rings = (radius * (density * uniform(0.9, 1.1)) + uniform(-math.pi, math.pi)).sin_()
    return rings, (rim - radius).mul_(9).sigmoid_()


def _waves(x: Tensor, y: Tensor, density: Tensor, angle: Tensor, uniform: Uniform) -> Tensor:
    """Stripes in [-1, 1], [B, H, W]; `angle` is from the vertical, to either side."""
    side = uniform(-1, 1).sign_()
    density = density * uniform(0.85, 1.15)
    phase = uniform(-math.pi, math.pi)
    return (x * (density * angle.cos()) + (y * (density * angle.sin() * side) + phase)).sin_()


def _disc(x: Tensor, y: Tensor, uniform: Uniform) -> Tensor:
    """A soft disc in [0, 1], [B, H, W], that hides part of the figure."""
    dx, dy = x - uniform(-1, 1), y - uniform(-1, 1)
    return (uniform(0, 0.12) - dx.square() - dy.square()).mul_(9).sigmoid_()


def _colour(hue: Tensor, light: Tensor, strength: Tensor) -> Tensor:
    """Colours [B, 3, 1, 1] around a circle of hues."""
    thirds = torch.tensor([0.0, 1 / 3, 2 / 3]).view(1, 3, 1, 1)
    wave = (2 * math.pi * (hue.unsqueeze(1) + thirds)).cos_()
    return light.unsqueeze(1) + strength.unsqueeze(1) * (1 + wave)
