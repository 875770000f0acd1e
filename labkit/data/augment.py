"""Augmentation: functions from a batch of images to a batch of images of the same shape.

Each takes float images [B, 3, H, W] in [0, 1] and a generator on the same device, draws for every
image anew and from that generator only, runs as a few batched tensor operations and never waits
for the device. `AUGMENTS` names the pipelines; "set1+set2" in a recipe is the union of two.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from labkit.parameters import InputError

Augment = Callable[[Tensor, Generator], Tensor]


def none(images: Tensor, generator: Generator | None = None) -> Tensor:
    return images


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror left and right with probability 1/2."""
    return _flip(images, generator, 3)


def crop_flip(images: Tensor, generator: Generator) -> Tensor:
    """Pad by 4 black pixels, cut out a random window of the old size, mirror with probability 1/2.

    The pipeline of most CIFAR papers: RandomCrop(32, padding=4), RandomHorizontalFlip().
    """
    size, device = len(images), images.device
    windows = F.pad(images, (4, 4, 4, 4)).unfold(2, images.shape[2], 1)
    windows = windows.unfold(3, images.shape[3], 1)  # [B, 3, 9, 9, H, W], a view
    top, left = torch.randint(0, 9, (2, size), generator=generator, device=device)
    return flip(windows[torch.arange(size, device=device), :, top, left], generator)


def rotate20_flip(images: Tensor, generator: Generator) -> Tensor:
    """Rotate by up to 20 degrees either way, mirror with probability 1/2 (the source of MBN).

    As Keras' ImageDataGenerator(rotation_range=20, horizontal_flip=True): about the centre,
    bilinear, and what comes in from outside repeats the edge.
    """
    turned = _warp(images, _rotation(images, 20.0, generator), "bilinear", "border")
    return flip(turned, generator)


def passes(name: str) -> list[str]:
    """The pipelines of an augmentation by name: "set1+set2" -> ["set1", "set2"].

    Raises:
        InputError: one of them does not exist.
    """
    names = name.split("+")
    for part in names:
        if part not in AUGMENTS:
            near = difflib.get_close_matches(part, AUGMENTS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(
                f"no augmentation is called {part!r}; {hint}there are {', '.join(AUGMENTS)},"
                " and unions of them such as 'set1+set2'"
            )
    return names


def _flip(images: Tensor, generator: Generator, dim: int) -> Tensor:
    return torch.where(_coin(images, generator), images.flip(dim), images)


def _coin(images: Tensor, generator: Generator) -> Tensor:
    """bool [B, 1, 1, 1], true with probability 1/2."""
    heads = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return heads.view(-1, 1, 1, 1)


def _rotation(images: Tensor, degrees: float, generator: Generator) -> Tensor:
    """[B, 2, 3]: rotations by U(-degrees, degrees), for `_warp`; images must be square."""
    uniform = torch.rand(len(images), generator=generator, device=images.device)
    angle = (2 * uniform - 1) * math.radians(degrees)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)


def _warp(images: Tensor, transform: Tensor, mode: str, padding: str) -> Tensor:
    """Sample every image where `transform` [B, 2, 3] sends its pixels.

    Coordinates run from -1 to 1 between the outer edges of the image, so 0 is its centre.
    """
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)  # [B, H, W, 2]
    return F.grid_sample(images, grid, mode=mode, padding_mode=padding, align_corners=False)


AUGMENTS: dict[str, Augment] = {
    "none": none,
    "flip": flip,
    "crop_flip": crop_flip,
    "rotate20_flip": rotate20_flip,
}
