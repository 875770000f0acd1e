"""Augmentation: functions from a batch of images to a batch of images of the same shape.

Each takes images [B, 3, H, W], uint8 or float in [0, 1], and a generator on the same device, draws
for every image anew and from that generator only, runs as a few batched tensor operations and
never waits for the device. What needs no fractions of a grey level keeps uint8, a quarter of the
memory to move; the rest returns floats. What no draw decides is done once, not in every epoch.
`AUGMENTS` names the pipelines; "set1+set2" in a recipe is the union of two.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from labkit.errors import InputError, unknown

__all__ = [
    "AUGMENTS", "Augment", "crop_flip", "crop_flip_cutout", "cutout", "flip", "flip_shift",
    "flip_shift_cutout", "none", "pipelines", "rotate20_flip", "set2", "unit", "zoom",
]  # fmt: skip

CANDIDATES = 64  # boxes drawn at once by `cutout`
AT_ONCE = 4096  # images that are prepared at once: what is made on the way takes room too


@dataclass(frozen=True)
class Augment:
    """A pipeline: a random part, and before it a fixed one that changes an image alike every time.

    Called, it does both. Who shows the images for many epochs prepares all of them before.
    """

    random: Callable[[Tensor, Generator], Tensor]
    fixed: Callable[[Tensor], Tensor] | None = None

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        return self.random(self.prepare(images), generator)

    def prepare(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W] as `random` wants them: the same ones where nothing is fixed."""
        if self.fixed is None:
            return images
        done = torch.empty_like(images)
        for part, out in zip(images.split(AT_ONCE), done.split(AT_ONCE), strict=True):
            out.copy_(self.fixed(part))
        return done


def unit(images: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1], as torchvision's ToTensor; floats as they are."""
    return images if images.is_floating_point() else images.to(torch.float32).div_(255)


def none(images: Tensor, generator: Generator | None = None) -> Tensor:
    """The images as they are; nothing is drawn."""
    return images


def flip(images: Tensor, generator: Generator, dim: int = 3) -> Tensor:
    """Mirror left and right (dim=2: up and down) with probability 1/2."""
    both = torch.cat([images, images.flip(dim)])
    pick = torch.arange(len(images), device=images.device)
    return both.index_select(0, pick + len(images) * _coin(images, generator))


def crop_flip(images: Tensor, generator: Generator) -> Tensor:
    """Pad by 4 black pixels, cut out a random window of the old size, mirror with probability 1/2.

    The pipeline of most CIFAR papers: RandomCrop(32, padding=4), RandomHorizontalFlip().
    """
    size, device = len(images), images.device
    windows = F.pad(images, (4, 4, 4, 4)).unfold(2, images.shape[2], 1)
    windows = windows.unfold(3, images.shape[3], 1)  # [B, 3, 9, 9, H, W], a view
    top, left = torch.randint(0, 9, (2, size), generator=generator, device=device)
    return flip(windows[torch.arange(size, device=device), :, top, left], generator)


def crop_flip_cutout(images: Tensor, generator: Generator, *, side: int) -> Tensor:
    """`crop_flip`, then paint a square of `side` pixels grey in every image.

    DeVries and Taylor 2017, arXiv:1708.04552, with 8 pixels on CIFAR-100 and 16 on CIFAR-10. The
    centre is any pixel, so a part of the square may lie outside. The paper erases to the mean of
    the training images; ours is 1/2, near every such mean.
    """
    images = unit(crop_flip(images, generator))
    top, left = (
        torch.randint(length, (len(images), 1), generator=generator, device=images.device)
        - side // 2
        for length in images.shape[2:]
    )
    return images.masked_fill(_box(images, left, left + side, top, top + side), 0.5)


def rotate20_flip(images: Tensor, generator: Generator) -> Tensor:
    """Rotate by up to 20 degrees either way, mirror with probability 1/2 (the source of MBN).

    As Keras' ImageDataGenerator(rotation_range=20, horizontal_flip=True): about the centre,
    bilinear, and what comes in from outside repeats the edge.
    """
    return flip(_rotate(images, 20.0, generator, "bilinear", "border"), generator)


