"""All weights of a network in bfloat16 at once, as autocast makes them one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

__all__ = ["cast_together"]


def cast_together(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """The forward pass of `net` for autocast to bfloat16, with two kernels less for each weight.

    Autocast launches one to round a weight and one to bring its gradient back to float32. Here all
    weights of convolutions and dense layers share both, and every number stays the same.
    """
    weights = {
        f"{layer}.{name}".lstrip("."): weight
        for layer, module in net.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
        for name, weight in module.named_parameters(recurse=False)
    }

    def forward(x: Tensor) -> Tensor:
        rounded = _Rounded.apply(*weights.values())
        return functional_call(net, dict(zip(weights, rounded, strict=True)), x)

    return forward


class _Rounded(torch.autograd.Function):
    """float32 tensors in bfloat16, whose gradients are float32 again."""

    @staticmethod
    def forward(ctx: Any, *weights: Tensor) -> tuple[Tensor, ...]:
        return _converted(weights, torch.bfloat16)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return _converted(gradients, torch.float32)


def _converted(tensors: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    copies = [torch.empty_like(tensor, dtype=dtype) for tensor in tensors]
    torch._foreach_copy_(copies, tensors)
    return tuple(copies)
