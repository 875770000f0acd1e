"""Learning curves: how a run, or several, went from epoch to epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from labkit.figures.canvas import (
    COLOURS,
    INK,
    SOFT,
    as_records,
    described,
    marker,
    names,
    percent,
    theme,
    titled,
)

TRAINING = (0, (4, 2))  # dashes
STEEP = 20  # a loss so many times the usual one wants a log axis
WATCHED = {"val": "validation", "test": "test, each epoch"}


def curves(records: Any):
    """Accuracy and loss by epoch of one run or several, training and validation; the Figure.

    Validation lines are solid, training lines thin and dashed; the test score of the final
    weights is a star. Of a coarse-to-fine system, each of its models has a line. `records` is a
    run, a record, or a list of either.
    """
    records = as_records(records)
    lines = [line for pair in zip(records, names(records), strict=True) for line in _lines(*pair)]
    with theme() as plt:
        figure, (accuracy, loss) = plt.subplots(1, 2, figsize=(10, 4))
        for index, line in enumerate(lines):
            _curve(accuracy, line, index, "top1", scale=100)
            _curve(loss, line, index, "loss", scale=1)
        accuracy.set(xlabel="epoch", ylabel="accuracy (%)", title=titled("Accuracy", records))
        loss.set(xlabel="epoch", ylabel="cross-entropy", title=titled("Loss", records))
        heights = [y for drawn in loss.lines for y in drawn.get_ydata()]
        if max(heights) > STEEP * sorted(heights)[len(heights) // 2]:  # one epoch hides the others
            loss.set(yscale="log", ylabel="cross-entropy (log scale)")
        for axes in (accuracy, loss):
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        _key(figure, accuracy, lines)
    stories = " ".join(_story(line) for line in lines)
    return described(figure, f"{titled('Learning curves', records)}. {stories}")


class Line(NamedTuple):
    """What one colour of the learning curves shows."""

    title: str
    rows: list[dict[str, Any]]  # one an epoch
    test: Mapping[str, Any] | None  # after the last epoch
    end: int  # the epoch where the test score stands

    @property
    def watched(self) -> str | None:
        """What was scored after each epoch: "val", "test", or neither."""
        last = self.rows[-1] if self.rows else {}
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


def _curve(axes, line: Line, index: int, what: str, scale: int) -> None:
    """The training and validation lines of one model, and its final test score."""
    colour = COLOURS[index % 7]
    if line.rows:
        history = pd.DataFrame(line.rows)
        axes.plot(history.epoch, scale * history[f"train_{what}"], linestyle=TRAINING,
                  linewidth=1.4, color=colour)  # fmt: skip
        if not line.watched:  # then the training line must be told from others by its markers
            axes.lines[-1].set(marker=marker(index), markersize=5)
        else:
            axes.plot(history.epoch, scale * history[f"{line.watched}_{what}"], color=colour,
                      marker=marker(index), markersize=5,
                      markevery=max(1, len(history) // 8))  # fmt: skip
    if line.test and line.test[what] is not None:
        axes.plot(line.end, scale * line.test[what], "*", color=colour, markersize=14,
                  markeredgecolor=INK)  # fmt: skip


def _key(figure, axes, lines: Sequence[Line]) -> None:
    """One legend for both panels: a colour for each model, a style for each kind of score."""
    handles = [
        axes.plot([], [], color=COLOURS[i % 7], marker=marker(i), label=line.title)[0]
        for i, line in enumerate(lines)
        if line.rows
    ]
    handles += axes.plot([], [], linestyle=TRAINING, linewidth=1.4, color=SOFT, label="training")
    watched = {line.watched for line in lines} - {None}
    handles += [
        axes.plot([], [], color=SOFT, label=WATCHED[kind])[0] for kind in WATCHED if kind in watched
    ]
    handles += axes.plot([], [], "*", color=SOFT, markersize=12, markeredgecolor=INK,
                         label="test, at the end")  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))


def _story(line: Line) -> str:
    """How one run went, in a sentence of numbers."""
    parts = []
    if line.rows:
        first, last = line.rows[0], line.rows[-1]
        parts.append(
            f"training accuracy from {percent(first['train_top1'])} to"
            f" {percent(last['train_top1'])} in {len(line.rows)} epoch{'s' * (len(line.rows) > 1)}"
        )
    if line.watched:
        score = f"{line.watched}_top1"
        best = max(line.rows, key=lambda row: row[score])
        parts.append(
            f"{WATCHED[line.watched]} accuracy from {percent(first[score])} to"
            f" {percent(last[score])}, best {percent(best[score])} at epoch {best['epoch']}"
        )
    if line.test:
        parts.append(f"final test accuracy {percent(line.test['top1'])}")
        if line.test["loss"] is not None:
            parts.append(f"test loss {line.test['loss']:.2f}")
    return f"{line.title}: {'; '.join(parts)}."
