"""Drawings of networks: a net's maps from left to right, and boxes joined by arrows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from labkit.figures.canvas import COLOURS, INK, SOFT, described, theme

FLAT = 4  # side at which a map of 1 x 1, or a vector, is drawn


def network(summary: Any, title: str = "The network"):
    """Each part that has parameters as the map it puts out; the Figure.

    Height is the side of the map, breadth follows the square root of its channels, and the colour
    tells the kind of part. `summary` is that of `lk.summary(net, shape, depth=1)`.
    """
    parts = [line for line in summary.lines if line.parameters]
    kinds = {kind: COLOURS[i % 7] for i, kind in enumerate(dict.fromkeys(p.kind for p in parts))}
    tallest = max([FLAT, *(part.output[-1] for part in parts if len(part.output) == 3)])
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(10, 1.8 + tallest / 16))
        left = 0.0
        for part in parts:
            channels, side = part.output[0], part.output[-1] if len(part.output) == 3 else 1
            high, broad = max(FLAT, side), 0.5 * channels**0.5
            axes.add_patch(
                plt.Rectangle((left, -high / 2), broad, high, color=kinds[part.kind], alpha=0.8)
            )
            middle = left + broad / 2
            axes.text(middle, high / 2 + 1.5, f"{channels}×{side}×{side}", ha="left", fontsize=8,
                      rotation=45, rotation_mode="anchor")  # fmt: skip
            axes.text(middle, -high / 2 - 1, f"{part.parameters:,}", ha="right", va="top",
                      fontsize=8, rotation=45, rotation_mode="anchor", color=SOFT)  # fmt: skip
            left += broad + 3
        handles = [plt.Rectangle((0, 0), 1, 1, color=c, alpha=0.8) for c in kinds.values()]
        figure.legend(handles, kinds, loc="outside lower center", ncols=7)
        axes.set(xlim=(-4, left + 2), ylim=(-tallest / 2 - 10, tallest / 2 + 11), title=title)
        axes.axis("off")
    told = [f"{p.kind} to {' × '.join(map(str, p.output))}, {p.parameters:,}" for p in parts]
    return described(
        figure,
        f"{title}: output and parameters of each part, {summary.parameters:,} in all."
        f" {'; '.join(told)}.",
    )


def flow(
    boxes: Mapping[str, tuple[float, float]],
    arrows: Sequence[tuple[str, str]],
    title: str,
    *,
    marked: Sequence[str] = (),
    labels: Mapping[str, tuple[float, float]] | None = None,
):
    """Boxes at (column, row), row 0 on top, and arrows between them; the Figure.

    A box shows its name; what comes after a "#" only tells two boxes of one name apart. `marked`
    boxes are drawn in a second colour; `labels` are words without a box.

    Raises:
        ValueError: an arrow begins or ends at a box that is not there.
    """
    lost = {end for arrow in arrows for end in arrow} - set(boxes)
    if lost:
        known = ", ".join(boxes)
        raise ValueError(f"an arrow names {min(lost)!r}, which is no box; the boxes are {known}")
    labels = labels or {}
    places = [*boxes.values(), *labels.values()]
    columns, rows = (max(place[i] for place in places) for i in (0, 1))
    top = min(row for _, row in places)
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(1.3 * columns + 1.5, 0.62 * (rows - top) + 1.1))
        for text, place in labels.items():
            axes.annotate(text, place, ha="center", va="center", fontsize=10, color=SOFT)
        drawn = {}
        for name, (column, row) in boxes.items():
            colour = COLOURS[1] if name in marked else COLOURS[0]
            drawn[name] = axes.annotate(
                _shown(name), (column, row), ha="center", va="center", fontsize=9,
                bbox={"boxstyle": "round,pad=0.4", "fc": "white", "ec": colour, "lw": 1.6},
            )  # fmt: skip
        for start, end in arrows:
            axes.annotate(
                "", boxes[end], boxes[start], zorder=3,  # after the boxes, whose edges it needs
                arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.1,
                            "patchA": drawn[start].get_bbox_patch(),
                            "patchB": drawn[end].get_bbox_patch(), "shrinkA": 1, "shrinkB": 1},
            )  # fmt: skip
        axes.set(xlim=(-0.6, columns + 0.6), ylim=(rows + 0.5, top - 0.5), title=title)
        axes.axis("off")
    told = "; ".join(f"{_shown(a)} to {_shown(b)}" for a, b in arrows)
    return described(figure, f"{title}. Arrows: {told}.")


def attention_stage():
    """The first attention stage of report 004's network (its figure 2); the Figure."""
    boxes = {
        "x": (1.9, 0), "unit#in": (1.9, 1), "2 units: the trunk T": (0.4, 4),
        "pool": (3.4, 1.9), "unit#1": (3.4, 2.9), "pool#2": (4.5, 2.9), "2 units#2": (4.5, 4),
        "grow": (4.5, 5.1), "unit#skip": (2.5, 4), "+": (3.4, 5.1), "unit#3": (3.4, 6),
        "grow#2": (3.4, 6.9), "+ T": (3.4, 7.8), "mask M\n1x1, 1x1, sigmoid": (1.9, 7.8),
        "(1 + M) T": (0.4, 7.8), "unit#out": (0.4, 8.8),
    }  # fmt: skip
    arrows = [
        ("x", "unit#in"), ("unit#in", "2 units: the trunk T"), ("unit#in", "pool"),
        ("pool", "unit#1"), ("unit#1", "pool#2"), ("pool#2", "2 units#2"), ("2 units#2", "grow"),
        ("grow", "+"), ("unit#1", "+"), ("unit#1", "unit#skip"), ("unit#skip", "+"),
        ("+", "unit#3"), ("unit#3", "grow#2"), ("grow#2", "+ T"),
        ("2 units: the trunk T", "+ T"), ("+ T", "mask M\n1x1, 1x1, sigmoid"),
        ("mask M\n1x1, 1x1, sigmoid", "(1 + M) T"), ("2 units: the trunk T", "(1 + M) T"),
        ("(1 + M) T", "unit#out"),
    ]  # fmt: skip
    marked = ("mask M\n1x1, 1x1, sigmoid", "(1 + M) T")
    return flow(boxes, arrows, "An attention stage with two levels in its mask", marked=marked)


