"""Rows that end in Z: what today's usual recipe makes of a report's task, on the same split.

One recipe for all, taken whole from the literature on small images and tuned by nobody here;
no test image had a say in it. SGD with Nesterov momentum 0.9 at rate 0.1, batch 128 and weight
decay 5e-4 on every parameter (DeVries and Taylor 2017, arXiv:1708.04552; Zagoruyko and Komodakis
2016, arXiv:1605.07146), warm-up (Goyal et al. 2017, arXiv:1706.02677), one cosine to 0 (Loshchilov
and Hutter 2017, arXiv:1608.03983), label smoothing 0.1 (Szegedy et al. 2016, arXiv:1512.00567),
crops and flips, and cutout where the published result has it. What counts is the last epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkit.recipe import Recipe
from labkit.reports.rows import Row

__all__ = ["OWN", "own"]

OWN = {
    "batch": 128, "lr": 0.1, "schedule": "cosine", "warmup": 0.05, "label_smoothing": 0.1,
    "optimizer": "sgd",
    "optimizer_options": {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    "augment": "crop_flip", "normalise": "standard",
}  # fmt: skip


def own(
    report: str, title: str, *, anchor: str, smoke: Mapping[str, Any],
    lesson: Mapping[str, Any] | None = None, id: str = "", **recipe: Any,
) -> Row:  # fmt: skip
    """The row of a report: OWN, with what `recipe` adds to it or puts in its place.

    Args:
        title: what the recipe trains, in the words of a title.
        anchor: which published result the row is held against; published.csv has its number.
        id: the row's own, where the report has more than one such row.
    """
    return Row(
        id=id or f"{report}-Z",
        title=f"labkit's own recipe: {title}",
        full=Recipe(**{**OWN, **recipe}),
        lesson=lesson,
        smoke=smoke,
        optional=True,
        note=f"ours, a recipe from the literature, untuned; held against {anchor}",
    )
