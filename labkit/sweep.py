"""Train every record that is missing: the run matrix of the reports, in one command."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit import records
from labkit.recipe import Recipe
from labkit.reports import REPORTS, find_row, find_study
from labkit.reports.rows import Row, Study
from labkit.study import Report
from labkit.train import OutOfTimeError, TrainingError


@dataclass(frozen=True)
class Job:
    report: Report
    row: Row
    seed: int
    recipe: Recipe
    path: Path  # where its record belongs


def run_sweep(
    targets: Sequence[str],
    open_report: Callable[[str], Report],
    *,
    out: Path | None = None,
    deadline: float | None = None,
    dry_run: bool = False,
    optional: bool = False,
) -> int:
    """Train what is missing, in the reports' order; each record is written when it is earned.

    Returns 0 when every record is there, 1 when a row failed or the deadline came first.
    """
    out = Path(out) if out else records.records_home()
    jobs = [job for name in _studies(targets) for job in _jobs(open_report(name), out)]
    jobs = [job for job in jobs if _wanted(job, targets, optional)]
    missing = [job for job in jobs if not job.path.exists()]
    print(f"{len(jobs)} records, {len(missing)} to train", file=sys.stderr)
    if dry_run:
        for job in missing:
            print(f"{job.row.id:<12} seed {job.seed}  {_cost(job)}")
        return 0
    failed = 0
    for job in missing:
        if deadline is not None and time.monotonic() > deadline:
            print("out of time; the same command goes on from here", file=sys.stderr)
            return 1
        try:
            run = job.report.train(job.row.id, job.seed, deadline=deadline)
        except OutOfTimeError as stop:
            print(stop, file=sys.stderr)
            return 1
        except TrainingError as error:
            failed += 1
            print(f"{job.row.id}: {error}", file=sys.stderr)
            continue
        records.claim(run.record, job.path)
        print(run.record, flush=True)
    return int(bool(failed))


def _studies(targets: Sequence[str]) -> list[str]:
    if not targets:
        return list(REPORTS)
    rows = {row.id for study in REPORTS.values() for row in study.rows}
    named = [find_row(t)[0] if t in rows or "-" in t else find_study(t) for t in targets]
    return list(dict.fromkeys(study.name for study in named))


def _jobs(report: Report, out: Path) -> list[Job]:
    return [
        Job(report, row, seed, recipe, out / _place(report.study, row, report.preset, recipe))
        for row in report.rows
        for seed in range(report.parameters["seeds"])
        for recipe in [report.recipe(row.id, seed)]
    ]


def _place(study: Study, row: Row, preset: str, recipe: Recipe) -> str:
    named = {"row": row.id, "report": study.name, "preset": preset}
    return records.file_name(named | {"recipe": recipe.to_json(), "digest": recipe.digest})


def _wanted(job: Job, targets: Sequence[str], optional: bool) -> bool:
    if job.row.id in targets:
        return True
    study = job.report.study
    chosen = not targets or {study.name, study.id, study.notebook} & set(targets)
    return bool(chosen) and (optional or not job.row.optional)


def _cost(job: Job) -> str:
    from labkit import models

    size, classes = job.report.data.shape[-1], len(job.report.data.classes)
    net = models.build(job.recipe.model, classes=classes, size=size, **job.recipe.options)
    work = models.summary(net, (3, size, size)).multiply_adds
    images = job.recipe.epochs * (job.recipe.train_size or len(job.report.data.train))
    return f"{job.recipe.epochs:>4} epochs  {6e-15 * work * images:9.4f} PFLOP  {job.row.title}"
