"""One number of a record, the mean and spread of several, and how far two means lie apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from labkit.records import decode

__all__ = [
    "EXACT", "LABELS", "RATES", "READERS", "SYNTHETIC", "Agreement", "Rows", "Value", "agreement",
    "answers", "describe", "fraction", "label", "mean_and_spread", "measure", "measured",
    "same_images", "synthetic",
]  # fmt: skip

Rows = Mapping[str, Sequence[Mapping[str, Any]]]  # the records of each row, by its id

# where each metric stands in a record; anything else is looked up in its details
READERS: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "test_top1": lambda r: r["test"]["top1"],
    "test_top3": lambda r: r["test"]["top3"],
    "test_top5": lambda r: r["test"]["top5"],
    "test_loss": lambda r: r["test"]["loss"],
    "best_test_top1": lambda r: (r["best_test"] or {}).get("top1"),
    "train_top1": lambda r: _last(r, "train_top1"),
    "train_loss": lambda r: _last(r, "train_loss"),
    "val_top1": lambda r: _last(r, "val_top1"),
    "val_loss": lambda r: _last(r, "val_loss"),
    "train_clean_top1": lambda r: (r["train_clean"] or {}).get("top1"),
    "train_clean_loss": lambda r: (r["train_clean"] or {}).get("loss"),
    "seconds": lambda r: r["seconds"],
    "seconds_per_epoch": lambda r: r["seconds"] / len(r["rows"]) if r["rows"] else None,
    "images_per_second": lambda r: r["images_per_second"],
    "peak_memory_mb": lambda r: r["peak_memory_mb"],
    "epochs": lambda r: len(r["rows"]) or None,
    "best_epoch": lambda r: _best(r, "epoch"),
    "best_epoch_share": lambda r: _best(r, "share"),
    "decay_top1": lambda r: _best(r, "decay"),
    "loss_rise": lambda r: _rise(r),
    "lowest_loss_share": lambda r: _lowest_share(r),
    "train_lead_top1": lambda r: _train_lead(r),
    "fine_train_top1": lambda r: _fine_train(r),
    "parameters": lambda r: r["parameters"]["total"],
    "trainable": lambda r: r["parameters"]["trainable"],
    # the "MB" of report 000 are KiB divided by 1000, and its models are fp32
    "memory_report_unit": lambda r: 4 * r["parameters"]["trainable"] / 1024 / 1000,
}
LABELS = {
    "test_top1": "test top-1",
    "test_top3": "test top-3",
    "test_top5": "test top-5",
    "test_loss": "test loss",
    "best_test_top1": "best test top-1",
    "train_top1": "training top-1 (augmented)",
    "train_loss": "training loss",
    "val_top1": "validation top-1",
    "val_loss": "validation loss",
    "train_clean_top1": "training top-1 (clean)",
    "train_clean_loss": "training loss (clean)",
    "coarse_top1": "coarse top-1",
    "best_epoch": "best epoch",
    "best_epoch_share": "best epoch as a share of the run",
    "decay_top1": "accuracy lost after the best epoch",
    "loss_rise": "loss gained after its lowest epoch",
    "lowest_loss_share": "epoch of the lowest loss as a share of the run",
    "train_lead_top1": "largest lead of the training over the test top-1 in any epoch",
    "fine_train_top1": "training top-1 of the fine models",
    "seconds": "training time",
    "seconds_per_epoch": "seconds an epoch",
    "images_per_second": "images a second",
    "peak_memory_mb": "peak memory (MB)",
    "memory_report_unit": "memory (report's MB)",
    "multiply_adds": "multiply-adds",
}
EXACT = ("parameters", "trainable", "memory_report_unit", "multiply_adds", "epochs")
RATES = ("seconds_per_epoch", "images_per_second")  # which do not grow with the training
SYNTHETIC = "synthetic"  # the mark of a number that says nothing about a report


@dataclass(frozen=True)
class Value:
    """A number with its unit, spread and count; `str` is how a table shows it."""

    metric: str
    value: float
    spread: float = 0.0  # sample standard deviation over n records
    n: int = 1
    mark: str = ""  # what a reader must know of the records: synthetic, lesson, subset

    def __str__(self) -> str:
        text = describe(self.metric, self.value)
        if self.n > 1:
            spread = _duration if self.metric == "seconds" else partial(_number, self.metric)
            text += f" ± {spread(self.spread)} (n = {self.n})"
        return f"{text} [{self.mark}]" if self.mark else text


@dataclass(frozen=True)
class Agreement:
    """How often two models are right or wrong on the same images; four shares that sum to 1."""

    both_right: float
    only_a: float
    only_b: float
    both_wrong: float
    images: int

    @property
    def alike(self) -> float:
        """The share of images on which both are right or both wrong."""
        return self.both_right + self.both_wrong

    @property
    def expected(self) -> float:
        """What `alike` would be for two independent models of the same accuracies."""
        a, b = self.both_right + self.only_a, self.both_right + self.only_b
        return a * b + (1 - a) * (1 - b)

    @property
    def z(self) -> float:
        """`alike` minus `expected`, in standard errors under independence."""
        a, b = self.both_right + self.only_a, self.both_right + self.only_b
        error = 2 * math.sqrt(a * (1 - a) * b * (1 - b) / self.images)
        return (self.alike - self.expected) / error if error else 0.0


def measure(record: Mapping[str, Any], metric: str) -> float | None:
    """One number of a record; accuracies are fractions. None where the record has none.

    Any metric outside READERS is read from the record's `details`.
    """
    if metric in READERS:
        return READERS[metric](record)
    value = (record.get("details") or {}).get(metric)
    return value if isinstance(value, (int, float)) else None


def measured(records: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
    """The metric of every record that has it."""
    values = [measure(record, metric) for record in records]
    return [float(value) for value in values if value is not None]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for a single value)."""
    array = np.asarray(values, np.float64)
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else 0.0


