"""Residual networks with full pre-activation (He et al. 2016, arXiv:1603.05027)."""

from __future__ import annotations

from torch import nn

from labkit.models.layers import PreActBlock, kaiming, named, pooled_head, stage

__all__ = ["preact_resnet34", "preresnet"]


def preresnet(classes: int, *, depth: int, channels: int = 3) -> nn.Sequential:
    """The CIFAR pre-activation ResNet of depth 6n + 2: three stages, 16, 32 and 64 wide.

    Paper: He, Zhang, Ren, Sun 2016, arXiv:1603.05027. Idea: BN and ReLU come before each
    convolution, so that the shortcut stays a clean sum. For small images the paper itself starts
    with one 3x3 convolution and no pooling. torchvision's initialisation.
    Parameters for 100 classes: 278,132 at depth 20, 666,996 at 44 (662,641 for 33 classes),
    861,428 at 56, 1,736,372 at 110; depth 44 is what fits report 000's memory table. Published on
    CIFAR-100 (pytorchcv): 69.78 % at depth 20, 74.95 % at 56, 77.33 % at 110.
    """
    blocks = (depth - 2) // 6
    return kaiming(
        named(
            stem=nn.Conv2d(channels, 16, 3, padding=1, bias=False),
            stage1=stage(PreActBlock, 16, 16, blocks, 1),
            stage2=stage(PreActBlock, 16, 32, blocks, 2),
            stage3=stage(PreActBlock, 32, 64, blocks, 2),
            activate=nn.Sequential(nn.BatchNorm2d(64), nn.ReLU(inplace=True)),
            head=pooled_head(64, classes),
        )
    )


def preact_resnet34(classes: int, *, channels: int = 3) -> nn.Sequential:
    """ResNet-34 with full pre-activation and the ImageNet stem, as report 001 has it.

    Paper: He, Zhang, Ren, Sun 2016, arXiv:1603.05027. Idea: as above, in ResNet-34's layout.
    Nothing is changed for small images: the 7x7 stem and its pooling leave 16x16 of 64x64 pixels.
    The stem has BN and ReLU, and a last BN and ReLU stand before the pooling; torchvision's
    initialisation.
    Parameters: 21,385,608 for 200 classes. Published on Tiny-ImageNet: 48 % after 20 epochs
    (report 001).
    """
    stem = nn.Sequential(
        nn.Conv2d(channels, 64, 7, 2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1),
    )
    return kaiming(
        named(
            stem=stem,
            stage1=stage(PreActBlock, 64, 64, 3, 1),
            stage2=stage(PreActBlock, 64, 128, 4, 2),
            stage3=stage(PreActBlock, 128, 256, 6, 2),
            stage4=stage(PreActBlock, 256, 512, 3, 2),
            activate=nn.Sequential(nn.BatchNorm2d(512), nn.ReLU(inplace=True)),
            head=pooled_head(512, classes),
        )
    )