def residual_units():
    """A residual block, a bottleneck, and the pre-activated bottleneck of report 004; the Figure.

    Its figure 1. In the third, batch normalisation and ReLU come before each convolution.
    """
    kinds = {
        "block": ["x", "3x3", "BN, ReLU", "3x3", "BN", "+", "ReLU"],
        "bottleneck": ["x", "1x1 in", "BN, ReLU", "3x3", "BN, ReLU", "1x1 out", "BN", "+",
                       "ReLU"],
        "pre-activated": ["x", "BN, ReLU", "1x1 in", "BN, ReLU", "3x3 with bias", "BN, ReLU",
                          "1x1 out", "+"],
    }  # fmt: skip
    return blocks(kinds, "A residual block, a bottleneck, and the bottleneck used here")


def residual_orders():
    """The two blocks of ResNet-34 that report 001 compares in its pictures 2 and 3; the Figure."""
    kinds = {
        "post-activation": ["x", "3x3", "BN, ReLU", "3x3", "BN", "+", "ReLU"],
        "pre-activation": ["x", "BN, ReLU", "3x3", "BN, ReLU", "3x3", "+"],
    }
    return blocks(kinds, "Post-activation (left) and full pre-activation (right)")


def blocks(
    kinds: Mapping[str, Sequence[str]],
    title: str,
    *,
    around: Mapping[str, tuple[int, str]] | None = None,
):
    """Chains of layers side by side, each under its name; the Figure.

    In a chain that has a "+", a shortcut goes from its first layer around the others to the sum.
    `around` gives, for a chain, another layer to start from and what the shortcut does.
    """
    around = around or {}
    apart = 2.6 if any("+" in layers for layers in kinds.values()) else 1.7
    boxes, arrows, labels = {}, [], {}
    for column, (kind, layers) in enumerate(kinds.items()):
        names = [f"{layer}#{kind} {row}" for row, layer in enumerate(layers)]
        boxes |= {name: (apart * column, row) for row, name in enumerate(names)}
        labels[kind] = (apart * column, -0.85)
        arrows += itertools.pairwise(names)
        if "+" in layers:
            start, what = around.get(kind, (0, "x itself"))
            end, shortcut = layers.index("+"), f"{what}#{kind}"
            boxes[shortcut] = (apart * column + 1.2, (start + end) / 2)
            arrows += [(names[start], shortcut), (shortcut, names[end])]
    sums = [name for name in boxes if name.startswith("+")]
    return flow(boxes, arrows, title, marked=sums, labels=labels)


def _shown(name: str) -> str:
    return name.partition("#")[0]
