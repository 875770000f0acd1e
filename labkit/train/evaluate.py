"""What a trained network knows: predictions, top-k accuracy, loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.data import Data, Split
from labkit.data.batches import batches
from labkit.recipe import Recipe

__all__ = ["BATCH", "IMAGENET", "Numerics", "Outcome", "Statistics", "autocast", "predict", "score"]

# images scored at once: a CPU's fit its caches, and a GPU waits for few launches
BATCH = {"cpu": 250, "cuda": 1000}
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # (mean, std), a channel each
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Numerics:
    """How a run reckons: what its images are normalised by, and whether in bfloat16."""

    normalise: Statistics | None = None  # None leaves pixels in [0, 1]
    bf16: bool = False

    @classmethod
    def of(cls, recipe: Recipe, data: Data, *, bf16: bool) -> Numerics:
        """As the recipe says, with the statistics of its data."""
        known = {"unit": None, "imagenet": IMAGENET, "standard": (data.mean, data.std)}
        return cls(known[recipe.normalise], bf16)

    def judge(self, net: nn.Module, split: Split) -> Tensor:
        """`predict` as this run does it."""
        return predict(net, split, normalise=self.normalise, bf16=self.bf16)


@dataclass(frozen=True)
class Outcome:
    """What a training leaves for its record: `logits` and `labels` are those of the test images."""

    net: nn.Module
    history: list[dict[str, Any]]
    logits: Tensor  # [N, classes]
    labels: Tensor  # int64 [N]
    test: dict[str, Any]  # their scores
    details: dict[str, Any]
    resumed: int
    train_clean: dict[str, Any] | None = None
    peak_memory_mb: float = 0.0  # of what was trained before and elsewhere


def predict(
    net: nn.Module, split: Split, *, normalise: Statistics | None = None, bf16: bool = False
) -> Tensor:
    """Logits of every image of a split, float32 [N, classes], on the split's device.

    `normalise` is (mean, std) as in training; `net` is left in evaluation mode.
    """
    net.eval()
    outputs = []
    with torch.inference_mode():
        size = BATCH[split.images.device.type]
        for x, _ in batches(split, size, shuffle=False, normalise=normalise):
            with autocast(x.device, bf16):
                logits = net(x)
            outputs.append(logits.float())
    return torch.cat(outputs)


def score(logits: Tensor, labels: Tensor) -> dict[str, float | int]:
    """Cross-entropy and accuracies (fractions) of logits [N, C] against labels [N]."""
    # bfloat16 logits often tie: a stable order puts argmax's choice first, topk might not
    ranked = logits.sort(dim=1, descending=True, stable=True).indices  # [N, C]
    best = ranked[:, :5] == labels[:, None]  # [N, 5]
    return {
        "loss": F.cross_entropy(logits.double(), labels).item(),
        "top1": best[:, :1].any(1).double().mean().item(),
        "top3": best[:, :3].any(1).double().mean().item(),
        "top5": best.any(1).double().mean().item(),
        "images": len(labels),
    }


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)
