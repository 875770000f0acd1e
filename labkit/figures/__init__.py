"""Figures from records (seaborn), and drawings; each comes with its alternative text.

    figure = lk.figures.curves(run)
    lk.figures.show(figure)

Needs the `[book]` extra; nothing here imports torch, so every picture can be redrawn from JSON.
"""

from labkit.figures.budget import over_time
from labkit.figures.canvas import alt, png, show, theme
from labkit.figures.charts import ablation, accuracy_against_cost, bars, schedule
from labkit.figures.classes import agreement, confusion, partition
from labkit.figures.curves import curves
from labkit.figures.diagrams import Box, flow, line, network
from labkit.figures.drawings import DRAWINGS, Drawing, drawing
from labkit.figures.drops import drops
from labkit.figures.pictures import answers, attention, augment_grid, gallery, samples
from labkit.figures.printed import read_off
from labkit.figures.source import Source, source
from labkit.figures.systems import coarse_to_fine, origins, routing
from labkit.figures.tree import Branch, family_tree

__all__ = [
    "DRAWINGS", "Box", "Branch", "Drawing", "Source", "ablation", "accuracy_against_cost",
    "agreement", "alt", "answers", "attention", "augment_grid", "bars", "coarse_to_fine",
    "confusion", "curves", "drawing", "drops", "family_tree", "flow", "gallery", "line",
    "network", "origins", "over_time", "partition", "png", "read_off", "routing", "samples",
    "schedule", "show", "source", "theme",
]  # fmt: skip
