"""Records as a run would leave them, from a few numbers and a seed."""

import base64
import math
import zlib

import numpy as np


def packed(classes) -> str:
    return base64.b64encode(zlib.compress(np.asarray(classes, np.uint8).tobytes())).decode()


def forged(row="002-M1", top1=0.4, *, seed=0, epochs=6, classes=10, images=2000, **changes):
    """A record whose test accuracy is exactly `top1` rounded to whole images."""
    rng = np.random.default_rng([seed, int(1e6 * top1)])
    labels = np.arange(images) % classes
    wrong = np.random.default_rng(7).permutation(images)[round(top1 * images) :]
    predictions = labels.copy()
    predictions[wrong] = (labels[wrong] + rng.integers(1, 3, len(wrong))) % classes
    top1 = float((predictions == labels).mean())
    rows = []
    for epoch in range(1, epochs + 1):
        part = 1 - math.exp(-3 * epoch / epochs)
        rows.append(
            {"epoch": epoch, "lr": 1e-3, "seconds": 2.0, "images": 1000,
             "train_loss": 4.6 - 3.5 * part, "train_top1": 1.1 * top1 * part,
             "val_loss": 4.6 - 3.0 * part, "val_top1": top1 * part}
        )  # fmt: skip
    record = {
        "schema": 1, "row": row, "report": "keras_vs_mbn", "preset": "full", "digest": "0" * 16,
        "recipe": {"model": "mbn", "dataset": "cifar100", "seed": seed, "epochs": epochs,
                   "batch": 128, "train_size": 0},
        "rows": rows,
        "test": {"loss": 2.4, "top1": top1, "top3": min(1.0, 1.4 * top1), "top5": 1.0,
                 "images": images},
        "best_test": None, "train_clean": {"top1": min(1.0, 1.2 * top1), "loss": 1.0},
        "seconds": 120.0, "images_per_second": 900.0, "peak_memory_mb": 300.0,
        "data": {"name": "cifar100", "synthetic": False, "complete": True,
                 "published_train": 50_000, "classes": [str(c) for c in range(100)]},
        "device": {"type": "cpu", "name": "a CPU", "threads": 2, "precision": "bf16"},
        "parameters": {"total": 1_638_052, "trainable": 1_638_052},
        "predictions": packed(predictions), "labels": packed(labels), "details": {},
    }  # fmt: skip
    return {**record, **changes}


def seeds(row, *scores, **changes):
    """One record a score, each of its own seed."""
    return [forged(row, score, seed=seed, **changes) for seed, score in enumerate(scores)]


SYNTHETIC = {"name": "synthetic_cifar100", "synthetic": True, "complete": False}
SUBSET = {"name": "cifar100", "synthetic": False, "complete": False}