def zoom(images: Tensor) -> Tensor:
    """Enlarge the inner 7/8 to the old size; uint8 to the very grey levels that Pillow gives.

    Augmentation set 1 of report 001, RandomHorizontalFlip(), CenterCrop(56), Resize(64) on 64 x 64
    images, is this and a `flip`: an image may as well be mirrored after it is enlarged.
    """
    height, width = images.shape[2:]
    top, left = height // 16, width // 16
    inner = images[:, :, top : height - top, left : width - left]
    return _enlarge(inner, (height, width))


def set2(images: Tensor, generator: Generator) -> Tensor:
    """Augmentation set 2 of report 001: rotate by up to 10 degrees, mirror both ways, blur.

    As RandomRotation(10), RandomHorizontalFlip(), RandomVerticalFlip(), GaussianBlur(5, (0.1, 2))
    with torchvision's defaults: nearest pixel, and black where nothing comes in.
    """
    images = _rotate(images, 10.0, generator, "nearest", "zeros")
    return _blur(flip(flip(images, generator), generator, dim=2), generator)


def flip_shift(images: Tensor, generator: Generator) -> Tensor:
    """Shift by up to a tenth of the side both ways, mirror with probability 1/2 (report 004).

    As Keras' width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True: by fractions of
    a pixel, bilinear, and what comes in from outside repeats the edge.
    """
    shift = torch.rand((2, len(images), 1, 1), generator=generator, device=images.device)
    right, down = 0.4 * shift - 0.2  # a side is 2 units long
    x, y = _coordinates(images)
    return flip(_sample(images, x + right, y + down, "bilinear", "border"), generator)


def flip_shift_cutout(images: Tensor, generator: Generator) -> Tensor:
    """`flip_shift`, then `cutout` (report 004)."""
    return cutout(flip_shift(images, generator), generator)


def cutout(images: Tensor, generator: Generator) -> Tensor:
    """With probability 1/2 paint a box in one random grey (the eraser of report 004).

    Its share of the image is s ~ U(0.02, 0.4), its aspect r ~ U(0.3, 1/0.3), its sides are
    w = int(sqrt(s H W / r)) and h = int(sqrt(s H W r)), its corner is any pixel; a box that does
    not fit is drawn anew, size and all. The grey is U(0, 1), the same for all pixels and channels.

    The first of CANDIDATES boxes that fits is taken, so that no device is waited for: a
    candidate fits with probability 0.3, and all of them fail for less than one image in 10^9,
    which then keeps its pixels.
    """
    images = unit(images)
    size, _, height, width = images.shape
    device = images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, device=device)

    area = uniform(0.02, 0.4, size, CANDIDATES) * (height * width)
    aspect = uniform(0.3, 1 / 0.3, size, CANDIDATES)
    wide, high = (area / aspect).sqrt_().floor_(), (area * aspect).sqrt_().floor_()
    left = uniform(0, width, size, CANDIDATES).floor_()
    top = uniform(0, height, size, CANDIDATES).floor_()
    fits = (left + wide <= width) & (top + high <= height)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)  # 0 where none fits
    edges = (edge.gather(1, first) for edge in (left, left + wide, top, top + high))
    erased = (_coin(images, generator) & fits.any(1)).view(-1, 1, 1, 1)
    return torch.where(_box(images, *edges) & erased, uniform(0, 1, size, 1, 1, 1), images)


def pipelines(name: str) -> list[Augment]:
    """The pipelines of an augmentation by name; "set1+set2" unites two.

    Raises:
        InputError: one of them does not exist.
    """
    names = name.split("+")
    for part in names:
        if part not in AUGMENTS:
            raise InputError(unknown("augmentation", part, AUGMENTS))
    return [AUGMENTS[part] for part in names]


