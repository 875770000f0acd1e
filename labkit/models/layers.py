"""The few layers and initialisations that the families share."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


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


class Dropout(nn.Dropout):
    """Dropout at a fifth of PyTorch's cost on a CPU, where random numbers are drawn one by one.

    Here 64 bits from torch's global generator decide on as many numbers as fill them: on four in
    bfloat16, whose rate is then `p` rounded to a multiple of 1/65536. What is kept is scaled by
    1 / (1 - p). Other devices use PyTorch's own fused kernel.
    """

    def forward(self, x: Tensor) -> Tensor:
        width = 8 * x.element_size()
        drop = round(self.p * 2**width)  # of the 2**width integers
        if not self.training or x.device.type != "cpu" or not 0 < drop < 2**width:
            return super().forward(x)
        whole = _INTEGERS[x.element_size()]
        like = torch.empty_like(x, device="meta")  # dense, in the order of x's memory
        bits = torch.empty(-(-x.numel() * width // 64), dtype=torch.int64).random_(-(2**63), None)
        bits = bits.view(whole).as_strided(like.shape, like.stride())
        scale = torch.tensor(1 / (1 - self.p), dtype=x.dtype).view(whole)
        # kept or not as the integer 1 or 0, times the scale's own bits: a vectorised float mask
        return x * bits.ge_(drop - 2 ** (width - 1)).mul_(scale).view(x.dtype)


_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose narrow layers train several times faster on a CPU.

    There PyTorch works on as many numbers at once as a pixel has channels, and a vector holds 16.
    Of fewer channels, 16 pixels that lie side by side in memory are read as one pixel with 16
    times the channels, and what was counted apart is joined. The sums are those of PyTorch; a
    gradient in bfloat16 is rounded once more.
    """

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.numel() // self.num_features
        fold = math.gcd(pixels, VECTOR)
        narrow = self.num_features < VECTOR and fold > 1 and x.device.type == "cpu"
        if not (narrow and self.training and x.is_contiguous(memory_format=torch.channels_last)):
            return super().forward(x)
        y, mean, variance = _FoldedNorm.apply(x, self.weight, self.bias, self.eps, fold)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (pixels / (pixels - 1)), self.momentum)
        return y


VECTOR = 16  # fp32 numbers in the widest vector of today's CPUs


class _FoldedNorm(torch.autograd.Function):
    """x [B, C, H, W], which is normalised, with the means and variances [C] of this batch."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, fold: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        unused = weight.new_zeros(fold * len(weight))  # its type is that of the results
        counted = torch.batch_norm_update_stats(_folded(x, fold), unused, unused, 0.0)
        means, variances = (each.view(fold, -1) for each in counted)
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        ctx.eps, ctx.fold = eps, fold
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.mark_non_differentiable(mean, variance)
        return _normalise(x, mean, variance, weight, bias, eps, fold), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            _folded(given, ctx.fold), _folded(x, ctx.fold), None, mean.repeat(ctx.fold),
            variance.repeat(ctx.fold), None, None, False, ctx.eps, [False, True, True],
        )  # fmt: skip
        by_weight, by_bias = (each.view(ctx.fold, -1).sum(0) for each in (by_weight, by_bias))
        # the gradient is scale * (given - by_bias / n - normalised x * by_weight / n)
        scale, n = weight / (variance + ctx.eps).sqrt(), x.numel() // len(mean)
        by_x = _normalise(
            x, mean, variance, -scale * by_weight / n, -scale * by_bias / n, ctx.eps, ctx.fold
        )
        zero, one = torch.zeros_like(mean), torch.ones_like(mean)
        by_x += _normalise(given, zero, one, scale, zero, 0.0, ctx.fold)
        return by_x, by_weight, by_bias, None, None


def _normalise(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float, fold: int
) -> Tensor:
    """x [B, C, H, W] with given statistics and factors [C]."""
    numbers = (each.repeat(fold) for each in (weight, bias, mean, variance))
    # written into `y` because autograd lets no view that is made here be changed in place
    y = torch.empty(x.shape, dtype=x.dtype, memory_format=torch.channels_last)
    out = (_folded(y, fold), mean.new_empty(0), mean.new_empty(0))
    torch.native_batch_norm(_folded(x, fold), *numbers, False, 0.0, eps, out=out)
    return y


def _folded(x: Tensor, fold: int) -> Tensor:
    """[B, C, H, W] -> [B * H * W / fold, fold * C]: a view where channels lie last."""
    x = x.contiguous(memory_format=torch.channels_last)
    return x.permute(0, 2, 3, 1).view(-1, fold * x.shape[1])


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
    pre-activated tensor; elsewhere it is the input itself. `keras` asks for Keras's batch
    normalisation and padding.
    """

    def __init__(
        self,
        before: int,
        width: int,
        stride: int = 1,
        *,
        keras: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        norm = keras_norm if keras else nn.BatchNorm2d
        self.activate = nn.Sequential(norm(before), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(
            conv3x3(before, width, stride, same=keras, bias=False),
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


def stage(block, before: int, width: int, blocks: int, stride: int, **options) -> nn.Sequential:
    """`blocks` blocks in a row; the first one changes width and size."""
    first = block(before, width, stride, **options)
    return nn.Sequential(first, *(block(width, width, **options) for _ in range(blocks - 1)))


def pooled_head(width: int, classes: int) -> nn.Sequential:
    """Global average pooling, then one dense layer."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))
