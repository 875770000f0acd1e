"""Learning curves: how a run, or several, went from epoch to epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from labkit.compare.values import synthetic
from labkit.figures.canvas import (
    COLOURS,
    INK,
    SOFT,
    as_records,
    heading,
    marker,
    names,
    percent,
    theme,
    with_alt,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["curves"]

TRAINING = {"linestyle": (0, (4, 2)), "linewidth": 1.4}  # dashes
STEEP = 20  # a loss so many times the usual one wants a log axis
WATCHED = {"val": "validation", "test": "test, each epoch"}


def curves(records: Any) -> Figure:
    """Accuracy and loss by epoch of one run or several, training and validation.

    Validation lines are solid, training lines thin and dashed; the test score of the final
    weights is a star. Of a coarse-to-fine system, each of its models has a line.

    Args:
        records: a run, a record, or a list of either.

    Raises:
        ValueError: there is none.
    """
    records = as_records(records)
    lines = [line for pair in zip(records, names(records), strict=True) for line in _lines(*pair)]
    mark = synthetic(records)
    with theme() as plt:
        figure, (accuracy, loss) = plt.subplots(1, 2, figsize=(10, 4))
        for index, line in enumerate(lines):
            _curve(accuracy, line, index, "top1", scale=100)
            _curve(loss, line, index, "loss", scale=1)
        accuracy.set(xlabel="epoch", ylabel="accuracy (%)", title=heading("Accuracy", mark))
        loss.set(xlabel="epoch", ylabel="cross-entropy", title=heading("Loss", mark))
        if _steep(loss):
            loss.set(yscale="log", ylabel="cross-entropy (log scale)")
        for axes in (accuracy, loss):
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        handles = [*_model_keys(accuracy, lines), *_style_keys(accuracy, lines)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
    stories = " ".join(f"{line.title}: {'; '.join(_story(line))}." for line in lines)
    return with_alt(figure, f"{heading('Learning curves', mark)}. {stories}")


class Line(NamedTuple):
    """What one colour of the learning curves shows."""

    title: str
    history: list[dict[str, Any]]  # one an epoch
    test: Mapping[str, Any] | None  # after the last epoch
    end: int  # the epoch where the test score stands

    @property
    def watched(self) -> str | None:
        """What was scored after each epoch: "val", "test", or neither."""
        last = self.history[-1] if self.history else {}
        return next((kind for kind in WATCHED if last.get(f"{kind}_top1") is not None), None)


def _lines(record: Mapping[str, Any], title: str) -> list[Line]:
    """A run as one line; a system as one for each of its models, and its own test score."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in record["rows"]:
        parts.setdefault(row.get("part", ""), []).append(row)
    end = max(row["epoch"] for row in record["rows"])
    if list(parts) == [""]:
        return [Line(title, parts[""], record["test"], end)]
    models = [Line(f"{title} {part}", rows, None, end) for part, rows in parts.items()]
    return [*models, Line(f"{title} as a whole", [], record["test"], end)]


def _curve(axes: Axes, line: Line, index: int, score: str, scale: int) -> None:
    """The training and validation lines of one model, and its final test score."""
    colour = COLOURS[index % 7]
    if line.history:
        history = pd.DataFrame(line.history)
        axes.plot(history.epoch, scale * history[f"train_{score}"], color=colour, **TRAINING)
        if not line.watched:  # then the training line must be told from others by its markers
            axes.lines[-1].set(marker=marker(index), markersize=5)
        else:
            axes.plot(history.epoch, scale * history[f"{line.watched}_{score}"], color=colour,
                      marker=marker(index), markersize=5,
                      markevery=max(1, len(history) // 8))  # fmt: skip
    if line.test and line.test[score] is not None:
        axes.plot(line.end, scale * line.test[score], "*", color=colour, markersize=14,
                  markeredgecolor=INK)  # fmt: skip


def _steep(axes: Axes) -> bool:
    """Whether one epoch would hide the others on a linear axis."""
    heights = sorted(y for line in axes.lines for y in line.get_ydata())
    return heights[-1] > STEEP * heights[len(heights) // 2]


def _model_keys(axes: Axes, lines: Sequence[Line]) -> Iterator[Line2D]:
    """For the legend: a colour for each model."""
    for i, line in enumerate(lines):
        if line.history:
            yield from axes.plot([], [], color=COLOURS[i % 7], marker=marker(i), label=line.title)


def _style_keys(axes: Axes, lines: Sequence[Line]) -> Iterator[Line2D]:
    """For the legend: a style for each kind of score."""
    yield from axes.plot([], [], color=SOFT, label="training", **TRAINING)
    watched = {line.watched for line in lines}
    for kind in WATCHED:
        if kind in watched:
            yield from axes.plot([], [], color=SOFT, label=WATCHED[kind])
    yield from axes.plot([], [], "*", color=SOFT, markersize=12, markeredgecolor=INK,
                         label="test, at the end")  # fmt: skip


def _story(line: Line) -> Iterator[str]:
    """How one run went, in numbers."""
    if line.history:
        first, last, epochs = line.history[0], line.history[-1], len(line.history)
        reach = f"from {percent(first['train_top1'])} to {percent(last['train_top1'])}"
        yield f"training accuracy {reach} in {epochs} epoch{'s' * (epochs > 1)}"
    if line.watched:
        score = f"{line.watched}_top1"
        best = max(line.history, key=lambda row: row[score])
        reach = f"from {percent(first[score])} to {percent(last[score])}"
        highest = f"best {percent(best[score])} at epoch {best['epoch']}"
        yield f"{WATCHED[line.watched]} accuracy {reach}, {highest}"
    if line.test:
        yield f"final test accuracy {percent(line.test['top1'])}"
        if line.test["loss"] is not None:
            yield f"test loss {line.test['loss']:.2f}"
