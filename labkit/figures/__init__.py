"""Figures from records (seaborn). Each is returned with an alternative text from its own numbers.

    figure = lk.figures.curves(run)
    lk.figures.show(figure)

Needs the `[book]` extra; nothing here imports torch, so every picture can be redrawn from JSON.
"""

from labkit.figures.blocks import (
    attention_unit,
    basic_block,
    dense_block,
    line,
    next_block,
    plain_stacks,
    preact_block,
    res2_block,
    wide_block,
)
from labkit.figures.budget import over_time
from labkit.figures.canvas import alt, png, show, show_any, theme
from labkit.figures.charts import (
    ablation,
    accuracy_against_cost,
    bars,
    schedule,
)
from labkit.figures.classes import agreement, confusion, partition
from labkit.figures.curves import curves
from labkit.figures.diagrams import (
    attention_stage,
    flow,
    network,
    residual_orders,
    residual_units,
)
from labkit.figures.drops import drops
from labkit.figures.pictures import answers, attention, augment_grid, gallery, samples
from labkit.figures.systems import coarse_to_fine, origins, routing
from labkit.figures.tree import Branch, family_tree

__all__ = [
    "Branch", "ablation", "accuracy_against_cost", "agreement", "alt", "answers", "attention",
    "attention_stage", "attention_unit", "augment_grid", "bars", "basic_block",
    "coarse_to_fine", "confusion", "curves", "dense_block", "drops", "family_tree", "flow",
    "gallery", "line", "network", "next_block", "origins", "over_time", "partition",
    "plain_stacks", "png", "preact_block", "res2_block", "residual_orders", "residual_units",
    "routing", "samples", "schedule", "show", "show_any", "theme", "wide_block",
]  # fmt: skip
