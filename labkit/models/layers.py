"""The few layers and initialisations that the families share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from labkit.models.fast_cpu import BatchNorm2d, Dropout

__all__ = [
    "Dropout", "Flatten", "PreActBlock", "SameConv", "conv3x3", "glorot", "he_normal", "kaiming",
    "keras_norm", "named", "pooled_head", "stage",
]  # fmt: skip


def named(**parts: nn.Module) -> nn.Sequential:
    """A sequence whose parts have names, so that `print(net)` reads like the paper's table."""
    return nn.Sequential(OrderedDict(parts))


def keras_norm(channels: int, *, momentum: float = 0.99, eps: float = 1e-3) -> nn.BatchNorm2d:
    """Batch normalisation with Keras's defaults; Keras's momentum is 1 - PyTorch's."""
    return BatchNorm2d(channels, eps=eps, momentum=1 - momentum)


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


def kaiming(net: nn.Module) -> nn.Module:
    """torchvision's ResNet initialisation: normal weights by fan-out for every convolution."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


class Flatten(nn.Module):
    """[B, C, H, W] -> [B, H * W * C] in Keras's order: a view where channels lie last, no copy."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class SameConv(nn.Conv2d):
    """A 3x3 convolution of stride 2 as TensorFlow's "same": an even map is padded at its end.

    PyTorch's padding=1 would look one pixel further up and left. An odd map is padded all around,
    which is the same in both.
    """

    def __init__(self, before: int, width: int, *, bias: bool = True) -> None:
        super().__init__(before, width, 3, stride=2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        odd_height, odd_width = (side % 2 for side in x.shape[-2:])
        return super().forward(F.pad(x, (odd_width, 1, odd_height, 1)))


def conv3x3(before: int, width: int, stride: int = 1, *, same: bool, bias: bool) -> nn.Conv2d:
    """A padded 3x3 convolution; `same` pads as TensorFlow does where the stride is 2."""
    if same and stride == 2:
        return SameConv(before, width, bias=bias)
    return nn.Conv2d(before, width, 3, stride, padding=1, bias=bias)


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each behind its own BN and ReLU (He et al. 2016, arXiv:1603.05027).

    Nothing follows the addition. Where the shape changes, the shortcut is a 1x1 convolution of the
    pre-activated tensor; elsewhere it is the input itself. `same` pads as TensorFlow does.
    """

    def __init__(
        self,
        before: int,
        width: int,
        stride: int = 1,
        *,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        same: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.activate = nn.Sequential(norm(before), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(
            conv3x3(before, width, stride, same=same, bias=False),
            norm(width),
            nn.ReLU(inplace=True),
            *([Dropout(dropout)] if dropout else []),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        changes = stride != 1 or before != width
        self.shortcut = nn.Conv2d(before, width, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        a = self.activate(x)
        return self.branch(a) + (x if self.shortcut is None else self.shortcut(a))


def stage(
    block: Callable[..., nn.Module],
    before: int,
    width: int,
    blocks: int,
    stride: int,
    **options: object,
) -> nn.Sequential:
    """`blocks` blocks in a row; the first one changes width and size."""
    first = block(before, width, stride, **options)
    return nn.Sequential(first, *(block(width, width, **options) for _ in range(blocks - 1)))


def pooled_head(width: int, classes: int) -> nn.Sequential:
    """Global average pooling, then one dense layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
