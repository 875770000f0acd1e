"""What can be read off a report's own curves, with our runs of the same rows."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from labkit.compare.evidence import FULL, PART, budget
from labkit.figures.canvas import (
    COLOURS,
    INK,
    SOFT,
    percent,
    row_title,
    sub,
    theme,
    titled,
    with_alt,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["read_off"]

TITLE = "Points read off the report's curves, and our runs as lines"
FALLS = "epochs_between_falls"
LOOKS = {"test_top1": ("o", COLOURS[0], "test"), "train_top1": ("s", SOFT, "training")}


class Curve(NamedTuple):
    """What is known of one curve of a report."""

    points: Mapping[str, list[tuple[int, float]]]  # of each score, by epoch
    falls: Sequence[int]  # the last epochs before the rate falls
    length: int  # epochs of the run


def read_off(
    points: pd.DataFrame, records: Iterable[Mapping[str, Any]] = (), *, columns: int = 4
) -> Figure:
    """Accuracy by epoch, one panel a row: the author's as points, ours as lines.

    Our lines are of runs of all the report's epochs; a lesson is never drawn beside its points.
    A dotted line stands where the rate falls.

    Args:
        points: lines of `published()`, of which those read off a curve are drawn.
        records: ours, of any rows and seeds.
        columns: panels in a line.

    Raises:
        ValueError: none of the lines was read off a curve.
    """
    found = {row: _curve(lines) for row, lines in points.groupby("row", sort=False)}
    found = {row: curve for row, curve in found.items() if curve.points}
    if not found:
        raise ValueError("none of these lines has a point that was read off a curve")
    kept = [r for r in records if r["row"] in found and budget(r) in (FULL, PART)]
    lines = -(-len(found) // columns)
    with theme() as plt:
        size = (2.6 * columns, 2.5 * lines + 1.1)
        figure, cells = plt.subplots(lines, columns, sharey=True, squeeze=False, figsize=size)
        for axes in cells.flat[len(found) :]:
            axes.axis("off")
        for axes, (row, curve) in zip(cells.flat, found.items(), strict=False):
            _panel(axes, row, curve, [r for r in kept if r["row"] == row])
        for axes in cells[:, 0]:
            axes.set_ylabel("accuracy (%)")
        figure.suptitle(sub(TITLE, kept, size[0]), x=0.01, ha="left", fontsize=12)
        figure.legend(*_legend(cells.flat), loc="outside lower center", ncols=5)
    stories = " ".join(_story(row, curve, kept) for row, curve in found.items())
    return with_alt(figure, f"{titled(TITLE, kept)}. {stories}")


def _curve(lines: pd.DataFrame) -> Curve:
    """The points of one row; those counted from 0 are moved by one epoch, as ours are counted."""
    read = lines[lines["kind"] == "log"].to_dict("records")
    length = max(lines["epochs"].dropna().astype(int), default=0)
    points: dict[str, list[tuple[int, float]]] = {}
    for line in read:
        if line["metric"] in LOOKS:
            epoch = int(line["epochs"]) + ("0-based" in line["note"])
            if epoch <= length:  # the length itself stands where the best epoch is not told
                points.setdefault(line["metric"], []).append((epoch, line["value"]))
    steps = [int(line["value"]) for line in read if line["metric"] == FALLS]
    falls = range(steps[0], length, steps[0]) if steps else ()
    return Curve({metric: sorted(some) for metric, some in points.items()}, falls, length)


def _panel(axes: Axes, row: str, curve: Curve, records: Sequence[Mapping[str, Any]]) -> None:
    for metric, (shape, colour, word) in LOOKS.items():
        pairs = curve.points.get(metric, [])
        axes.plot([epoch for epoch, _ in pairs], [100 * value for _, value in pairs], shape,
                  color=colour, markeredgecolor=INK, label=f"report, {word}")  # fmt: skip
        for record in records:
            rows = record["rows"]
            axes.plot([r["epoch"] for r in rows], [100 * r[metric] for r in rows], color=colour,
                      linewidth=1.2, linestyle="--" if metric == "train_top1" else "-",
                      label=f"ours, {word}")  # fmt: skip
    for epoch in curve.falls:
        axes.axvline(epoch + 0.5, color=INK, linewidth=1.0, linestyle=":", label="the rate falls")
    axes.set_title(textwrap.fill(row_title(row), 28), fontsize=10)
    axes.set(xlabel="epoch", xlim=(0, curve.length + 1))
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _legend(cells: Iterable[Axes]) -> tuple[list[Any], list[str]]:
    """Each look once, wherever it occurs first."""
    keys: dict[str, Any] = {}
    for axes in cells:
        for handle, word in zip(*axes.get_legend_handles_labels(), strict=True):
            keys.setdefault(word, handle)
    return list(keys.values()), list(keys)


def _story(row: str, curve: Curve, records: Iterable[Mapping[str, Any]]) -> str:
    """One panel in a sentence of numbers."""
    words = [
        f"{LOOKS[metric][2]} " + ", ".join(f"{percent(v)} at epoch {e}" for e, v in pairs)
        for metric, pairs in curve.points.items()
    ]
    ends = [record["rows"][-1]["test_top1"] for record in records if record["row"] == row]
    ours = f"; ours end at {', '.join(map(percent, ends))}" if ends else ""
    return f"{row_title(row)}: the report's {'; '.join(words)}{ours}."
