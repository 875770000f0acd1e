"""Wide residual networks (Zagoruyko and Komodakis 2016, arXiv:1605.07146)."""

from __future__ import annotations

from torch import nn

from labkit.models.layers import PreActBlock, he_normal, keras_norm, named, pooled_head, stage

__all__ = ["wide_resnet"]


def _quick_norm(channels: int) -> nn.BatchNorm2d:
    norm = keras_norm(channels, momentum=0.1, eps=1e-5)
    nn.init.uniform_(norm.weight, -0.05, 0.05)
    return norm


def wide_resnet(
    classes: int,
    *,
    depth: int,
    k: int,
    channels: int = 3,
    dropout: float = 0.0,
    quick_norm: bool = False,
) -> nn.Sequential:
    """WRN-depth-k: three stages of N = (depth - 4) / 6 blocks, 16k, 32k and 64k wide.

    Paper: Zagoruyko, Komodakis 2016, arXiv:1605.07146. Idea: spend parameters on width, which a
    GPU uses well, and not on depth. Made for 32x32 pixels; BN, padding and initialisation
    (he_normal) are Keras's, as report 003 works in Keras. `dropout` sits between the two
    convolutions of a block. `quick_norm` takes the BN of a public Keras implementation that is
    called by the same N and k (github.com/titu1994/Wide-Residual-Networks): Keras's momentum at
    0.1, eps at 1e-5, gamma drawn from U(-0.05, 0.05). Layers and parameters there are the same.
    Parameters, trainable, for 100 classes: 703,284 (16-2), 2,772,020 (16-4), 11,007,540 (16-8),
    43,870,772 (16-16), 1,479,220 (28-2), 5,872,180 (28-4), 36,536,884 (28-10). Published on
    CIFAR-100: 80.75 % for 28-10 (authors), 42 to 46 % for the others (report 003, early stopped).
    """
    blocks = (depth - 4) // 6
    norm = _quick_norm if quick_norm else keras_norm
    options = {"norm": norm, "same": True, "dropout": dropout}
    return he_normal(
        named(
            stem=nn.Conv2d(channels, 16, 3, padding=1, bias=False),
            stage1=stage(PreActBlock, 16, 16 * k, blocks, 1, **options),
            stage2=stage(PreActBlock, 16 * k, 32 * k, blocks, 2, **options),
            stage3=stage(PreActBlock, 32 * k, 64 * k, blocks, 2, **options),
            activate=nn.Sequential(norm(64 * k), nn.ReLU(inplace=True)),
            head=pooled_head(64 * k, classes),
        )
    )