def _box(images: Tensor, left: Tensor, right: Tensor, top: Tensor, bottom: Tensor) -> Tensor:
    """bool [B, 1, H, W]: the pixels between edges [B, 1] of each image."""
    y, x = (torch.arange(length, device=images.device) for length in images.shape[2:])
    rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)
    return rows[:, None, :, None] & columns[:, None, None, :]


def _enlarge(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear; antialiasing acts only where an image shrinks, so here it would change nothing.

    For uint8 the grey levels of Pillow: along the rows, then the columns, each time rounded.
    """
    if images.is_floating_point() or _resizes_bytes(images.device):
        return F.interpolate(images, size, mode="bilinear", align_corners=False)
    for shape in ((images.shape[2], size[1]), size):
        images = _enlarge(images.float(), shape).add_(0.5).floor_()
    return images.to(torch.uint8)


def _resizes_bytes(device: torch.device) -> bool:
    """Whether PyTorch has a kernel there that resizes uint8 as Pillow does."""
    return device.type == "cpu" and "AVX" in torch.backends.cpu.get_cpu_capability()


def _coin(images: Tensor, generator: Generator) -> Tensor:
    """bool [B], true with probability 1/2."""
    return torch.rand(len(images), generator=generator, device=images.device) < 0.5


def _rotate(images: Tensor, limit: float, generator: Generator, mode: str, padding: str) -> Tensor:
    """Rotate square images about their centres by U(-limit, limit) degrees."""
    uniform = torch.rand((len(images), 1, 1), generator=generator, device=images.device)
    angle = (2 * uniform - 1) * math.radians(limit)
    cos, sin = angle.cos(), angle.sin()
    x, y = _coordinates(images)
    return _sample(images, cos * x - sin * y, sin * x + cos * y, mode, padding)


def _coordinates(images: Tensor) -> tuple[Tensor, Tensor]:
    """x [1, 1, W] and y [1, H, 1] of the pixel centres; the outer edges are at -1 and 1."""
    height, width = images.shape[2:]
    x = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=images.device) * 2 + 1) / height - 1
    return x.view(1, 1, -1), y.view(1, -1, 1)


def _sample(images: Tensor, x: Tensor, y: Tensor, mode: str, padding: str) -> Tensor:
    """The images [B, 3, H, W] at the places x, y (both broadcast to [B, H, W])."""
    grid = torch.stack(torch.broadcast_tensors(x, y), -1)  # [B, H, W, 2]
    return F.grid_sample(unit(images), grid, mode=mode, padding_mode=padding, align_corners=False)


def _blur(images: Tensor, generator: Generator) -> Tensor:
    """Gaussian blur with 5 x 5 pixels and sigma ~ U(0.1, 2) for each image, edges reflected."""
    sigma = torch.rand((len(images), 1), generator=generator, device=images.device) * 1.9 + 0.1
    taps = torch.exp(-0.5 * (torch.arange(-2.0, 3.0, device=images.device) / sigma).square())
    taps = taps / taps.sum(1, keepdim=True)
    kernels = taps.unsqueeze(1) * taps.unsqueeze(2)  # [B, 5, 5]
    size, channels, height, width = images.shape
    planes = F.pad(images, (2, 2, 2, 2), mode="reflect").reshape(1, -1, height + 4, width + 4)
    weight = kernels.repeat_interleave(channels, 0).unsqueeze(1)  # each plane has its own
    return F.conv2d(planes, weight, groups=size * channels).reshape(images.shape)


AUGMENTS: dict[str, Augment] = {
    "none": Augment(none),
    "flip": Augment(flip),
    "crop_flip": Augment(crop_flip),
    "crop_flip_cutout8": Augment(functools.partial(crop_flip_cutout, side=8)),
    "crop_flip_cutout16": Augment(functools.partial(crop_flip_cutout, side=16)),
    "rotate20_flip": Augment(rotate20_flip),
    "set1": Augment(flip, fixed=zoom),
    "set2": Augment(set2),
    "flip_shift": Augment(flip_shift),
    "flip_shift_cutout": Augment(flip_shift_cutout),
}
