"""What a trained network knows: predictions, top-k accuracy, loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.data import Split
from labkit.data.batches import batches
from labkit.train.device import kernel_search
from labkit.train.folder import History

__all__ = ["BATCH", "IMAGENET", "Numerics", "Outcome", "Statistics", "predict", "score"]

# images scored at once: a CPU's fit its caches, and a GPU waits for few launches
BATCH = {"cpu": 250, "cuda": 1000}
Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # (mean, std), a channel each
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Numerics:
    """How a run reckons: what its images are normalised by, in which precision, on which threads.

    `rates` are the images a second by which the precision and the threads were chosen.
    """

    normalise: Statistics | None = None  # None leaves pixels in [0, 1]
    bf16: bool = False  # of training; scores are always in fp32
    threads: int = 0  # 0: as many as PyTorch has
    rates: Mapping[str, float] = field(default_factory=dict)

    def judge(self, net: nn.Module, split: Split) -> Tensor:
        """`predict` on images normalised as in training."""
        return predict(net, split, normalise=self.normalise)


@dataclass(frozen=True)
class Outcome:
    """What a training leaves for its record: `logits` and `labels` are those of the test images."""

    net: nn.Module
    history: History
    logits: Tensor  # [N, classes]
    labels: Tensor  # int64 [N]
    details: dict[str, Any]
    train_clean: dict[str, Any] | None = None  # scores of the training images


def predict(net: nn.Module, split: Split, *, normalise: Statistics | None = None) -> Tensor:
    """Logits of every image of a split, float32 [N, classes], on the split's device.

    Always in fp32: in bfloat16 one image in seventy has two classes that tie for the first place.
    `normalise` is (mean, std) as in training; `net` is left in evaluation mode.
    """
    net.eval()
    outputs = []
    with torch.inference_mode():
        size = BATCH[split.images.device.type]
        for x, _ in batches(split, size, shuffle=False, normalise=normalise):
            with kernel_search(len(x) == size):
                outputs.append(net(x))
    return torch.cat(outputs)


def score(logits: Tensor, labels: Tensor) -> dict[str, float | int]:
    """Cross-entropy and accuracies (fractions) of logits [N, C] against labels [N]."""
    # where logits tie, a stable order puts argmax's choice first; topk might not
    ranked = logits.sort(dim=1, descending=True, stable=True).indices  # [N, C]
    best = ranked[:, :5] == labels[:, None]  # [N, 5]
    return {
        "loss": F.cross_entropy(logits.double(), labels).item(),
        "top1": best[:, :1].any(1).double().mean().item(),
        "top3": best[:, :3].any(1).double().mean().item(),
        "top5": best.any(1).double().mean().item(),
        "images": len(labels),
    }
