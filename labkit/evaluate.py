"""Scores of a trained network: predictions, top-k accuracy, loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit.data import Split
from labkit.data.batches import batches

# images scored at once: a CPU's fit its caches, and a GPU waits for few launches
BATCH = {"cpu": 250, "cuda": 1000}


def predict(
    net: nn.Module,
    split: Split,
    *,
    normalise: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    bf16: bool = False,
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
