"""The Residual Attention Network, thinned for CIFAR-10 as report 004 trains it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labkit.models.layers import conv3x3, glorot, keras_norm, named

__all__ = ["Attention", "Unit", "residual_attention"]


class Unit(nn.Module):
    """A pre-activation bottleneck: 1x1 to a quarter of the output, 3x3, 1x1 back.

    The 3x3 convolution has a bias, as in the report. A shortcut that changes shape is a 1x1
    convolution of the pre-activated input.
    """

    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        super().__init__()
        narrow = width // 4
        self.activate = nn.Sequential(keras_norm(before), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(
            nn.Conv2d(before, narrow, 1, bias=False),
            keras_norm(narrow),
            nn.ReLU(inplace=True),
            conv3x3(narrow, narrow, stride, same=True, bias=True),
            keras_norm(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, width, 1, bias=False),
        )
        changes = stride != 1 or before != width
        self.shortcut = nn.Conv2d(before, width, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        a = self.activate(x)
        return self.branch(a) + (x if self.shortcut is None else self.shortcut(a))


class Attention(nn.Module):
    """A stage's attention: a trunk T, and a mask M in (0, 1) of T's shape; it gives (1 + M) T.

    The mask branch shrinks the map `levels` times, grows it back, and in the stages that shrink it
    adds the trunk before its head. The sub-module `mask` gives M: a forward hook on it reads it.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.enter, self.leave = Unit(width, width), Unit(width, width)
        self.trunk = nn.Sequential(Unit(width, width), Unit(width, width))
        if levels == 2:
            self.down, self.skip = Unit(width, width), Unit(width, width)
            self.up = Unit(width, width)
        self.middle = nn.Sequential(Unit(width, width), Unit(width, width))
        self.mask = nn.Sequential(
            keras_norm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1, bias=False),
            keras_norm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1, bias=False),
            nn.Sigmoid(),
        )
        # on an even map, rounding up is TensorFlow's "same": the last window is cut
        self.shrink = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        trunk = self.trunk(x)
        return self.leave(torch.addcmul(trunk, trunk, self.mask(self.look(x, trunk))))

    def look(self, x: Tensor, trunk: Tensor) -> Tensor:
        """What the mask's head reads, of the trunk's shape."""
        if self.levels == 0:
            return self.middle(x)
        if self.levels == 1:
            return self.grow(self.middle(self.shrink(x))) + trunk
        down = self.down(self.shrink(x))
        wide = self.grow(self.middle(self.shrink(down))) + down + self.skip(down)
        return self.grow(self.up(wide)) + trunk


def residual_attention(
    classes: int, *, times: int = 1, final_units: int = 1, channels: int = 3, attention: bool = True
) -> nn.Sequential:
    """Residual Attention Network of three stages, `times` as wide as report 004's.

    Paper: Wang et al. 2017, arXiv:1704.06904. Idea: each stage learns where to look, as a mask
    that multiplies its own features by 1 to 2. Changed for small images: a 3x3 stem without
    pooling, and fewer, thinner units. The dropout of 0.2 sits on the logits, as in the report's
    code; BN, padding and initialisation are Keras's. `attention=False` leaves out the masks.
    A stage's mask [B, C, H, W] is the output of `stage1.attention.mask`, and so on.
    Parameters, running statistics included: 396,810 (389,258 trainable); 1,549,482 at twice the
    width; 7,238,122 at four times, where the report's 7.2 M ask for one more final unit.
    Published on CIFAR-10: 92.01 % (best of 250 epochs), 94.56 % at four times the width.
    """
    a, b, c, d = (times * width for width in (32, 64, 128, 256))
    final = (Unit(d, d) for _ in range(final_units))
    return glorot(
        named(
            stem=nn.Sequential(
                nn.Conv2d(channels, 32, 3, padding=1, bias=False),
                keras_norm(32),
                nn.ReLU(inplace=True),
            ),
            stage1=_stage(32, a, 1, levels=2 if attention else None),
            stage2=_stage(a, b, 2, levels=1 if attention else None),
            stage3=_stage(b, c, 2, levels=0 if attention else None),
            stage4=nn.Sequential(Unit(c, d), *final),
            activate=nn.Sequential(keras_norm(d), nn.ReLU(inplace=True)),
            head=nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(d, classes, 1),
                nn.Flatten(),
                nn.Dropout(0.2),
            ),
        )
    )


def _stage(before: int, width: int, stride: int, *, levels: int | None) -> nn.Sequential:
    """A unit that changes the shape, then attention, or without `levels` its trunk alone."""
    enter = Unit(before, width, stride)
    if levels is None:
        return named(unit=enter, trunk=nn.Sequential(*(Unit(width, width) for _ in range(4))))
    return named(unit=enter, attention=Attention(width, levels))
