"""Accuracy by epoch, a panel a run, with what the learning rate did."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.figures.canvas import (
    COLOURS,
    INK,
    SOFT,
    as_records,
    names,
    of_records,
    percent,
    sub,
    theme,
    titled,
    with_alt,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["drops"]

SCORES = {"test_top1": "test, each epoch", "val_top1": "validation"}


@of_records
def drops(
    records: Any,
    title: str = "Accuracy, and where the learning rate drops",
    *,
    columns: int = 4,
) -> Figure:
    """Training and test (or validation) accuracy by epoch, one panel a run.

    A dotted line stands before the first epoch at each lower rate, a diamond on the best epoch.

    Args:
        records: evidence, runs or records; those whose rows have neither score are left out.
        title: what stands above.
        columns: panels in a line.

    Raises:
        ValueError: no run has a score of each epoch.
    """
    records = [record for record in as_records(records) if _score(record)]
    if not records:
        raise ValueError("none of the records has a test or validation score of each epoch")
    columns = min(columns, len(records))
    lines = -(-len(records) // columns)
    with theme() as plt:
        size = (max(5.0, 2.6 * columns), 2.5 * lines + 1.1)
        figure, cells = plt.subplots(lines, columns, sharey=True, squeeze=False, figsize=size)
        for axes in cells.flat[len(records) :]:
            axes.axis("off")
        for axes, record, name in zip(cells.flat, records, names(records), strict=False):
            _panel(axes, record, name)
        for axes in cells[:, 0]:
            axes.set_ylabel("accuracy (%)")
        for axes in cells.flat[max(0, len(records) - columns) : len(records)]:
            axes.set_xlabel("epoch")
        figure.suptitle(sub(title, records, size[0]), x=0.01, ha="left", fontsize=12)
        handles = cells.flat[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=4)
    stories = " ".join(map(_story, records, names(records)))
    return with_alt(figure, f"{titled(title, records)}. {stories}")


def _panel(axes: Axes, record: Mapping[str, Any], name: str) -> None:
    rows, score, best = record["rows"], _score(record), _best(record)
    epochs = [row["epoch"] for row in rows]
    point = "o" if len(rows) == 1 else ""  # a line needs two
    axes.plot(epochs, [100 * row["train_top1"] for row in rows], linestyle=(0, (4, 2)),
              linewidth=1.4, color=SOFT, marker=point, label="training")  # fmt: skip
    axes.plot(epochs, [100 * row[score] for row in rows], color=COLOURS[0], marker=point,
              label=SCORES[score])  # fmt: skip
    axes.plot(best["epoch"], 100 * best[score], "D", color=COLOURS[1], markeredgecolor=INK,
              label="best epoch", linestyle="none")  # fmt: skip
    fall = {"color": INK, "linewidth": 1.2, "linestyle": ":"}
    axes.plot([], [], label="the rate drops", **fall)
    for epoch in _falls(record):
        axes.axvline(epoch - 0.5, **fall)
    axes.set_title(textwrap.fill(f"{name}, rate {rows[0]['lr']:g}", 28), fontsize=10)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _score(record: Mapping[str, Any]) -> str | None:
    """Which score each epoch has; a system, whose rows belong to several models, has none."""
    rows = record["rows"]
    if not rows or "part" in rows[0]:
        return None
    return next((name for name in SCORES if rows[0].get(name) is not None), None)


def _best(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The epoch of the best score."""
    return max(record["rows"], key=lambda row: row[_score(record)])


def _falls(record: Mapping[str, Any]) -> list[int]:
    """The first epochs (from 1) at a lower learning rate than the epoch before."""
    pairs = itertools.pairwise(record["rows"])
    return [after["epoch"] for before, after in pairs if after["lr"] < before["lr"]]


def _story(record: Mapping[str, Any], name: str) -> str:
    """How one panel goes, in a sentence of numbers."""
    score, best, last, falls = _score(record), _best(record), record["rows"][-1], _falls(record)
    fall = f"the rate drops before epoch {' and '.join(map(str, falls))}" if falls else "no drop"
    return (
        f"{name}: {fall}; {SCORES[score]} best {percent(best[score])} at epoch {best['epoch']},"
        f" {percent(last[score])} at epoch {last['epoch']}; training"
        f" {percent(last['train_top1'])} at the end."
    )
