"""Lines, bars and points: how runs went, and how they compare."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.compare import Value, describe, mean_and_spread, measure
from labkit.compare.values import fraction, label
from labkit.figures.canvas import (
    COLOURS,
    LINES,
    SOFT,
    as_records,
    described,
    marked,
    marker,
    percent,
    plain_digits,
    theme,
    titled,
)

KINDS = ("published", "recorded at full", "this run")


def bars(table: pd.DataFrame, metric: str = "test_top1"):
    """Published, recorded and this run's value of each row of `compare.table`; the Figure.

    Values from synthetic data are left out: they must not stand beside published ones.
    """
    lines = _bar_lines(table, metric)
    kinds = [kind for kind in KINDS if kind in lines]
    title = f"Published and ours: {label(metric)}"
    title += " (this run is on synthetic data and not drawn)" * _any_synthetic(table)
    words = [textwrap.fill(f"{r}  {t}", 34) for r, t in zip(lines.row, lines.title, strict=True)]
    room = max(0.28 * len(kinds), *(0.21 * (1 + text.count("\n")) for text in words))
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(9, 1.2 + room * len(lines)))
        height = 0.8 / len(kinds)
        scale = 100 if fraction(metric) else 1
        for index, kind in enumerate(kinds):
            at = [row + (index - (len(kinds) - 1) / 2) * height for row in range(len(lines))]
            _bars(axes, lines[kind], at, height, index, kind, metric, scale)
        axes.set_yticks(range(len(lines)), words)
        axes.invert_yaxis()
        axes.margins(x=0.2)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=label(metric) + (" (%)" if scale == 100 else ""), title=title)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    parts = [
        f"{line['row']} " + ", ".join(f"{kind} {line[kind]}" for kind in kinds if line[kind])
        for line in lines.to_dict("records")
    ]
    return described(figure, f"{title}. {'; '.join(parts)}.")


def accuracy_against_cost(records: Any, cost: str = "seconds"):
    """Test accuracy over what it cost, one point a row (mean over its seeds); the Figure.

    `cost` is a metric of a record: seconds, parameters, memory_report_unit, peak_memory_mb,
    multiply_adds. Records without it are left out.
    """
    cost = {"memory": "memory_report_unit"}.get(cost, cost)
    found = [r for r in as_records(records) if measure(r, cost) is not None]
    if not found:
        raise ValueError(f"none of the records has a number for {cost!r}")
    points = _means(found, cost)
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(8, 4.8))
        for index, (row, (x, y)) in enumerate(points.items()):
            axes.plot(x, 100 * y, marker(index), color=COLOURS[index % 7], markersize=9,
                      label=f"{row}: {percent(y)}, {describe(cost, x)}")  # fmt: skip
        axes.margins(x=0.1, y=0.12)
        plain_digits(axes, log=_wide([x for x, _ in points.values()]))
        axes.set(xlabel=f"{label(cost)}{' (s)' if cost == 'seconds' else ''}",
                 ylabel="test top-1 (%)",
                 title=titled(f"Accuracy against {label(cost)}", found))  # fmt: skip
        figure.legend(loc="outside right upper")
    told = "; ".join(f"{r} {percent(y)} at {describe(cost, x)}" for r, (x, y) in points.items())
    return described(figure, f"Test accuracy against {label(cost)}: {told}.")


def ablation(
    lines: Mapping[str, Mapping[int, float]],
    title: str = "Fewer training images",
    *,
    over: str = "training images",
    synthetic: bool = False,
):
    """Accuracy over the number of training images, or of whatever `over` names; the Figure.

    `lines` maps a name (such as "published", "author's log", "this run") to {images: accuracy as
    a fraction}; `synthetic` marks the title.
    """
    title = marked(title, synthetic)
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(8, 4.5))
        for index, (what, points) in enumerate(lines.items()):
            x = sorted(points)
            axes.plot(x, [100 * points[n] for n in x], label=what, color=COLOURS[index % 7],
                      linestyle=LINES[index % 7], marker=marker(index))  # fmt: skip
        ticks = sorted({n for points in lines.values() for n in points})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks], rotation=30, ha="right")
        axes.minorticks_off()
        axes.set(xlabel=f"{over} (log scale)", ylabel="accuracy (%)", title=title)
        figure.legend(loc="outside lower center", ncols=3)
    told = [
        f"{what}: " + ", ".join(f"{percent(points[n])} at {n:,}" for n in sorted(points))
        for what, points in lines.items()
    ]
    return described(figure, f"{title}, accuracy over {over}. {'; '.join(told)}.")


def schedule(rates: Sequence[float], steps_per_epoch: int = 1, title: str = "Learning rate"):
    """A learning rate by step, with epochs on the axis; the Figure."""
    epochs = [step / steps_per_epoch for step in range(len(rates))]
    top = max(range(len(rates)), key=lambda step: rates[step])
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(8, 3.6))
        axes.plot(epochs, rates, color=COLOURS[0])
        axes.plot(epochs[top], rates[top], "o", color=COLOURS[1])
        axes.annotate(f"  highest {rates[top]:.3g} at epoch {epochs[top]:.3g}",
                      (epochs[top], rates[top]), va="bottom")  # fmt: skip
        axes.margins(y=0.15)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        axes.set(xlabel="epoch", ylabel="learning rate", title=title)
    return described(
        figure,
        f"{title} over {len(rates):,} steps ({epochs[-1]:.3g} epochs): from {rates[0]:.3g},"
        f" highest {rates[top]:.3g} at epoch {epochs[top]:.3g}, {rates[-1]:.3g} at the end.",
    )


def _bar_lines(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The lines of a comparison table that have the metric, one a row, without empty columns."""
    lines = table[table["metric"].str.startswith(label(metric))].drop_duplicates("row")
    lines = lines.assign(**{kind: lines[kind].map(_drawable) for kind in KINDS})
    lines = lines[lines[list(KINDS)].notna().any(axis=1)].reset_index(drop=True)
    if lines.empty:
        raise ValueError(f"the table has no line for {metric!r} outside synthetic data")
    return lines.drop(columns=[kind for kind in KINDS if lines[kind].isna().all()])


def _drawable(value: Any) -> Value | None:
    return value if isinstance(value, Value) and "synthetic" not in value.mark else None


def _any_synthetic(table: pd.DataFrame) -> bool:
    return any(isinstance(v, Value) and "synthetic" in v.mark for v in table["this run"])


def _bars(axes, values, at, height: float, index: int, kind: str, metric: str, scale: int) -> None:
    hatches = ("", "///", "...")
    shown = [(y, v) for y, v in zip(at, values, strict=True) if isinstance(v, Value)]
    axes.barh([y for y, _ in shown], [scale * v.value for _, v in shown], height=height,
              xerr=[scale * v.spread for _, v in shown] if any(v.n > 1 for _, v in shown) else None,
              color=COLOURS[index], edgecolor="white", hatch=hatches[index], label=kind,
              ecolor=SOFT)  # fmt: skip
    for y, value in shown:
        end = scale * (value.value + value.spread)
        axes.annotate(str(value), (end, y), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=9)  # fmt: skip


def _means(records: Sequence[Mapping[str, Any]], cost: str) -> dict[str, tuple[float, float]]:
    """(mean cost, mean test accuracy) of each row."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        rows.setdefault(record["row"] or record["recipe"]["model"], []).append(record)
    return {
        row: (
            mean_and_spread([measure(r, cost) for r in group])[0],
            mean_and_spread([measure(r, "test_top1") for r in group])[0],
        )
        for row, group in rows.items()
    }


def _wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) / min(values) > 10
