"""What a report is made of: rows (one experiment each) and the claims drawn from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.compare import Claim
from labkit.recipe import Recipe

__all__ = ["PRESETS", "Report", "Row"]

PRESETS = ("smoke", "lesson", "full")
SMOKE = {"epochs": 2, "train_size": 400, "validation": 0, "test_size": 200, "patience": 0}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One experiment of a report.

    `full` is the report's own budget. `lesson` and `smoke` are what those presets change of it:
    data and epochs, never what the row is. A row without `lesson` has none; the lesson of a row
    that is `long` would not fit the class hour beside the others.
    """

    id: str  # as in "002-M1"
    title: str
    full: Recipe
    lesson: Mapping[str, Any] | None = None
    smoke: Mapping[str, Any] = field(default_factory=dict)
    long: bool = False  # its lesson is run by itself, not with the notebook
    optional: bool = False  # not printed by the report: a control, or what it could not finish
    note: str = ""

    def at(self, preset: str) -> Recipe | None:
        """The recipe of a preset, on real data; None where the preset leaves the row out."""
        if preset == "full":
            return self.full
        changes = {"lesson": self.lesson, "smoke": {**SMOKE, **self.smoke}}.get(preset)
        return None if changes is None else self.full.replace(**changes)


@dataclass(frozen=True, kw_only=True)
class Report:
    """One report as data."""

    id: str  # as in "002"
    name: str  # as in lk.report(name)
    title: str
    notebook: str  # the file in notebooks/, without its ending
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]
    proof: tuple[str, ...] = ()  # the rows of a notebook at smoke, which run all of its code

    def at(self, preset: str) -> list[Row]:
        """The rows that a notebook runs at a preset: all that it has, but a lesson's long ones.

        At smoke they are the few that prove the code of the page.
        """
        if preset == "smoke":
            return [row for row in self.rows if row.id in self.proof]
        lesson = preset == "lesson"
        return [row for row in self.rows if row.at(preset) and not (lesson and row.long)]

    @property
    def dataset(self) -> str:
        """The name of the one data set that all its rows use."""
        return self.rows[0].full.dataset
