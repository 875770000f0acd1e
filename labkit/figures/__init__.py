"""Figures from records (seaborn). Each is returned with an alternative text from its own numbers.

    figure = lk.figures.curves(run)
    lk.figures.show(figure)

Needs the `[book]` extra; nothing here imports torch, so every picture can be redrawn from JSON.
"""

from labkit.figures.budget import over_time
from labkit.figures.canvas import alt, png, show, theme
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

__all__ = [
    "ablation", "accuracy_against_cost", "agreement", "alt", "answers", "attention",
    "attention_stage", "augment_grid", "bars", "coarse_to_fine", "confusion", "curves", "drops",
    "flow", "gallery", "network", "origins", "over_time", "partition", "png", "residual_orders",
    "residual_units", "routing", "samples", "schedule", "show", "theme",
]  # fmt: skip
