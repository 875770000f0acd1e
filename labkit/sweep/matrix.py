"""The run matrix: which records of which rows are missing, and what they will cost."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit import records
from labkit.recipe import Recipe
from labkit.reports import Row, find_rows
from labkit.session import Session
from labkit.train.device import pick_device
from labkit.train.forecast import Cost, estimate
from labkit.train.progress import clock
from labkit.train.system import router_recipe

__all__ = ["Job", "absent_sets", "chains", "jobs_of", "print_costs"]


@dataclass(frozen=True)
class Job:
    """One record to earn: a row of a report at one seed."""

    session: Session
    row: Row
    seed: int
    recipe: Recipe
    path: Path  # where its record belongs

    @property
    def cost(self) -> Cost:
        """What it will take on this machine."""
        return estimate(self.recipe, self.session.data, pick_device(self.session.device))


def jobs_of(
    targets: Sequence[str], open_session: Callable[[str], Session], out: Path, *, optional: bool
) -> list[Job]:
    """Every record that the targets have at the session's preset, in the order of the targets.

    Args:
        targets: reports or rows; none are all reports.
        open_session: opens a report by its name.
        out: folder of the records.
        optional: of a report, the controls and extra rows too.

    Raises:
        InputError: no such report or row.
    """
    session_of, jobs = functools.cache(open_session), []
    for report, row in find_rows(targets, optional=optional):
        session = session_of(report.name)
        if row.at(session.preset):
            jobs += [_job(session, row, seed, out) for seed in range(session.parameters["seeds"])]
    return jobs


def chains(jobs: Iterable[Job]) -> list[list[Job]]:
    """What one process does: a job, or one after another all systems that share a router."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        h = job.recipe.hierarchy
        key = f"{h.groups} {router_recipe(job.recipe).digest}" if h else str(job.path)
        groups.setdefault(key, []).append(job)
    return list(groups.values())


def absent_sets(jobs: Iterable[Job]) -> list[str]:
    """The data sets whose stand-in would be trained on without anyone having asked for it."""
    sessions = (job.session for job in jobs if job.session.preset != "smoke")
    return sorted(
        {s.report.dataset for s in sessions if s.synthetic and s.parameters["data"] == "auto"}
    )


def print_costs(jobs: Sequence[Job], together: int) -> None:
    """Print the matrix with its estimates, and what they come to with so many side by side."""
    costs = [job.cost for job in jobs]
    for job, cost in zip(jobs, costs, strict=True):
        print(
            f"{job.row.id:<10} seed {job.seed} {cost.images:>12,} images {cost.flop / 1e15:>9.4f}"
            f" PFLOP {clock(cost.seconds):>8} {cost.memory_mb:>8,.0f} MB  {job.row.title}"
        )
    if not jobs:
        return
    target = pick_device(jobs[0].session.device).type
    time = clock(sum(cost.seconds for cost in costs))
    print(
        f"about {time} in all on this {target}, {sum(cost.flop for cost in costs) / 1e15:,.1f}"
        f" PFLOP; at most {together * max(cost.memory_mb for cost in costs):,.0f} MB beside the"
        " data sets"
    )


def _job(session: Session, row: Row, seed: int, out: Path) -> Job:
    recipe = session.recipe(row.id, seed)
    return Job(session, row, seed, recipe, out / _place(session, row, recipe))


def _place(session: Session, row: Row, recipe: Recipe) -> str:
    preset = session.record_preset(row.id, recipe)
    labels = {"row": row.id, "report": session.report.name, "preset": preset}
    return records.file_name(labels | {"recipe": recipe.to_json(), "digest": recipe.digest})
