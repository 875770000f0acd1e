"""Aggregated transformations: ResNeXt as report 003 builds it and as published, and Res2NeXt."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from labkit.models.layers import (
    Flatten,
    SameConv,
    he_normal,
    kaiming,
    keras_norm,
    named,
    pooled_head,
    stage,
)

__all__ = ["NeXtBlock", "Res2Block", "res2next29", "resnext29", "small_resnext"]

# Report 003: filters of the stem, then for each stage its width and the width it hands on.
SMALL = {
    1: (32, ((32, 16), (16, 8))),
    2: (64, ((64, 32), (32, 16), (16, 8))),
    3: (16, ((16, 8), (8, 4), (4, 4))),
}


class NeXtBlock(nn.Module):
    """1x1, grouped 3x3, 1x1, each with BN; the sum with the shortcut goes through a ReLU.

    The third of the paper's three equivalent forms: `inner` channels in `groups` paths. The
    shortcut is a 1x1 convolution with BN where the shape changes.
    """

    def __init__(
        self,
        before: int,
        width: int,
        stride: int = 1,
        *,
        inner: int,
        groups: int,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(before, inner, 1, bias=False),
            norm(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False),
            norm(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, width, 1, bias=False),
            norm(width),
        )
        self.shortcut = _projection(before, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.shortcut(x))


class Res2Block(nn.Module):
    """The same with the grouped 3x3 replaced by a ladder over `scale` splits.

    Each split's convolution also reads the result of the split before it; the last split passes
    unchanged. Where the stride is 2 the sizes differ, so splits do not add up and the last one is
    averaged.
    """

    def __init__(
        self, before: int, width: int, stride: int = 1, *, inner: int, groups: int, scale: int
    ) -> None:
        super().__init__()
        self.scale, self.ladder = scale, stride == 1
        self.reduce = _conv_norm_relu(before, inner * scale, 1)
        self.splits = nn.ModuleList(
            _conv_norm_relu(inner, inner, 3, stride, groups=groups) for _ in range(scale - 1)
        )
        self.last = nn.Identity() if stride == 1 else nn.AvgPool2d(3, stride, padding=1)
        self.expand = nn.Sequential(
            nn.Conv2d(inner * scale, width, 1, bias=False), nn.BatchNorm2d(width)
        )
        self.shortcut = _projection(before, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        *parts, last = self.reduce(x).chunk(self.scale, dim=1)
        outputs: list[Tensor] = []
        for part, convolve in zip(parts, self.splits, strict=True):
            outputs.append(convolve(part + outputs[-1] if outputs and self.ladder else part))
        joined = torch.cat([*outputs, self.last(last)], dim=1)
        return self.relu(self.expand(joined) + self.shortcut(x))


def _conv_norm_relu(
    before: int, width: int, kernel: int, stride: int = 1, *, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def _projection(before: int, width: int, stride: int) -> nn.Module:
    """The shortcut of a post-activation block."""
    if stride == 1 and before == width:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))


def small_resnext(
    classes: int,
    *,
    number: int,
    reading: str,
    size: int = 32,
    channels: int = 3,
    final_relu: bool = True,
    pooled: bool = True,
) -> nn.Sequential:
    """ResNext1, 2 and 3 of report 003, whose features become fewer from stage to stage.

    Paper: Xie, Girshick, Dollar, Tu, He 2016, arXiv:1611.05431. Idea: many narrow paths in
    parallel instead of one wide one. The report halves the channels after each stage of three
    blocks, by a 3x3 convolution of stride 2, and writes a ReLU behind the last layer
    (`final_relu`). It does not state the paths: reading A splits half of a stage's channels into up
    to 8 paths, reading B has the paper's 32 paths of 4 channels in every stage. Nor does it state
    the head: ours averages each map, as the paper does, and without `pooled` the dense layer reads
    every place of the last map. BN, padding and initialisation (he_normal) are Keras's.
    Parameters, trainable, for 100 classes: 13,108, 49,012 and 4,286 (A), 75,484, 159,772 and
    70,316 (B); not pooled, for images of 32 pixels, 63,508, 61,012 and 10,286 (A). Published on
    CIFAR-100: 28.57 %, 30.5 % and 20.21 % (report 003).
    """
    stem, widths = SMALL[number]
    stages = {}
    for index, (width, after) in enumerate(widths, start=1):
        paths = (width // 2, min(8, width // 2)) if reading == "A" else (128, 32)
        options = {"inner": paths[0], "groups": paths[1], "norm": keras_norm}
        stages[f"stage{index}"] = named(
            blocks=stage(NeXtBlock, width, width, 3, 1, **options), halve=SameConv(width, after)
        )
    features = widths[-1][1]
    if pooled:
        head = pooled_head(features, classes)
    else:
        side = -(-size // 2 ** len(widths))  # each stage halves it, rounding up
        head = nn.Sequential(Flatten(), nn.Linear(features * side**2, classes))
    if final_relu:
        head.append(nn.ReLU(inplace=True))
    start = nn.Conv2d(channels, stem, 3, padding=1, bias=False)
    start = nn.Sequential(start, keras_norm(stem), nn.ReLU(inplace=True))
    return he_normal(named(stem=start, **stages, head=head))


def resnext29(classes: int, *, groups: int, width: int, channels: int = 3) -> nn.Sequential:
    """ResNeXt-29: three stages of three blocks, `groups` paths of `width` channels at first.

    Paper: Xie, Girshick, Dollar, Tu, He 2016, arXiv:1611.05431. Idea: many narrow paths in
    parallel instead of one wide one. For small images the paper itself starts with one 3x3
    convolution and no pooling. torchvision's initialisation.
    Parameters for 100 classes: 34,518,948 (8x64d), 68,247,460 (16x64d), 4,868,004 (32x4d); the
    paper's 34.4 M are 34,426,698 for 10. Published on CIFAR-100: 82.23 % (8x64d, paper, mean of
    10), 83.07 % (16x64d) and 80.50 % (32x4d, both pytorchcv).
    """
    return _cifar29(classes, channels, NeXtBlock, groups * width, groups=groups)


def res2next29(
    classes: int, *, groups: int, width: int, scale: int, channels: int = 3
) -> nn.Sequential:
    """Res2NeXt-29: ResNeXt-29 with each block's channels in `scale` splits that feed each other.

    Paper: Gao et al. 2019, arXiv:1904.01169. Idea: within one block, let some channels see the
    image through several convolutions and others through none. Report 003 announced it and did not
    finish; stem, stages and initialisation are those of ResNeXt-29. Changed: the first block of
    stage 1 has stride 1 and so keeps its ladder; in the authors' code for ImageNet the first block
    of every stage adds no splits up and averages the last one, at the same parameters.
    Parameters for 100 classes: 23,705,732 (6c24w4s), 32,957,436 (8c25w4s), 36,146,180 (6c24w6s).
    Published on CIFAR-100: 80.74 %, 81.33 % and 81.43 % (res2net-pytorch, a reproduction).
    """
    return _cifar29(classes, channels, Res2Block, groups * width, groups=groups, scale=scale)


def _cifar29(
    classes: int, channels: int, block: Callable[..., nn.Module], inner: int, **options: int
) -> nn.Sequential:
    stem = _conv_norm_relu(channels, 64, 3)
    return kaiming(
        named(
            stem=stem,
            stage1=stage(block, 64, 256, 3, 1, inner=inner, **options),
            stage2=stage(block, 256, 512, 3, 2, inner=2 * inner, **options),
            stage3=stage(block, 512, 1024, 3, 2, inner=4 * inner, **options),
            head=pooled_head(1024, classes),
        )
    )
