"""Accuracy over time: what each run had reached when."""

from __future__ import annotations

from typing import Any

from labkit.compare.budget import elapsed
from labkit.compare.values import describe, label
from labkit.figures.canvas import (
    COLOURS,
    LINES,
    as_records,
    described,
    marker,
    names,
    percent,
    plain_digits,
    theme,
    titled,
)


def over_time(records: Any, metric: str = "val_top1", budget: float | None = None):
    """An accuracy over seconds of training, on a log axis, one line a run; the Figure.

    `budget` draws a vertical line at so many seconds. Runs whose rows lack the metric are left out.

    Raises:
        ValueError: no run has the metric.
    """
    found = [record for record in as_records(records) if metric in record["rows"][0]]
    if not found:
        raise ValueError(f"none of the records has {metric!r} in its rows")
    legend = names(found)
    title = titled(f"{label(metric).capitalize()} over training time", found)
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(9, 4.8))
        for index, (record, name) in enumerate(zip(found, legend, strict=True)):
            axes.plot(elapsed(record), [100 * row[metric] for row in record["rows"]], label=name,
                      color=COLOURS[index % 7], linestyle=LINES[index // 7 % 7], markersize=5,
                      marker=marker(index), markevery=max(1, len(record["rows"]) // 8))  # fmt: skip
        if budget is not None:
            axes.axvline(budget, color=COLOURS[-1], linewidth=1.2, linestyle=":",
                         label=f"budget, {describe('seconds', budget)}")  # fmt: skip
        plain_digits(axes, log=True)
        axes.set(xlabel="seconds of training (log scale)", ylabel="accuracy (%)", title=title)
        figure.legend(loc="outside right upper")
    told = [
        f"{name} {percent(record['rows'][-1][metric])} after"
        f" {describe('seconds', elapsed(record)[-1])}"
        for record, name in zip(found, legend, strict=True)
    ]
    return described(figure, f"{title}, at the end of each run: {'; '.join(told)}.")
