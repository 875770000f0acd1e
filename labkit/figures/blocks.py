"""The block of each family of networks, drawn: what is repeated, and where the shortcut goes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from labkit.figures.diagrams import blocks, flow


def plain_stacks():
    """What the plain nets of reports 001 and 002 repeat; the Figure."""
    kinds = {
        "MNIST net": ["x", "3x3, ReLU", "3x3, ReLU", "pool", "dense, ReLU", "dense"],
        "a stage of MBN": ["x", "3x3, BN, ReLU", "3x3, BN, ReLU", "pool", "dropout"],
        "a stage of M1": ["x", "conv, ReLU", "pool"],
        "a stage of M4": ["x", "conv, ReLU", "conv, ReLU", "pool"],
    }
    return blocks(kinds, "Plain stacks: one layer reads the layer before it")


def line(rows: Sequence[Sequence[str]], title: str):
    """A net without branches, in rows that run to and fro; pooling is marked; the Figure."""
    boxes, column = {"x": (0, 0)}, 1
    for row, names in enumerate(rows):
        step = -1 if row % 2 else 1
        for place, name in enumerate(names):
            boxes[f"{name}#{row} {place}"] = (column + step * place, row)
        column += step * (len(names) - 1)
    left = min(column for column, _ in boxes.values())
    boxes = {name: (column - left, row) for name, (column, row) in boxes.items()}
    pools = [name for name in boxes if "pool" in name]
    return flow(boxes, list(itertools.pairwise(boxes)), title, marked=pools)


def basic_block():
    """ResNet's block, where the shape stays and where it changes; the Figure."""
    kinds = {
        "same shape": ["x", "3x3", "BN, ReLU", "3x3", "BN", "+", "ReLU"],
        "new shape": ["x", "3x3, stride 2", "BN, ReLU", "3x3", "BN", "+", "ReLU"],
    }
    title = "ResNet's block: ReLU after the sum"
    return blocks(kinds, title, around={"new shape": (0, "1x1, BN")})


def preact_block():
    """The full pre-activation block, where the shape stays and where it changes; the Figure."""
    kinds = {
        "same shape": ["x", "BN, ReLU", "3x3", "BN, ReLU", "3x3", "+"],
        "new shape": ["x", "BN, ReLU", "3x3, stride 2", "BN, ReLU", "3x3", "+"],
    }
    title = "The pre-activation block: nothing after the sum"
    return blocks(kinds, title, around={"new shape": (1, "1x1, stride 2")})


def wide_block():
    """A block of a pre-activation ResNet's first stage beside that of a wide one; the Figure."""
    kinds = {
        "PreResNet": ["x", "BN, ReLU", "3x3, 16", "BN, ReLU", "3x3, 16", "+"],
        "WRN": ["x", "BN, ReLU", "3x3, 16k", "BN, ReLU", "dropout, if any", "3x3, 16k",
                "+"],
    }  # fmt: skip
    return blocks(kinds, "A block of the first stage, thin and k times as wide")


def attention_unit():
    """The bottleneck of the residual attention network, in both its forms; the Figure."""
    rest = ["BN, ReLU", "3x3 with bias", "BN, ReLU", "1x1 out", "+"]
    kinds = {
        "same shape": ["x", "BN, ReLU", "1x1 in", *rest],
        "new shape": ["x", "BN, ReLU", "1x1 in", "BN, ReLU", "3x3, stride 1 or 2", *rest[2:]],
    }
    title = "The attention network's unit: a pre-activated bottleneck"
    return blocks(kinds, title, around={"new shape": (1, "1x1, same stride")})


def next_block():
    """ResNeXt's block: the 3x3 convolution in parallel paths; the Figure."""
    paths = ["3x3#1", "3x3#2", "3x3#3", "…", "3x3#g"]
    boxes = {"x": (2, 0), "1x1, BN, ReLU": (2, 1)}
    boxes |= {path: (column, 2.2) for column, path in enumerate(paths)}
    boxes |= {"join, BN, ReLU": (2, 3.4), "1x1, BN": (2, 4.4), "+": (2, 5.4), "ReLU": (2, 6.4),
              "x itself": (5.2, 2.7)}  # fmt: skip
    arrows = [("x", "1x1, BN, ReLU")]
    arrows += [("1x1, BN, ReLU", path) for path in paths]
    arrows += [(path, "join, BN, ReLU") for path in paths]
    arrows += [("join, BN, ReLU", "1x1, BN"), ("1x1, BN", "+"), ("+", "ReLU"), ("x", "x itself"),
               ("x itself", "+")]  # fmt: skip
    title = "ResNeXt's block: each path reads its own share of the channels"
    return flow(boxes, arrows, title, marked=["+"])


def res2_block():
    """Res2NeXt's block at four splits, the shape kept: a split reads the one before; the Figure."""
    boxes = {
        "x": (1.5, 0), "1x1, BN, ReLU": (1.5, 1),
        "split 1": (0, 2.2), "split 2": (1, 2.2), "split 3": (2, 2.2), "split 4": (3, 2.2),
        "3x3#1": (0, 3.2), "+#2": (1, 3.2), "3x3#2": (1, 4.2), "+#3": (2, 4.2), "3x3#3": (2, 5.2),
        "as it is": (3, 5.2), "join": (1.5, 6.4), "1x1, BN": (1.5, 7.4), "+": (1.5, 8.4),
        "ReLU": (1.5, 9.4), "x itself": (5, 2.8),
    }  # fmt: skip
    arrows = [
        ("x", "1x1, BN, ReLU"), *(("1x1, BN, ReLU", f"split {n}") for n in range(1, 5)),
        ("split 1", "3x3#1"), ("split 2", "+#2"), ("3x3#1", "+#2"), ("+#2", "3x3#2"),
        ("split 3", "+#3"), ("3x3#2", "+#3"), ("+#3", "3x3#3"), ("split 4", "as it is"),
        *((name, "join") for name in ("3x3#1", "3x3#2", "3x3#3", "as it is")),
        ("join", "1x1, BN"), ("1x1, BN", "+"), ("+", "ReLU"), ("x", "x itself"), ("x itself", "+"),
    ]  # fmt: skip
    title = "Res2NeXt's block: grouped 3x3 convolutions with BN and ReLU in a ladder"
    return flow(boxes, arrows, title, marked=[name for name in boxes if name.startswith("+")])


def dense_block():
    """Three layers of a dense block, and one layer from within; the Figure."""
    boxes, arrows, before = {"x": (0, 1)}, [], "x"
    for number in (1, 2, 3):
        layer, join = f"layer {number}", f"join#{number}"
        boxes |= {layer: (1.6 * number - 0.8, 0), join: (1.6 * number, 1)}
        arrows += [(before, layer), (layer, join), (before, join)]
        before = join
    within = ["all before", "BN, ReLU#1", "1x1", "BN, ReLU#2", "3x3", "joined to all"]
    boxes |= {name: (0.96 * column, 3) for column, name in enumerate(within)}
    arrows += itertools.pairwise(within)
    marked = [name for name in boxes if name.startswith("join#")]
    title = "DenseNet: what a layer adds is joined to all that came before, not summed"
    return flow(boxes, arrows, title, marked=marked, labels={"a layer:": (0, 2.2)})
