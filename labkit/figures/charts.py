"""Lines, bars and points: how runs went, and how they compare."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from labkit.compare import Value, describe, label, mean_and_spread, measure
from labkit.compare.values import fraction
from labkit.figures.canvas import (
    COLOURS,
    HATCHES,
    LINES,
    SOFT,
    as_records,
    heading,
    in_words,
    marker,
    names,
    of_records,
    percent,
    plain_digits,
    sub,
    theme,
    titled,
    with_alt,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ablation", "accuracy_against_cost", "bars", "schedule"]

KINDS = ("published", "at full")
COSTS = {"memory": "memory_report_unit"}  # short names


def bars(table: pd.DataFrame, metric: str = "test_top1") -> Figure:
    """The published value of each row, and ours at the report's own budget.

    Args:
        table: that of `compare.table` or `report.table()`.
        metric: which of its lines are drawn.

    Raises:
        ValueError: no line has the metric.
    """
    lines = _bar_lines(table, metric)
    kinds = [kind for kind in KINDS if kind in lines]
    title = f"Published, and ours at the report's own budget: {label(metric)}"
    words = [textwrap.fill(text, 34) for text in lines.title]
    room = max(0.28 * len(kinds), *(0.21 * (1 + text.count("\n")) for text in words))
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(9, 1.2 + room * len(lines)))
        for index, kind in enumerate(kinds):
            _bars(axes, lines[kind], metric, index, 0.8 / len(kinds), (len(kinds) - 1) / 2)
        axes.set_yticks(range(len(lines)), words)
        axes.invert_yaxis()
        axes.margins(x=0.2)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=label(metric) + " (%)" * fraction(metric), title=textwrap.fill(title, 66))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    caption = "; ".join(
        f"{line['title']}: " + ", ".join(f"{kind} {line[kind]}" for kind in kinds if line[kind])
        for line in lines.to_dict("records")
    )
    return with_alt(figure, f"{title}. {caption}.")


@of_records
def accuracy_against_cost(records: Any, cost: str = "seconds") -> Figure:
    """Test accuracy over what it cost, one point a row (mean over its seeds).

    Args:
        records: evidence, runs or records; those without the cost are left out.
        cost: seconds, parameters, memory (report 000's unit), peak_memory_mb or multiply_adds.

    Raises:
        ValueError: no record has the cost.
    """
    cost = COSTS.get(cost, cost)
    records = [r for r in as_records(records) if measure(r, cost) is not None]
    if not records:
        raise ValueError(f"none of the records has a number for {cost!r}")
    points, title = _means(records, cost), f"Test accuracy against {label(cost)}"
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(9, 5))
        for index, (row, (x, y)) in enumerate(points.items()):
            text = textwrap.fill(f"{row}: {percent(y)}, {describe(cost, x)}", 32)
            axes.plot(x, 100 * y, marker(index), color=COLOURS[index % 7], markersize=9, label=text)
        axes.margins(x=0.1, y=0.12)
        plain_digits(axes, log=_wide([x for x, _ in points.values()]))
        xlabel = label(cost) + " (s)" * (cost == "seconds")
        axes.set(xlabel=xlabel, ylabel="test top-1 (%)", title=sub(title, records, 6))
        figure.legend(loc="outside right upper")
    text = "; ".join(f"{r} {percent(y)} at {describe(cost, x)}" for r, (x, y) in points.items())
    return with_alt(figure, f"{titled(title, records)}: {text}.")


def ablation(
    lines: Mapping[str, Mapping[int, float]],
    title: str = "Fewer training images",
    *,
    over: str = "training images",
    synthetic: bool = False,
) -> Figure:
    """Accuracy over the number of training images, or of something else.

    Args:
        lines: for each name, such as "published" or "this run", accuracy as a fraction by number.
        title: what stands above.
        over: what the numbers count.
        synthetic: whether the title is marked.
    """
    title = heading(title, synthetic)
    if not any(lines.values()):
        return in_words(title)
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(8, 4.5))
        for index, (kind, points) in enumerate(lines.items()):
            x = sorted(points)
            axes.plot(x, [100 * points[n] for n in x], label=kind, color=COLOURS[index % 7],
                      linestyle=LINES[index % 7], marker=marker(index))  # fmt: skip
        ticks = sorted({n for points in lines.values() for n in points})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks], rotation=30, ha="right")
        axes.minorticks_off()
        axes.set(xlabel=f"{over} (log scale)", ylabel="accuracy (%)", title=title)
        figure.legend(loc="outside lower center", ncols=3)
    caption = "; ".join(
        f"{kind}: " + ", ".join(f"{percent(points[n])} at {n:,}" for n in sorted(points))
        for kind, points in lines.items()
    )
    return with_alt(figure, f"{title}, accuracy over {over}. {caption}.")


def schedule(
    rates: Sequence[float], steps_per_epoch: float = 1, title: str = "Learning rate"
) -> Figure:
    """A learning rate by step, with epochs on the axis.

    Args:
        rates: the rate of each step.
        steps_per_epoch: how many of them an epoch has.
        title: what stands above.
    """
    epochs = [step / steps_per_epoch for step in range(len(rates))]
    top = max(range(len(rates)), key=lambda step: rates[step])
    highest = f"highest {rates[top]:.3g} at epoch {epochs[top]:.3g}"
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(8, 3.6))
        axes.plot(epochs, rates, color=COLOURS[0])
        axes.plot(epochs[top], rates[top], "o", color=COLOURS[1])
        axes.annotate(f"  {highest}", (epochs[top], rates[top]), va="bottom")
        axes.margins(y=0.15)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        axes.set(xlabel="epoch", ylabel="learning rate", title=title)
    caption = (
        f"{title} over {len(rates):,} steps ({epochs[-1]:.3g} epochs): from {rates[0]:.3g},"
        f" {highest}, {rates[-1]:.3g} at the end."
    )
    return with_alt(figure, caption)


def _bar_lines(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The lines of a comparison table that have the metric, one a row, without empty columns."""
    cells = {kind: table[kind].map(lambda cell: _drawable(cell, metric)) for kind in KINDS}
    lines = table.assign(**cells)
    lines = lines[lines[list(KINDS)].notna().any(axis=1)].drop_duplicates("row")
    if lines.empty:
        raise ValueError(f"the table has no line for {metric!r}")
    lines = lines.reset_index(drop=True)
    return lines.drop(columns=[kind for kind in KINDS if lines[kind].isna().all()])


def _drawable(cell: Any, metric: str) -> Value | None:
    return cell if isinstance(cell, Value) and cell.metric == metric else None


def _bars(
    axes: Axes, values: pd.Series, metric: str, index: int, height: float, middle: float
) -> None:
    """The bars of one kind of value, with their spreads and numbers."""
    cells = [(row, v) for row, v in enumerate(values) if isinstance(v, Value)]
    at = [row + (index - middle) * height for row, _ in cells]
    scale = 100 if fraction(metric) else 1
    spreads = [scale * v.spread for _, v in cells] if any(v.n > 1 for _, v in cells) else None
    axes.barh(at, [scale * v.value for _, v in cells], height=height, xerr=spreads, ecolor=SOFT,
              color=COLOURS[index], edgecolor="white", hatch=HATCHES[index],
              label=values.name)  # fmt: skip
    for y, (_, value) in zip(at, cells, strict=True):
        end = scale * (value.value + value.spread)
        axes.annotate(str(value), (end, y), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=9)  # fmt: skip


def _means(records: Sequence[Mapping[str, Any]], cost: str) -> dict[str, tuple[float, float]]:
    """(mean cost, mean test accuracy) of each row."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for record, name in zip(records, names(records, seeds=False), strict=True):
        rows.setdefault(name, []).append(record)
    metrics = (cost, "test_top1")
    return {
        row: tuple(mean_and_spread([measure(r, metric) for r in group])[0] for metric in metrics)
        for row, group in rows.items()
    }


def _wide(values: Sequence[float]) -> bool:
    """Whether a log axis is wanted."""
    return min(values) > 0 and max(values) / min(values) > 10
