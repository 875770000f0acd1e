"""Accuracy by epoch, a panel a run, with what the learning rate did."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from labkit.figures.canvas import (
    COLOURS,
    INK,
    SOFT,
    as_records,
    described,
    names,
    percent,
    theme,
    titled,
)

SCORES = {"test_top1": "test, each epoch", "val_top1": "validation"}


def drops(
    records: Any,
    title: str = "Accuracy, and where the learning rate drops",
    *,
    columns: int = 4,
):
    """Training and test (or validation) accuracy by epoch, one panel a run; the Figure.

    The panels stand in lines of `columns`. A dotted line stands before the first epoch at each
    lower rate, a diamond on the best epoch.
    Runs whose rows have neither score are left out.

    Raises:
        ValueError: no run has a score of each epoch.
    """
    found = [record for record in as_records(records) if _score(record)]
    if not found:
        raise ValueError("none of the records has a test or validation score of each epoch")
    title = titled(title, found)
    columns = min(columns, len(found))
    lines = -(-len(found) // columns)
    with theme() as plt:
        size = (max(5.0, 2.6 * columns), 2.3 * lines + 0.9)
        figure, cells = plt.subplots(lines, columns, sharey=True, squeeze=False, figsize=size)
        for axes in cells.flat[len(found) :]:
            axes.axis("off")
        for axes, record, name in zip(cells.flat, found, names(found), strict=False):
            _panel(axes, record, name)
        for axes in cells[:, 0]:
            axes.set_ylabel("accuracy (%)")
        for axes in cells.flat[max(0, len(found) - columns) : len(found)]:
            axes.set_xlabel("epoch")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
        figure.legend(*cells.flat[0].get_legend_handles_labels(), loc="outside lower center",
                      ncols=4)  # fmt: skip
    told = " ".join(map(_told, found, names(found)))
    return described(figure, f"{title}. {told}")


def rate_drops(record: Mapping[str, Any]) -> list[int]:
    """The first epochs (from 1) at a lower learning rate than the epoch before."""
    pairs = itertools.pairwise(record["rows"])
    return [after["epoch"] for before, after in pairs if after["lr"] < before["lr"]]


def _panel(axes, record: Mapping[str, Any], name: str) -> None:
    rows, score = record["rows"], _score(record)
    epochs = [row["epoch"] for row in rows]
    best = max(rows, key=lambda row: row[score])
    point = "o" if len(rows) == 1 else ""  # a line needs two
    axes.plot(epochs, [100 * row["train_top1"] for row in rows], linestyle=(0, (4, 2)),
              linewidth=1.4, color=SOFT, marker=point, label="training")  # fmt: skip
    axes.plot(epochs, [100 * row[score] for row in rows], color=COLOURS[0], marker=point,
              label=SCORES[score])  # fmt: skip
    axes.plot(best["epoch"], 100 * best[score], "D", color=COLOURS[1], markeredgecolor=INK,
              label="best epoch", linestyle="none")  # fmt: skip
    axes.plot([], [], color=INK, linewidth=1.2, linestyle=":", label="the rate drops")
    for epoch in rate_drops(record):
        axes.axvline(epoch - 0.5, color=INK, linewidth=1.2, linestyle=":")
    axes.set_title(f"{name}, rate {rows[0]['lr']:g}", fontsize=10)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _score(record: Mapping[str, Any]) -> str | None:
    """Which score each epoch has; a system, whose rows belong to several models, has none."""
    rows = record["rows"]
    if not rows or "part" in rows[0]:
        return None
    return next((name for name in SCORES if rows[0].get(name) is not None), None)


def _told(record: Mapping[str, Any], name: str) -> str:
    """How one panel goes, in a sentence of numbers."""
    rows, score = record["rows"], _score(record)
    best = max(rows, key=lambda row: row[score])
    where = rate_drops(record)
    fall = f"the rate drops before epoch {' and '.join(map(str, where))}" if where else "no drop"
    return (
        f"{name}: {fall}; {SCORES[score]} best {percent(best[score])} at epoch {best['epoch']},"
        f" {percent(rows[-1][score])} at epoch {rows[-1]['epoch']}; training"
        f" {percent(rows[-1]['train_top1'])} at the end."
    )
