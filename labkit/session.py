"""A report as a notebook holds it: its data, its runs, its table, its claims."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from labkit import compare, parameters, records
from labkit.compare import Evidence
from labkit.data import Data, Split, available, load
from labkit.errors import InputError
from labkit.recipe import Recipe
from labkit.records import Record
from labkit.reports import Row, find_report, find_row
from labkit.train import device
from labkit.train.fit import Run, fit
from labkit.train.forecast import estimate

__all__ = ["Session"]


class Session:
    """One of the five reports, at one preset. Made by `lk.report(...)`.

    Raises:
        InputError: no such report, or a parameter that no notebook has or takes.
    """

    def __init__(self, name: str, **values: Any) -> None:
        self.report = find_report(name)
        self.parameters = parameters.check(values)
        self.preset: str = self.parameters["preset"]
        self.device: str = self.parameters["device"]
        self._target = device.pick_device(self.device)
        data, dataset = self.parameters["data"], self.report.dataset
        absent = data == "auto" and (self.preset == "smoke" or not available(dataset))
        self.synthetic: bool = absent or data == "synthetic"
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
            f" on {self._target.type}",
            f"data    {kind} {data.name}, {len(data.classes)} classes",
            f"        {len(data.train):,} training and {len(data.test):,} test images of"
            f" {'x'.join(map(str, data.shape))}",
        ]
        if not data.complete and not data.synthetic:
            lines += [f"        a subset: the published set has {data.published[0]:,} images"]
        if self._target.type == "cpu":
            choice = "device=cpu" if self.device == "cpu" else "no GPU here"
            lines += [f"time    {choice}: about {self._expected_time()} on this processor"]
        return "\n".join(lines)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """The text, and beside it what the book's provenance box tells: data and device."""
        card = device.device_card(self._target, device.use_bf16("auto", self._target))
        return {"text/plain": repr(self)}, {"labkit": {"data": self.data.card(), "device": card}}

    @functools.cached_property
    def data(self) -> Data:
        """The report's data set, or its stand-in.

        Raises:
            DataError: a copy is damaged, or there is none and no network.
        """
        return load(self._dataset(self.report.dataset))

    @functools.cached_property
    def real(self) -> Data | None:
        """The report's own images, whatever the preset, where they are on this machine."""
        dataset = self.report.dataset
        if not available(dataset):
            return None
        return self.data if self.data.name == dataset else load(dataset)

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
        rows = self.all_rows if self.preset == "lesson" else ()
        return [row for row in rows if row.long and row.lesson is not None]

    def recipe(self, row: str, seed: int = 0) -> Recipe:
        """What `run(row)` trains by, with the notebook's parameters put in.

        Raises:
            InputError: no such row in this report, or none at this preset.
        """
        recipe = self._own_row(row).at(self.preset)
        if recipe is None:
            rows = ", ".join(each.id for each in (*self.rows, *self.long_rows))
            raise InputError(f"row {row} is not part of preset {self.preset!r}; it has {rows}")
        return self._budget(recipe).replace(dataset=self._dataset(recipe.dataset), seed=seed)

    def _own_row(self, row: str) -> Row:
        report, experiment = find_row(row)
        if report is not self.report:
            raise InputError(f"row {row} belongs to {report.name}, not to {self.report.name}")
        return experiment

    def _budget(self, recipe: Recipe) -> Recipe:
        """The recipe with the notebook's epochs and images, and no more than a stand-in has."""
        changes = {}
        if self.synthetic:  # it is smaller than the real set
            images = len(self.data.train)
            changes["validation"] = min(recipe.validation, images // 5)
            changes["train_size"] = min(recipe.train_size, images - changes["validation"])
        names = ("epochs", "train_size")
        changes |= {name: self.parameters[name] for name in names if self.parameters[name]}
        if recipe.hierarchy and "epochs" in changes:  # of every model in the system
            changes["hierarchy"] = dataclasses.replace(recipe.hierarchy, epochs=0)
        return recipe.replace(**changes)

    def run(self, row: str) -> Run:
        """Train a row, go on with it, or recall it; the run of its first seed."""
        return self.runs(row)[0]

    def runs(self, row: str) -> list[Run]:
        """As `run`, for every seed."""
        if row not in self._runs:
            self._runs[row] = [self.train(row, seed) for seed in range(self.parameters["seeds"])]
        return self._runs[row]

    def train(self, row: str, seed: int = 0, *, deadline: float | None = None) -> Run:
        """One seed of a row; `deadline` and what may be raised are as in `lk.fit`."""
        recipe = self.recipe(row, seed)
        if self.preset != "smoke":  # whose runs are too short for it
            device.release_memory()  # so that none is kept which would count in this run's peak
        preset, fresh = self.record_preset(row, recipe), self.parameters["fresh"]
        about = {"row": row, "report": self.report.name, "preset": preset}
        return fit(
            recipe, self.data, device=self.device, fresh=fresh, about=about, deadline=deadline
        )

    def record_preset(self, row: str, recipe: Recipe) -> str:
        """The preset that a record names: "changed", where it is not the report's own budget."""
        full = find_row(row)[1].full.replace(dataset=recipe.dataset, seed=recipe.seed)
        changed = self.preset == "full" and not self.synthetic and recipe.digest != full.digest
        return "changed" if changed else self.preset

    def scored(self, runs: Iterable[Record]) -> Split | None:
        """The real test images in the order of predictions, as the first run has them that can.

        None where this machine does not have them, or where they lie in another order than when
        the runs were made.
        """
        for record in runs if self.real else ():
            split = self.real.test_subset(len(record.labels))
            if np.array_equal(split.labels, record.labels):
                return split
        return None

    def test(self, row: str) -> Split:
        """The test images that the row's records were scored on, in the order of predictions."""
        return self.data.test_subset(self.recipe(row).test_size)

    def table(self) -> pd.DataFrame:
        """published | at full | gap, for every row that has a printed number or a full record."""
        full, published = self.evidence().rows, compare.published(report=self.report.id)
        return compare.table(self._titles(), full, published)

    def lessons(self) -> pd.DataFrame:
        """What was seen in class: contrasts between rows, with intervals."""
        noise = compare.Noise(records.recorded())
        claims, titles = self.report.claims, self._titles()
        return compare.lessons(claims, titles, self._run_records(), self._recorded(), noise)

    def planned(self) -> pd.DataFrame:
        """The rows that have not been run at the report's own budget, and what was seen of them."""
        return compare.planned(self._titles(), self._run_records(), self._recorded())

    def proof(self) -> pd.DataFrame:
        """What this notebook has trained: images, epochs, time; on real images accuracy as well."""
        return compare.proof(self._titles(), self._run_records(), self._recorded())

    def claims(self) -> pd.DataFrame:
        """Each claim of the report, judged by this notebook's runs and the recorded ones.

        Of a run that was also recorded, the notebook's own counts.
        """
        own = list(itertools.chain(*self._run_records().values()))
        again = {(record["row"], record["digest"]) for record in own}
        others = [r for r in records.recorded() if (r["row"], r["digest"]) not in again]
        report = [r for r in others if r["report"] == self.report.name]
        noise = compare.Noise([*others, *own])
        return compare.verdicts(self.report.claims, records.by_row([*report, *own]), noise)

    def evidence(self, *rows: str, alike: bool = False) -> Evidence:
        """For each row the best records there are, of this notebook or published with it.

        On real images only; rows without any are its `untested`. No rows are all of the report.

        Args:
            rows: ids, in the order in which they are wanted.
            alike: all at one budget, that which most of the rows have.

        Raises:
            InputError: no such row in this report.
        """
        for row in rows:
            self._own_row(row)
        wanted = rows or [row.id for row in self.all_rows]
        return compare.evidence(wanted, self._run_records(), self._recorded(), alike=alike)

    def _titles(self) -> dict[str, str]:
        return {row.id: row.title for row in self.all_rows}

    def _recorded(self) -> dict[str, list[Record]]:
        return records.by_row(records.recorded(self.report.name))

    def _run_records(self) -> dict[str, list[Record]]:
        return {row: [run.record for run in runs] for row, runs in self._runs.items()}

    def _expected_time(self) -> str:
        """How long all rows of the preset take, in words."""
        if self.preset == "smoke":  # made to; what its tiny runs take is not arithmetic
            return "a minute"
        recipes = [self.recipe(row.id) for row in self.rows]
        costs = [estimate(recipe, self.data, self._target) for recipe in recipes]
        minutes = sum(each.seconds for each in costs) * self.parameters["seeds"] / 60
        return f"{minutes:,.0f} minutes" if minutes < 90 else f"{minutes / 60:,.0f} hours"

    def _dataset(self, name: str) -> str:
        return f"synthetic_{name}" if self.synthetic else name
