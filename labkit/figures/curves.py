"""Learning curves: how a run, or several, went from epoch to epoch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from labkit.figures.canvas import (
    COLOURS,
    INK,
    SOFT,
    as_records,
    marker,
    names,
    of_records,
    span,
    sub,
    theme,
    titled,
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


@of_records
def curves(records: Any) -> Figure:
    """Accuracy and loss by epoch of one row or several, training and validation.

    Validation lines are solid, training lines thin and dashed; the test score of the final
    weights is a star. The seeds of a row have one colour. Of a coarse-to-fine system, each of its
    models has a line.

    Args:
        records: evidence, runs or records.

    Raises:
        ValueError: there is none.
    """
    records = as_records(records)
    pairs = zip(records, names(records, seeds=False), strict=True)
    lines = [line for record, name in pairs for line in _lines(record, name)]
    colours = {title: i for i, title in enumerate(dict.fromkeys(line.title for line in lines))}
    with theme() as plt:
        figure, (accuracy, loss) = plt.subplots(1, 2, figsize=(10, 4.4))
        for line in lines:
            _curve(accuracy, line, colours[line.title], "top1", scale=100)
            _curve(loss, line, colours[line.title], "loss", scale=1)
        accuracy.set(xlabel="epoch", ylabel="accuracy (%)", title="Accuracy")
        loss.set(xlabel="epoch", ylabel="cross-entropy", title="Loss")
        if _steep(loss):
            loss.set(yscale="log", ylabel="cross-entropy (log scale)")
        for axes in (accuracy, loss):
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        handles = [*_model_keys(accuracy, lines, colours), *_style_keys(accuracy, lines)]
        figure.legend(handles=handles, loc="outside lower center", ncols=3 if _long(lines) else 5)
        figure.suptitle(sub("Learning curves", records, 10), x=0.01, ha="left", fontsize=12)
    stories = (_story(title, [li for li in lines if li.title == title]) for title in colours)
    return with_alt(figure, f"{titled('Learning curves', records)}. {' '.join(stories)}")


class Line(NamedTuple):
    """What one line of the learning curves shows; seeds of a row share its title."""

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
    models = [Line(f"{title}: {part}", rows, None, end) for part, rows in parts.items()]
    return [*models, Line(f"{title} as a whole", [], record["test"], end)]


def _long(lines: Sequence[Line]) -> bool:
    """Whether a title is too long for a legend of five columns."""
    return max(len(line.title) for line in lines) > 20


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


def _model_keys(axes: Axes, lines: Sequence[Line], colours: Mapping[str, int]) -> Iterator[Line2D]:
    """For the legend: a colour for each model."""
    for title in dict.fromkeys(line.title for line in lines if line.history):
        i, words = colours[title], textwrap.fill(title, 38)
        yield from axes.plot([], [], color=COLOURS[i % 7], marker=marker(i), label=words)


def _style_keys(axes: Axes, lines: Sequence[Line]) -> Iterator[Line2D]:
    """For the legend: a style for each kind of score."""
    yield from axes.plot([], [], color=SOFT, label="training", **TRAINING)
    watched = {line.watched for line in lines}
    for kind in WATCHED:
        if kind in watched:
            yield from axes.plot([], [], color=SOFT, label=WATCHED[kind])
    yield from axes.plot([], [], "*", color=SOFT, markersize=12, markeredgecolor=INK,
                         label="test, at the end")  # fmt: skip


def _story(title: str, lines: Sequence[Line]) -> str:
    """How one row went, in numbers: a sentence about all of its seeds."""
    parts = [f"{title}: {len(lines)} seeds," if len(lines) > 1 else f"{title}:"]
    history = [line.history for line in lines if line.history]
    if history:
        epochs = max(map(len, history))
        reach = _reach(history, "train_top1")
        parts += [f"training accuracy {reach} in {epochs} epoch{'s' * (epochs > 1)};"]
    watched = lines[0].watched
    if watched:
        score = f"{watched}_top1"
        best = [max(rows, key=lambda row: row[score]) for rows in history]
        at = sorted({row["epoch"] for row in best})
        highest = f"best {span([row[score] for row in best])} at epoch {_range(at)}"
        parts += [f"{WATCHED[watched]} accuracy {_reach(history, score)}, {highest};"]
    tests = [line.test for line in lines if line.test]
    if tests:
        parts += [f"final test accuracy {span([test['top1'] for test in tests])};"]
    losses = [test["loss"] for test in tests if test["loss"] is not None]
    if losses:
        parts += [f"test loss {_range([f'{loss:.2f}' for loss in sorted(losses)])};"]
    return " ".join(parts).removesuffix(";") + "."


def _reach(history: Sequence[Sequence[Mapping[str, Any]]], score: str) -> str:
    """The first and the last value of a score, over all seeds."""
    first, last = (span([rows[at][score] for rows in history]) for at in (0, -1))
    return f"from {first} up to {last}" if " to " in first + last else f"from {first} to {last}"


def _range(values: Sequence[Any]) -> str:
    return f"{values[0]}" if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
