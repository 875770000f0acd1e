"""Diagrams of networks: a net's maps from left to right, and boxes joined by arrows."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from labkit.figures.canvas import COLOURS, INK, SOFT, theme, with_alt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

__all__ = ["Box", "flow", "line", "network"]

FLAT = 4  # side at which a map of 1 x 1, or a vector, is drawn
APART = 3  # from one map to the next


def network(summary: Any, title: str = "The network") -> Figure:
    """Each part that has parameters as the map it puts out.

    Height is the side of the map, breadth follows the square root of its channels, and the colour
    tells the kind of part.

    Args:
        summary: that of `lk.summary(net, shape, depth=1)`.
        title: what stands above.
    """
    parts = [line for line in summary.lines if line.parameters]
    kinds = {kind: COLOURS[i % 7] for i, kind in enumerate(dict.fromkeys(p.kind for p in parts))}
    tallest = max(_size(part)[0] for part in parts)
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(10, 1.8 + tallest / 16))
        left = 0.0
        for part in parts:
            left = _map(axes, part, left, kinds[part.kind])
        handles = [plt.Rectangle((0, 0), 1, 1, color=c, alpha=0.8) for c in kinds.values()]
        figure.legend(handles, kinds, loc="outside lower center", ncols=7)
        axes.set(xlim=(-4, left + 2), ylim=(-tallest / 2 - 10, tallest / 2 + 11), title=title)
        axes.axis("off")
    return with_alt(figure, _network_caption(summary, parts, title))


class Box(NamedTuple):
    """A box of a diagram: its text, and where it stands; row 0 is on top."""

    text: str
    column: float
    row: float
    marked: bool = False  # drawn in a second colour


def flow(
    boxes: Mapping[Hashable, Box], arrows: Sequence[tuple[Hashable, Hashable]], title: str
) -> Figure:
    """Boxes, and arrows from one to another.

    Args:
        boxes: the boxes by their keys, which nobody sees.
        arrows: pairs of keys, from and to.
        title: what stands above.

    Raises:
        ValueError: an arrow begins or ends at a box that is not there.
    """
    lost = [end for arrow in arrows for end in arrow if end not in boxes]
    if lost:
        known = ", ".join(map(str, boxes))
        raise ValueError(f"an arrow names {lost[0]!r}, which is no box; the boxes are {known}")
    columns, rows = (
        max(place) for place in zip(*(box[1:3] for box in boxes.values()), strict=True)
    )
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(1.3 * columns + 1.5, 0.62 * rows + 1.1))
        notes = {key: _box(axes, box) for key, box in boxes.items()}
        for start, end in arrows:
            _arrow(axes, notes[start], notes[end])
        axes.set(xlim=(-0.6, columns + 0.6), ylim=(rows + 0.5, -0.5), title=title)
        axes.axis("off")
    caption = "; ".join(f"{boxes[a].text} to {boxes[b].text}" for a, b in arrows)
    return with_alt(figure, f"{title}. Arrows: {caption}.")


def line(rows: Sequence[Sequence[tuple[str, bool]]], title: str) -> Figure:
    """A net without branches, in rows that run to and fro.

    Args:
        rows: text of each layer, and whether it is marked (pooling).
        title: what stands above.
    """
    boxes, column = [Box("x", 0, 0)], 1
    for row, layers in enumerate(rows):
        step = -1 if row % 2 else 1
        for place, (text, marked) in enumerate(layers):
            boxes.append(Box(text, column + step * place, row, marked))
        column += step * (len(layers) - 1)
    left = min(box.column for box in boxes)
    boxes = [box._replace(column=box.column - left) for box in boxes]
    return flow(dict(enumerate(boxes)), list(itertools.pairwise(range(len(boxes)))), title)


def _size(part: Any) -> tuple[int, float, str]:
    """Height and breadth of a part as it is drawn, and its shape in words."""
    channels, side = part.output[0], part.output[-1] if len(part.output) == 3 else 1
    return max(FLAT, side), 0.5 * channels**0.5, f"{channels}×{side}×{side}"


def _map(axes: Axes, part: Any, left: float, colour: str) -> float:
    """Draw the map of one part; where the next one begins."""
    from matplotlib.patches import Rectangle

    high, broad, shape = _size(part)
    axes.add_patch(Rectangle((left, -high / 2), broad, high, color=colour, alpha=0.8))
    turned = {"fontsize": 8, "rotation": 45, "rotation_mode": "anchor"}
    axes.text(left + broad / 2, high / 2 + 1.5, shape, ha="left", **turned)
    axes.text(left + broad / 2, -high / 2 - 1, f"{part.parameters:,}", ha="right", va="top",
              color=SOFT, **turned)  # fmt: skip
    return left + broad + APART


def _network_caption(summary: Any, parts: Sequence[Any], title: str) -> str:
    outputs = [f"{p.kind} to {' × '.join(map(str, p.output))}, {p.parameters:,}" for p in parts]
    return (
        f"{title}: output and parameters of each part, {summary.parameters:,} in all."
        f" {'; '.join(outputs)}."
    )


def _box(axes: Axes, box: Box) -> Annotation:
    frame = {"boxstyle": "round,pad=0.4", "fc": "white", "lw": 1.6,
             "ec": COLOURS[1] if box.marked else COLOURS[0]}  # fmt: skip
    return axes.annotate(box.text, box[1:3], ha="center", va="center", fontsize=9, bbox=frame)


def _arrow(axes: Axes, start: Annotation, end: Annotation) -> None:
    """From the edge of one box to that of another, so it is drawn after them."""
    edges = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
    look = {"arrowstyle": "-|>", "color": INK, "lw": 1.1, "shrinkA": 1, "shrinkB": 1, **edges}
    axes.annotate("", end.xy, start.xy, zorder=3, arrowprops=look)
