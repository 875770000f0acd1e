"""The family tree of the networks: who descends from whom, and how large each member is."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labkit.figures.canvas import COLOURS, INK, SOFT, described, marker, theme

WIDE = 54  # letters in a line beneath a family's name
LINE = 0.19  # inches from one line to the next


@dataclass(frozen=True)
class Branch:
    """A family: what it descends from, what it changes, and the parameters of its members."""

    title: str
    parent: str  # the title of another branch, or nothing
    change: str
    members: Mapping[str, int]


def family_tree(branches: Sequence[Branch], title: str = "The families and their members"):
    """Families indented below what they descend from, beside their members' sizes; the Figure.

    A parent stands before its children.

    Raises:
        KeyError: a parent that does not stand before its child.
    """
    depths: dict[str, int] = {"": -1}
    for branch in branches:
        depths[branch.title] = depths[branch.parent] + 1
    written = [_written(branch, depths[branch.title]) for branch in branches]
    tops, y = [], 0.0
    for change, members in written:
        tops.append(y)
        y += LINE * (len(change) + len(members) + 2.2)
    with theme() as plt:
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(7.6, y + 0.7), width_ratios=(5, 2.4), sharey=True
        )
        for index, (branch, (change, members)) in enumerate(zip(branches, written, strict=True)):
            x, top = depths[branch.title], tops[index]
            left.text(x, top, branch.title, fontsize=11, weight="bold", va="center")
            below = top + 0.9 * LINE
            for lines, colour in ((change, INK), (members, COLOURS[0])):
                left.text(x + 0.45, below, "\n".join(lines), fontsize=8.5, va="top", color=colour,
                          linespacing=1.25)  # fmt: skip
                below += LINE * len(lines)
            _elbow(left, x, top, tops, branches, branch.parent)
            look = {"color": COLOURS[index % 7], "marker": marker(index)}
            sizes = list(branch.members.values())
            right.plot(sizes, [top + LINE] * len(sizes), linestyle="", markersize=7, alpha=0.85,
                       **look)  # fmt: skip
        left.set(xlim=(-0.4, 11), ylim=(y - LINE, -LINE), title=title)
        left.axis("off")
        right.set(xscale="log", xlabel="parameters, a mark for each member")
        right.set_yticks([top + LINE for top in tops], [])
    told = "; ".join(_told(branch) for branch in branches)
    return described(figure, f"{title}. {told}.")


def _written(branch: Branch, depth: int) -> tuple[list[str], list[str]]:
    """What stands beneath a family's name: what it changes, and its members."""
    wide = WIDE - 3 * depth
    return textwrap.wrap(branch.change, wide), textwrap.wrap(", ".join(branch.members), wide)


def _elbow(axes, x: float, top: float, tops, branches: Sequence[Branch], parent: str) -> None:
    """The line from a parent's name down and right to its child's."""
    if parent:
        start = tops[[branch.title for branch in branches].index(parent)]
        down, across = x - 0.8, x - 0.12
        axes.plot([down, down, across], [start + LINE, top, top], color=SOFT, linewidth=1.2)


def _told(branch: Branch) -> str:
    sizes = [f"{size:,}" for size in sorted(branch.members.values())]
    after = f" from {branch.parent}" if branch.parent else ""
    count = f"{len(sizes)} members" if sizes[1:] else "one member"
    reach = " to ".join(dict.fromkeys((sizes[0], sizes[-1])))
    return f"{branch.title}{after}: {branch.change}, {count} of {reach} parameters"