def synthetic(records: Iterable[Mapping[str, Any]]) -> bool:
    """Whether any of the records was made from a synthetic stand-in."""
    return any(record["data"]["synthetic"] for record in records)


def answers(record: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The true and the predicted class of every test image of a record, uint8 [N] each."""
    return decode(record["labels"]), decode(record["predictions"])


def agreement(a: Mapping[str, Any], b: Mapping[str, Any]) -> Agreement:
    """Compare the predictions of two records of the same test set.

    Raises:
        ValueError: the records were scored on different test images.
    """
    (labels, guesses_a), (others, guesses_b) = answers(a), answers(b)
    if not np.array_equal(labels, others):
        raise ValueError(
            f"records {a['row']} and {b['row']} were scored on different test images"
            f" ({len(labels):,} and {len(others):,}); compare records of one preset and data set"
        )
    right_a, right_b = guesses_a == labels, guesses_b == labels
    shares = (right_a & right_b, right_a & ~right_b, ~right_a & right_b, ~right_a & ~right_b)
    return Agreement(*(float(share.mean()) for share in shares), images=len(labels))


def same_images(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two records were scored on the same test images, as far as their labels tell."""
    return np.array_equal(decode(a["labels"]), decode(b["labels"]))


def describe(metric: str, value: float) -> str:
    """A value with its unit, as a table shows it: 61.2 %, 2.48, 7 h 56 min, 15,795,556."""
    if fraction(metric):
        return f"{100 * value:.2f}".removesuffix("0") + " %"
    if metric == "seconds":
        return _duration(value)
    return _number(metric, value)


def label(metric: str) -> str:
    """A metric in words."""
    return LABELS.get(metric, metric.replace("_", " "))


def fraction(metric: str) -> bool:
    """Whether a metric is an accuracy: its values are fractions, its differences in points."""
    return metric.endswith(("top1", "top3", "top5"))


def _number(metric: str, value: float) -> str:
    if fraction(metric):
        return f"{100 * value:.1f}"
    if metric.endswith("loss"):
        return f"{value:.2f}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _last(record: Mapping[str, Any], name: str) -> float | None:
    """The value after the last epoch; None for a system, whose rows belong to several models."""
    rows = record["rows"]
    return rows[-1].get(name) if rows and "part" not in rows[-1] else None


def _best(record: Mapping[str, Any], what: str) -> float | None:
    """Of the epoch that scored highest on the test set, or else on the validation split."""
    for name in ("test_top1", "val_top1"):
        if (last := _last(record, name)) is not None:
            best = max(record["rows"], key=lambda row: row[name])
            share = best["epoch"] / len(record["rows"])
            return {"epoch": best["epoch"], "share": share, "decay": best[name] - last}[what]
    return None


def _rise(record: Mapping[str, Any]) -> float | None:
    """How far the last test loss, or else validation loss, lies above the lowest of any epoch."""
    losses = _losses(record)
    return losses[-1] - min(losses) if losses else None


def _lowest_share(record: Mapping[str, Any]) -> float | None:
    """The epoch with the lowest test loss, or else validation loss, of all epochs."""
    losses = _losses(record)
    return (1 + losses.index(min(losses))) / len(losses) if losses else None


def _losses(record: Mapping[str, Any]) -> list[float]:
    """The test loss, or else the validation loss, after each epoch; empty where there is none."""
    for name in ("test_loss", "val_loss"):
        if _last(record, name) is not None:
            return [row[name] for row in record["rows"]]
    return []


def _train_lead(record: Mapping[str, Any]) -> float | None:
    """How far the training accuracy of any epoch lies above the test accuracy after it, at most."""
    if _last(record, "test_top1") is None:
        return None
    return max(row["train_top1"] - row["test_top1"] for row in record["rows"])


def _fine_train(record: Mapping[str, Any]) -> float | None:
    """The training accuracy of a system's fine models in their last epoch, by their images."""
    last = {row["part"]: row for row in record["rows"] if "part" in row}
    fine = [row for part, row in last.items() if part != "router"]
    images = sum(row["images"] for row in fine)
    return sum(row["images"] * row["train_top1"] for row in fine) / images if images else None
