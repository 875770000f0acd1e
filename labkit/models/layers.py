"""The few layers and initialisations that the families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def keras_norm(channels: int, *, momentum: float = 0.99, eps: float = 1e-3) -> nn.BatchNorm2d:
    """Batch normalisation with Keras's defaults; Keras's momentum is 1 - PyTorch's."""
    return nn.BatchNorm2d(channels, eps=eps, momentum=1 - momentum)


def glorot(net: nn.Module) -> nn.Module:
    """Keras's default for convolutions and dense layers: Glorot-uniform weights, zero biases."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


def he_normal(net: nn.Module) -> nn.Module:
    """Keras's he_normal: normal of variance 2 / fan-in, cut at two deviations; zero biases."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            std = (2 / fan_in) ** 0.5 / 0.87962566103423978  # the cut shrinks the deviation
            nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


class SamePool(nn.Module):
    """Max-pooling 3x3 with stride 2 as TensorFlow's "same": it pads right and bottom only."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)
