"""Coarse-to-fine systems: what one is, where it errs, what other routing gives."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit import compare
from labkit.figures.canvas import (
    COLOURS,
    as_records,
    described,
    name,
    names,
    percent,
    theme,
    titled,
)
from labkit.figures.classes import membership
from labkit.figures.diagrams import flow

OUTCOMES = ("right", "right group, wrong class", "wrong group")
ROUTINGS = {
    "test_top1": "hard: the likeliest group only",
    "soft_top1": "soft: all groups, by probability",
    "oracle_top1": "oracle: the true group",
    "coarse_top1": "the router alone (right group)",
}
HATCHES = ("", "///", "...", "xx")


def coarse_to_fine(groups: Mapping[str, Sequence[str]]):
    """The way of an image through a router and one fine model for each group; the Figure.

    Report 000's figure 2. `groups` maps names to classes.
    """
    middle = (len(groups) - 1) / 2
    boxes = {"image": (0, middle), "router": (1.2, middle)}
    arrows = [("image", "router")]
    for row, (group, members) in enumerate(groups.items()):
        fine, answer = f"fine model {row + 1}", f"one of {len(members)} classes#{row}"
        boxes |= {group: (3.2, row), fine: (5.4, row), answer: (7.2, row)}
        arrows += [("router", group), (group, fine), (fine, answer)]
    title = f"A router and {len(groups)} fine models: an image goes one way only"
    return flow(boxes, arrows, title, marked=["router"])


def origins(record: Any, classes: Sequence[str], groups: Mapping[str, Sequence[str]]):
    """Which test images of each group are right, and who is to blame for the others; the Figure.

    In a system the router is to blame for a wrong group and the fine model for a wrong class in
    the right group; a flat network can be read in the same way.
    """
    (record,) = as_records(record)
    labels, guesses = compare.answers(record)
    member = membership(classes, groups)
    outcome = np.where(labels == guesses, 0, np.where(member[labels] == member[guesses], 1, 2))
    parts = {group: outcome[member[labels] == g] for g, group in enumerate(groups)}
    shares = {
        group: np.bincount(part, minlength=3) / max(1, len(part))
        for group, part in {**parts, "all": outcome}.items()
    }
    title = titled(f"{name(record)}: where the errors come from", [record])
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(9, 1.6 + 0.6 * len(shares)))
        left = np.zeros(len(shares))
        for index, what in enumerate(OUTCOMES):
            wide = np.array([100 * share[index] for share in shares.values()])
            axes.barh(range(len(shares)), wide, left=left, color=COLOURS[(2, 5, 1)[index]],
                      edgecolor="white", hatch=HATCHES[index], label=what)  # fmt: skip
            for row in np.flatnonzero(wide >= 6):
                axes.text(left[row] + wide[row] / 2, row, f"{wide[row]:.0f}", ha="center",
                          va="center", fontsize=10,
                          bbox={"fc": "white", "ec": "none", "pad": 1.5})  # fmt: skip
            left += wide
        axes.set_yticks(range(len(shares)), [textwrap.fill(group, 22) for group in shares])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="% of the test images of the group", title=title, xlim=(0, 100))
        figure.legend(loc="outside lower center", ncols=3)
    told = "; ".join(
        f"{group}: {percent(right)} right, {percent(fine)} right group but wrong class,"
        f" {percent(router)} wrong group"
        for group, (right, fine, router) in shares.items()
    )
    return described(figure, f"{title}. {told}.")


def routing(records: Any):
    """Test accuracy of coarse-to-fine systems under hard, soft and oracle routing; the Figure.

    Records without these numbers (flat networks) are left out.

    Raises:
        ValueError: none of the records is of a system.
    """
    found = [r for r in as_records(records) if compare.measure(r, "soft_top1") is not None]
    if not found:
        raise ValueError("none of the records is of a coarse-to-fine system; run one of its rows")
    scores = {metric: [compare.measure(r, metric) for r in found] for metric in ROUTINGS}
    title = titled("The same models under different routing", found)
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(9, 1.4 + 0.9 * len(found)))
        for index, (metric, what) in enumerate(ROUTINGS.items()):
            at = [row + 0.2 * (index - 1.5) for row in range(len(found))]
            axes.barh(at, [100 * v for v in scores[metric]], height=0.2, color=COLOURS[index],
                      edgecolor="white", hatch=HATCHES[index], label=what)  # fmt: skip
            for y, value in zip(at, scores[metric], strict=True):
                axes.annotate(percent(value), (100 * value, y), xytext=(4, 0), va="center",
                              textcoords="offset points", fontsize=9)  # fmt: skip
        axes.set_yticks(range(len(found)), names(found))
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="test top-1 (%)", title=title)
        figure.legend(loc="outside lower center", ncols=2)
    told = "; ".join(
        f"{row} " + ", ".join(f"{m.partition('_')[0]} {percent(scores[m][i])}" for m in ROUTINGS)
        for i, row in enumerate(names(found))
    ).replace("test ", "hard ").replace("coarse ", "router alone ")  # fmt: skip
    return described(figure, f"{title}, top-1 on test images. {told}.")
