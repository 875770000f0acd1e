"""Drawings of networks tell in words what they show, and fold a net without losing a number."""

import pytest
import torch
from torch import nn

from labkit import figures
from labkit.figures import Box
from labkit.models import build, summary


def test_a_folded_summary_keeps_every_count():
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    whole, parts = summary(net, (3, 16, 16)), summary(net, (3, 16, 16), depth=1)
    assert [line.kind for line in parts.lines] == [
        "Sequential", "AdaptiveAvgPool2d", "Flatten", "Linear",
    ]  # fmt: skip
    assert parts.lines[0].output == (8, 16, 16)
    assert parts.parameters == whole.parameters == sum(line.parameters for line in parts.lines)
    assert parts.multiply_adds == whole.multiply_adds
    assert summary(net, (3, 16, 16), depth=2) == whole


def test_a_network_is_drawn_part_by_part():
    parts = summary(build("mnist_net", classes=10), (3, 32, 32), depth=1)
    text = figures.alt(figures.network(parts))
    drawn = [line for line in parts.lines if line.parameters]
    assert all(f"{line.parameters:,}" in text for line in drawn)
    assert f"{parts.parameters:,} in all" in text


def test_a_diagram_tells_its_arrows_and_is_a_picture():
    boxes = {1: Box("x", 0, 0), 2: Box("pool", 1, 0, marked=True), 3: Box("pool", 1, 1)}
    figure = figures.flow(boxes, [(1, 2), (2, 3)], "A way through two equal boxes")
    assert figures.alt(figure).endswith("Arrows: x to pool; pool to pool.")
    assert figures.png(figure).startswith(b"\x89PNG")


def test_an_arrow_joins_boxes_that_are_there():
    with pytest.raises(ValueError, match="'c', which is no box; the boxes are a, b"):
        figures.flow({"a": Box("A", 0, 0), "b": Box("B", 1, 1)}, [("a", "c")], "A wrong one")


def test_a_line_runs_to_and_fro():
    rows = [[("conv", False), ("pool", True)], [("conv", False)], [("dense", False)]]
    figure = figures.line(rows, "Three rows of layers")
    assert "x to conv; conv to pool; pool to conv; conv to dense." in figures.alt(figure)
    places = [note.xy for axes in figure.axes for note in axes.texts if note.get_text()]
    assert places == [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2)]


def test_following_an_image_leaves_a_net_as_it_was():
    net = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(3, 2, 1)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    summary(net, (3, 4, 4), depth=1)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
