"""Coarse-to-fine systems: what one is, where it errs, what other routing gives."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import compare
from labkit.figures.canvas import (
    COLOURS,
    HATCHES,
    as_records,
    name,
    names,
    of_records,
    percent,
    sub,
    theme,
    titled,
    with_alt,
)
from labkit.figures.classes import membership
from labkit.figures.diagrams import Box, flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["coarse_to_fine", "origins", "routing"]

OUTCOMES = ("right", "right group, wrong class", "wrong group")
ROOM = 6  # percent of a bar that a number needs
# metric -> its word in a caption, and in the legend
ROUTINGS = {
    "test_top1": ("hard", "hard: the likeliest group only"),
    "soft_top1": ("soft", "soft: all groups, by probability"),
    "oracle_top1": ("oracle", "oracle: the true group"),
    "coarse_top1": ("router alone", "the router alone (right group)"),
}


def coarse_to_fine(groups: Mapping[str, Sequence[str]]) -> Figure:
    """The way of an image through a router and one fine model for each group.

    Report 000's figure 2.

    Args:
        groups: the classes of each group.
    """
    middle = (len(groups) - 1) / 2
    boxes = {"image": Box("image", 0, middle), "router": Box("router", 1.2, middle, marked=True)}
    arrows: list[tuple[Any, Any]] = [("image", "router")]
    for row, (group, members) in enumerate(groups.items()):
        way = [(row, place) for place in ("group", "model", "answer")]
        texts = (group, f"fine model {row + 1}", f"one of {len(members)} classes")
        for key, text, column in zip(way, texts, (3.2, 5.4, 7.2), strict=True):
            boxes[key] = Box(text, column, row)
        arrows += [("router", way[0]), (way[0], way[1]), (way[1], way[2])]
    title = f"A router and {len(groups)} fine models: an image goes one way only"
    return flow(boxes, arrows, title)


@of_records
def origins(record: Any, classes: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Figure:
    """Which test images of each group are right, and who is to blame for the others.

    In a system the router is to blame for a wrong group and the fine model for a wrong class in
    the right group; a flat network can be read in the same way.

    Args:
        record: evidence, a run or a record; of several, the first is shown.
        classes: the names of its classes, in the order of their numbers.
        groups: the classes of each group.

    Raises:
        ValueError: a class is in no group.
    """
    record = as_records(record)[0]
    shares = _outcomes(record, classes, groups)
    title = f"{name(record)}: where the errors come from"
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(9, 1.6 + 0.6 * len(shares)))
        left = np.zeros(len(shares))
        for index in range(len(OUTCOMES)):
            wide = np.array([100 * share[index] for share in shares.values()])
            _outcome(axes, left, wide, index)
            left += wide
        axes.set_yticks(range(len(shares)), [textwrap.fill(group, 22) for group in shares])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="% of the test images of the group", xlim=(0, 100),
                 title=sub(title, [record], 7))  # fmt: skip
        figure.legend(loc="outside lower center", ncols=3)
    caption = "; ".join(
        f"{group}: {percent(right)} right, {percent(fine)} right group but wrong class,"
        f" {percent(router)} wrong group"
        for group, (right, fine, router) in shares.items()
    )
    return with_alt(figure, f"{titled(title, [record])}. {caption}.")


@of_records
def routing(records: Any) -> Figure:
    """Test accuracy of coarse-to-fine systems under hard, soft and oracle routing.

    Args:
        records: evidence, runs or records; flat networks, without these numbers, are left out.

    Raises:
        ValueError: none of the records is of a system.
    """
    records = [r for r in as_records(records) if compare.measure(r, "soft_top1") is not None]
    if not records:
        raise ValueError("none of the records is of a coarse-to-fine system; run one of its rows")
    scores = {metric: [compare.measure(r, metric) for r in records] for metric in ROUTINGS}
    title = "The same models under different routing"
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(9, 1.4 + 0.9 * len(records)))
        for index, metric in enumerate(ROUTINGS):
            _scores(axes, scores[metric], index, ROUTINGS[metric][1])
        axes.set_yticks(range(len(records)), [textwrap.fill(n, 30) for n in names(records)])
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="test top-1 (%)", title=sub(title, records, 7))
        figure.legend(loc="outside lower center", ncols=2)
    caption = "; ".join(
        f"{row} " + ", ".join(f"{ROUTINGS[m][0]} {percent(scores[m][i])}" for m in ROUTINGS)
        for i, row in enumerate(names(records))
    )
    return with_alt(figure, f"{titled(title, records)}. Top-1 on test images: {caption}.")


def _outcomes(record: Mapping[str, Any], classes, groups) -> dict[str, np.ndarray]:
    """Of each group and of all: the shares [3] of its test images that met each outcome."""
    labels, guesses = compare.answers(record)
    member = membership(classes, groups)
    outcome = np.where(labels == guesses, 0, np.where(member[labels] == member[guesses], 1, 2))
    parts = {group: outcome[member[labels] == g] for g, group in enumerate(groups)}
    return {
        group: np.bincount(part, minlength=3) / max(1, len(part))
        for group, part in {**parts, "all": outcome}.items()
    }


def _outcome(axes: Axes, left: np.ndarray, wide: np.ndarray, index: int) -> None:
    """One outcome's part of every bar, with its number where that fits."""
    axes.barh(range(len(wide)), wide, left=left, color=COLOURS[(2, 5, 1)[index]],
              edgecolor="white", hatch=HATCHES[index], label=OUTCOMES[index])  # fmt: skip
    paper = {"fc": "white", "ec": "none", "pad": 1.5}
    for row in np.flatnonzero(wide >= ROOM):
        axes.text(left[row] + wide[row] / 2, row, f"{wide[row]:.0f}", ha="center", va="center",
                  fontsize=10, bbox=paper)  # fmt: skip


def _scores(axes: Axes, scores: Sequence[float], index: int, label: str) -> None:
    """One kind of routing: a bar for each record."""
    at = [row + 0.2 * (index - 1.5) for row in range(len(scores))]
    axes.barh(at, [100 * score for score in scores], height=0.2, color=COLOURS[index],
              edgecolor="white", hatch=HATCHES[index], label=label)  # fmt: skip
    for y, score in zip(at, scores, strict=True):
        axes.annotate(percent(score), (100 * score, y), xytext=(4, 0), va="center",
                      textcoords="offset points", fontsize=9)  # fmt: skip
