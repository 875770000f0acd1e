"""The family tree of the networks: who descends from whom, and how large each member is."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkit.figures.canvas import COLOURS, INK, SOFT, marker, theme, with_alt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Branch", "family_tree"]

WIDE = 54  # letters in a line beneath a family's name
LINE = 0.19  # inches from one line to the next


@dataclass(frozen=True)
class Branch:
    """A family: what it descends from, what it changes, and the parameters of its members."""

    title: str
    parent: str  # the title of another branch, or nothing
    change: str
    members: Mapping[str, int]


def family_tree(
    branches: Sequence[Branch], title: str = "The families and their members"
) -> Figure:
    """Families indented below what they descend from, beside their members' sizes.

    Args:
        branches: the families; a parent stands before its children.
        title: what stands above.

    Raises:
        KeyError: a parent that does not stand before its child.
    """
    depths, tops, y = {"": -1}, {}, 0.0
    for branch in branches:
        depths[branch.title], tops[branch.title] = depths[branch.parent] + 1, y
        y += LINE * (sum(map(len, _lines(branch, depths[branch.title]))) + 2.2)
    with theme() as plt:
        size = {"figsize": (7.6, y + 0.7), "width_ratios": (5, 2.4)}
        figure, (left, right) = plt.subplots(1, 2, sharey=True, **size)
        for index, branch in enumerate(branches):
            depth, top = depths[branch.title], tops[branch.title]
            _words(left, branch, depth, top)
            if branch.parent:
                _elbow(left, depth, tops[branch.parent], top)
            sizes = list(branch.members.values())
            right.plot(sizes, [top + LINE] * len(sizes), linestyle="", markersize=7, alpha=0.85,
                       color=COLOURS[index % 7], marker=marker(index))  # fmt: skip
        left.set(xlim=(-0.4, 11), ylim=(y - LINE, -LINE), title=title)
        left.axis("off")
        right.set(xscale="log", xlabel="parameters, a mark for each member")
        right.set_yticks([top + LINE for top in tops.values()], [])
    return with_alt(figure, f"{title}. {'; '.join(map(_story, branches))}.")


def _lines(branch: Branch, depth: int) -> tuple[list[str], list[str]]:
    """What stands beneath a family's name: what it changes, and its members."""
    wide = WIDE - 3 * depth
    return textwrap.wrap(branch.change, wide), textwrap.wrap(", ".join(branch.members), wide)


def _words(axes: Axes, branch: Branch, depth: int, top: float) -> None:
    axes.text(depth, top, branch.title, fontsize=11, weight="bold", va="center")
    below = top + 0.9 * LINE
    for lines, colour in zip(_lines(branch, depth), (INK, COLOURS[0]), strict=True):
        axes.text(depth + 0.45, below, "\n".join(lines), fontsize=8.5, va="top", color=colour,
                  linespacing=1.25)  # fmt: skip
        below += LINE * len(lines)


def _elbow(axes: Axes, depth: int, start: float, top: float) -> None:
    """The line from a parent's name down and right to its child's."""
    down, across = depth - 0.8, depth - 0.12
    axes.plot([down, down, across], [start + LINE, top, top], color=SOFT, linewidth=1.2)


def _story(branch: Branch) -> str:
    """A family in a sentence of numbers."""
    sizes = [f"{size:,}" for size in sorted(branch.members.values())]
    after = f" from {branch.parent}" if branch.parent else ""
    count = f"{len(sizes)} members" if sizes[1:] else "one member"
    reach = " to ".join(dict.fromkeys((sizes[0], sizes[-1])))
    return f"{branch.title}{after}: {branch.change}, {count} of {reach} parameters"
