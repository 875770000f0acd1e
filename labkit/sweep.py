"""Train every record that is missing: the run matrix of the reports, in one command."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from labkit import records
from labkit.errors import (
    DataError,
    DeviceError,
    InputError,
    OutOfTimeError,
    RecordError,
    TrainingError,
)
from labkit.recipe import Recipe
from labkit.reports import REPORTS, find_report, find_row
from labkit.reports.rows import Row
from labkit.session import Session
from labkit.train.cost import Cost, estimate
from labkit.train.device import TOGETHER, pick_device
from labkit.train.fingerprint import stamp
from labkit.train.progress import clock
from labkit.train.system import router_recipe


@dataclass(frozen=True)
class Job:
    """One record to earn: a row of a report at one seed."""

    session: Session
    row: Row
    seed: int
    recipe: Recipe
    path: Path  # where its record belongs


def run_sweep(
    targets: Sequence[str],
    open_session: Callable[[str], Session],
    *,
    out: Path | None = None,
    deadline: float | None = None,
    dry_run: bool = False,
    optional: bool = False,
    together: int = 1,
) -> int:
    """Train what is missing, in the reports' order; each record is written when it is earned.

    With `together` > 1 so many processes share the machine, each with its share of the cores;
    the records' device cards say so, because their times are those of a shared machine.

    Returns 0 when every record is there, 1 when a row failed, the deadline came first, or the GPU
    failed, after which no row can train.

    Raises:
        InputError: a data set is missing, and nobody asked for its stand-in.
    """
    out = Path(out) if out else records.records_home()
    jobs = [job for name in _reports(targets) for job in _jobs(open_session(name), out)]
    jobs = [job for job in jobs if _wanted(job, targets, optional)]
    missing = [job for job in jobs if not job.path.exists()]
    print(f"{len(jobs)} records, {len(missing)} to train", file=sys.stderr)
    absent = ", ".join(_absent(missing))
    if dry_run:
        if absent:
            print(f"estimates are of the stand-in: no {absent} on this machine", file=sys.stderr)
        _print_costs(missing, together)
        return 0
    if absent:
        raise InputError(
            f"no {absent} on this machine; fetch it with `labkit data get`, or rehearse on its"
            " stand-in with --data synthetic"
        )
    together = min(together, len(_chains(missing)))  # a lone training shares nothing
    if together <= 1:
        done = (_train(job, deadline) for job in missing)
    else:
        done = _side_by_side(missing, deadline, together)
    failed = False
    try:
        for failure in done:  # a row that failed does not keep the others from training
            failed = failed or bool(failure)
            if failure:
                print(failure, file=sys.stderr)
    except (OutOfTimeError, DeviceError) as stop:
        print(stop, file=sys.stderr)
        return 1
    return int(failed)


def _train(job: Job, deadline: float | None) -> str:
    """Train one record and write it; what went wrong, or nothing.

    What nobody has foreseen is told in full, and does not keep the other rows from training.

    Raises:
        OutOfTimeError: the deadline came first.
        DeviceError: the GPU failed.
        DataError: a file cannot be read or written.
    """
    if deadline is not None and time.monotonic() > deadline:
        raise OutOfTimeError(
            f"out of time before {job.row.id}; the same command goes on from there"
        )
    try:
        run = job.session.train(job.row.id, job.seed, deadline=deadline)
    except (DeviceError, OutOfTimeError, DataError):
        raise
    except (TrainingError, InputError, RecordError) as error:
        return f"{job.row.id}: {error}"
    except RuntimeError as error:  # PyTorch's own for whatever it cannot do
        traceback.print_exc()
        return f"{job.row.id}: {type(error).__name__}, as above"
    records.claim(stamp(run.record), job.path)
    print(run.record, flush=True)
    return ""


def _side_by_side(jobs: list[Job], deadline: float | None, together: int) -> Iterator[str]:
    """Processes of their own, started afresh: a GPU is not shared across a fork."""
    sets = {job.session.data.name for job in jobs}  # prepared here, before all ask for them at once
    print(f"{together} at a time, on {', '.join(sorted(sets))}", file=sys.stderr)
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", TOGETHER)}
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // together)))
    os.environ[TOGETHER] = str(together)
    try:
        with ProcessPoolExecutor(together, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                waiting = [pool.submit(_train_apart, chain, deadline) for chain in _chains(jobs)]
                for future in as_completed(waiting):
                    yield from future.result()
            except KeyboardInterrupt:  # also SIGTERM: the trainings stop now, as a single one does
                for process in multiprocessing.active_children():
                    process.terminate()
                raise
            except BrokenExecutor:
                yield (
                    "a process of this sweep was killed, for want of memory perhaps; the same"
                    " command goes on from its checkpoint, try a smaller -j"
                )
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _chains(jobs: list[Job]) -> list[list[Job]]:
    """What one process does: a job, or one after another all systems that share a router."""
    chains: dict[str, list[Job]] = {}
    for job in jobs:
        h = job.recipe.hierarchy
        key = f"{h.groups} {router_recipe(job.recipe).digest}" if h else str(job.path)
        chains.setdefault(key, []).append(job)
    return list(chains.values())


def _absent(jobs: list[Job]) -> list[str]:
    """The data sets whose stand-in would be trained on without anyone having asked for it."""
    sessions = (job.session for job in jobs if job.session.preset != "smoke")
    chosen = {r.report.dataset for r in sessions if r.synthetic and r.parameters["data"] == "auto"}
    return sorted(chosen)


def _train_apart(chain: list[Job], deadline: float | None) -> list[str]:
    return [_train(job, deadline) for job in chain]


def _reports(targets: Sequence[str]) -> list[str]:
    if not targets:
        return list(REPORTS)
    rows = {row.id for report in REPORTS.values() for row in report.rows}
    named = [find_row(t)[0] if t in rows or "-" in t else find_report(t) for t in targets]
    return list(dict.fromkeys(report.name for report in named))


def _jobs(session: Session, out: Path) -> list[Job]:
    return [
        Job(session, row, seed, recipe, out / _place(session, row, recipe))
        for row in (*session.rows, *session.long_rows)
        for seed in range(session.parameters["seeds"])
        for recipe in [session.recipe(row.id, seed)]
    ]


def _place(session: Session, row: Row, recipe: Recipe) -> str:
    preset = session.label(row.id, recipe)
    named = {"row": row.id, "report": session.report.name, "preset": preset}
    return records.file_name(named | {"recipe": recipe.to_json(), "digest": recipe.digest})


def _wanted(job: Job, targets: Sequence[str], optional: bool) -> bool:
    if job.row.id in targets:
        return True
    report = job.session.report
    chosen = not targets or {report.name, report.id, report.notebook} & set(targets)
    return bool(chosen) and (optional or not job.row.optional)


def _print_costs(jobs: list[Job], together: int) -> None:
    """The matrix with its estimates, and what they come to."""
    costs = [_cost(job) for job in jobs]
    for job, cost in zip(jobs, costs, strict=True):
        print(
            f"{job.row.id:<10} seed {job.seed} {cost.images:>12,} images {cost.flop / 1e15:>9.4f}"
            f" PFLOP {clock(cost.seconds):>8} {cost.memory_mb:>8,.0f} MB  {job.row.title}"
        )
    seconds, flop = sum(c.seconds for c in costs), sum(c.flop for c in costs)
    if jobs:
        target = pick_device(jobs[0].session.device).type
        print(
            f"about {clock(seconds)} in all on this {target}, {flop / 1e15:,.1f} PFLOP; at most"
            f" {together * max(c.memory_mb for c in costs):,.0f} MB beside the data sets"
        )


def _cost(job: Job) -> Cost:
    return estimate(job.recipe, job.session.data, pick_device(job.session.device))
