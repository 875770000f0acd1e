"""A report as a notebook holds it: its data, its runs, its table, its claims."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import pandas as pd

from labkit import compare, parameters, records
from labkit.data import Data, Split, available, load
from labkit.errors import InputError
from labkit.recipe import Recipe
from labkit.records import Record
from labkit.reports import Row, find_report, find_row
from labkit.train import cost, device
from labkit.train.fit import Run, fit

CHANGED = "changed"  # what a record calls the full preset with a notebook's own epochs or images


class Session:
    """One of the five reports, at one preset. Made by `lk.report(...)`."""

    def __init__(self, name: str, **values: Any) -> None:
        self.report = find_report(name)
        self.parameters = parameters.check(values)
        self.preset: str = self.parameters["preset"]
        self.device = self.parameters["device"]
        device.pick_device(self.device)
        self.synthetic = self._choose_synthetic()
        self._runs: dict[str, list[Run]] = {}

    def __reduce__(self) -> tuple:
        """Another process opens the report anew: its images do not travel."""
        return functools.partial(Session, self.report.name, **self.parameters), ()

    def __repr__(self) -> str:
        data, seeds = self.data, self.parameters["seeds"]
        kind = "SYNTHETIC stand-in" if data.synthetic else "real"
        lines = [
            f"Report {self.report.id}: {self.report.title}",
            f"preset  {self.preset}, {seeds} {'seed' if seeds == 1 else 'seeds'} a row,"
            f" on {device.pick_device(self.device).type}",
            f"data    {kind} {data.name}, {len(data.classes)} classes",
            f"        {len(data.train):,} training and {len(data.test):,} test images of"
            f" {'x'.join(map(str, data.shape))}",
        ]
        if not data.complete and not data.synthetic:
            lines.append(f"        a subset: the published set has {data.published[0]:,} images")
        if device.pick_device(self.device).type == "cpu":
            chosen = "device=cpu" if self.device == "cpu" else "no GPU here"
            lines.append(f"time    {chosen}: about {self._expected()} on this processor")
        return "\n".join(lines)

    def _expected(self) -> str:
        """How long all rows of the preset take, in words."""
        if self.preset == "smoke":  # made to; what its tiny runs take is not arithmetic
            return "a minute"
        target = device.pick_device(self.device)
        recipes = [self.recipe(row.id) for row in self.rows]
        one = sum(cost.estimate(recipe, self.data, target).seconds for recipe in recipes)
        minutes = one * self.parameters["seeds"] / 60
        return f"{minutes:,.0f} minutes" if minutes < 90 else f"{minutes / 60:,.0f} hours"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """The text, and beside it what the book's provenance box tells: data and device."""
        target = device.pick_device(self.device)
        card = device.device_card(target, device.use_bf16("auto", target))
        return {"text/plain": repr(self)}, {"labkit": {"data": self.data.card(), "device": card}}

    @functools.cached_property
    def data(self) -> Data:
        """The report's data set, or its stand-in.

        Raises:
            DataError: a copy is damaged, or there is none and no network.
        """
        return load(self._dataset(self.report.dataset))

    @property
    def rows(self) -> list[Row]:
        """The rows that this preset runs."""
        return self.report.at(self.preset)

    @property
    def all_rows(self) -> tuple[Row, ...]:
        """Every row of the report, whatever the preset."""
        return self.report.rows

    @property
    def long_rows(self) -> list[Row]:
        """The rows that the lesson has no time for; `run(row)` trains them as it does the others.

        Empty at the other presets, which run every row that they have.
        """
        ours = {row.id for row in self.rows}
        return [row for row in self.report.rows if row.at(self.preset) and row.id not in ours]

    def recipe(self, row: str, seed: int = 0) -> Recipe:
        """What `run(row)` trains by, with the notebook's parameters put in.

        Raises:
            InputError: no such row in this report, or none at this preset.
        """
        found, chosen = find_row(row)
        if found is not self.report:
            raise InputError(f"row {row} belongs to {found.name}, not to {self.report.name}")
        recipe = chosen.at(self.preset)
        if recipe is None:
            have = ", ".join(r.id for r in (*self.rows, *self.long_rows))
            raise InputError(f"row {row} is not part of preset {self.preset!r}; it has {have}")
        if self.synthetic:
            recipe = _within(recipe, len(self.data.train))
        changes = {name: self.parameters[name] for name in ("epochs", "train_size")}
        changes = {name: value for name, value in changes.items() if value}
        if recipe.hierarchy and "epochs" in changes:  # of every model in the system
            changes["hierarchy"] = dataclasses.replace(recipe.hierarchy, epochs=0)
        return recipe.replace(dataset=self._dataset(recipe.dataset), seed=seed, **changes)

    def run(self, row: str) -> Run:
        """Train a row, go on with it, or recall it; the run of its first seed."""
        return self.runs(row)[0]

    def runs(self, row: str) -> list[Run]:
        """As `run`, for every seed."""
        if row not in self._runs:
            seeds = range(self.parameters["seeds"])
            self._runs[row] = [self.train(row, seed) for seed in seeds]
        return self._runs[row]

    def train(self, row: str, seed: int = 0, *, deadline: float | None = None) -> Run:
        """One seed of a row; `deadline` as in `lk.fit`."""
        recipe = self.recipe(row, seed)
        if self.preset != "smoke":  # whose runs are too short for it
            device.release_memory()  # so that none is kept which would count in this run's peak
        return fit(
            recipe,
            self.data,
            device=self.device,
            fresh=self.parameters["fresh"],
            about={"row": row, "report": self.report.name, "preset": self.label(row, recipe)},
            deadline=deadline,
        )

    def label(self, row: str, recipe: Recipe) -> str:
        """The preset that a record names: "changed", where it is not the report's own budget."""
        own = find_row(row)[1].full.replace(dataset=recipe.dataset, seed=recipe.seed)
        ours = self.preset != "full" or self.synthetic or recipe.digest == own.digest
        return self.preset if ours else CHANGED

    def test(self, row: str) -> Split:
        """The test images that the row's records were scored on, in the order of predictions."""
        return self.data.test_subset(self.recipe(row).test_size)

    def table(self) -> pd.DataFrame:
        """published | recorded at full | this run | gap | source, for every row of the report."""
        titles = {row.id: row.title for row in self.report.rows}
        return compare.table(
            titles, self._records(), self.recorded("full"), compare.published(report=self.report.id)
        )

    def claims(self) -> pd.DataFrame:
        """Each claim of the report, judged by this notebook's runs."""
        found = self._records()
        return compare.verdicts(self.report.claims, found, self.report.shares(found))

    def recorded(self, preset: str) -> dict[str, list[Record]]:
        """The committed records of this report at a preset, by row."""
        return records.by_row(records.recorded(self.report.name, preset=preset))

    def committed(self, preset: str, *rows: str, seed: int | None = None) -> list[Record]:
        """As `recorded`, of these rows and in their order; of one seed, where one is given."""
        found = self.recorded(preset)
        every = [record for row in rows for record in found.get(row, [])]
        return [record for record in every if seed in (None, record.recipe.seed)]

    def _records(self) -> dict[str, list[Record]]:
        return {row: [run.record for run in runs] for row, runs in self._runs.items()}

    def _choose_synthetic(self) -> bool:
        choice = self.parameters["data"]
        if choice == "auto":
            return self.preset == "smoke" or not available(self.report.dataset)
        return choice == "synthetic"

    def _dataset(self, name: str) -> str:
        return f"synthetic_{name}" if self.synthetic else name


def _within(recipe: Recipe, images: int) -> Recipe:
    """The recipe with no more images than a stand-in has: it is smaller than the real set."""
    validation = min(recipe.validation, images // 5)
    return recipe.replace(
        validation=validation, train_size=min(recipe.train_size, images - validation)
    )
