"""Accuracy over time: what each run had reached when."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.compare import describe, elapsed, label
from labkit.figures.canvas import (
    COLOURS,
    LINES,
    as_records,
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

__all__ = ["over_time"]


@of_records
def over_time(records: Any, metric: str = "val_top1", budget: float | None = None) -> Figure:
    """An accuracy over seconds of training, on a log axis, one line a run.

    Args:
        records: evidence, runs or records; those whose rows lack the metric are left out.
        metric: a score of each epoch.
        budget: seconds at which a vertical line stands.

    Raises:
        ValueError: no run has the metric.
    """
    records = [record for record in as_records(records) if metric in record["rows"][0]]
    if not records:
        raise ValueError(f"none of the records has {metric!r} in its rows")
    legend = names(records)
    title = f"{label(metric).capitalize()} over training time"
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(9, 4.8))
        for index, (record, name) in enumerate(zip(records, legend, strict=True)):
            _line(axes, record, metric, index, name)
        if budget is not None:
            axes.axvline(budget, color=COLOURS[-1], linewidth=1.2, linestyle=":",
                         label=f"budget, {describe('seconds', budget)}")  # fmt: skip
        plain_digits(axes, log=True)
        axes.set(xlabel="seconds of training (log scale)", ylabel="accuracy (%)",
                 title=sub(title, records, 7))  # fmt: skip
        figure.legend(loc="outside right upper")
    caption = "; ".join(
        f"{name} {percent(record['rows'][-1][metric])} after"
        f" {describe('seconds', elapsed(record)[-1])}"
        for record, name in zip(records, legend, strict=True)
    )
    return with_alt(figure, f"{titled(title, records)}. At the end of each run: {caption}.")


def _line(axes: Axes, record: Mapping[str, Any], metric: str, index: int, name: str) -> None:
    scores = [100 * row[metric] for row in record["rows"]]
    axes.plot(elapsed(record), scores, label=textwrap.fill(name, 30), color=COLOURS[index % 7],
              linestyle=LINES[index // 7 % 7], marker=marker(index), markersize=5,
              markevery=max(1, len(scores) // 8))  # fmt: skip
