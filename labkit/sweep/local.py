"""Train every record that is missing on this machine, one after another or side by side."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from labkit import files, records
from labkit.errors import (
    FAILED,
    OK,
    DataError,
    DeviceError,
    InputError,
    OutOfTimeError,
    RecordError,
    TrainingError,
)
from labkit.records import Record
from labkit.session import Session
from labkit.sweep import matrix
from labkit.sweep.matrix import Job
from labkit.train.device import TOGETHER, pick_device
from labkit.train.fingerprint import stamp

__all__ = ["run_sweep"]


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
        InputError: a data set is missing, and nobody asked for its stand-in; or nobody says where
            records go.
        DataError: they cannot be written there.
        RecordError: a file that is no record stands where one belongs.
    """
    out = Path(out) if out else _own_records()
    jobs = matrix.jobs_of(targets, open_session, out, optional=optional)
    missing = [job for job in jobs if not _kept(job.path)]
    print(f"{len(jobs)} records, {len(missing)} to train", file=sys.stderr)
    absent = ", ".join(matrix.absent_sets(missing))
    if dry_run:
        if absent:
            print(f"estimates are of the stand-in: no {absent} on this machine", file=sys.stderr)
        matrix.print_costs(missing, together)
        return OK
    if absent:
        raise InputError(
            f"no {absent} on this machine; fetch it with `labkit data get`, or rehearse on its"
            " stand-in with --data synthetic"
        )
    if missing:
        files.probe(out, "set LABKIT_RECORDS, or --out, to a folder you may write to")
    together = min(together, len(matrix.chains(missing)))  # a lone training shares nothing
    if together > 1:
        done = _side_by_side(missing, deadline, together)
    else:
        done = _one_by_one(missing, deadline)
    failed = False
    try:
        for failure in done:  # a row that failed does not keep the others from training
            failed = failed or bool(failure)
            if failure:
                print(failure, file=sys.stderr)
    except (OutOfTimeError, DeviceError) as stop:
        print(stop, file=sys.stderr)
        return FAILED
    return FAILED if failed else OK


def _own_records() -> Path:
    """Where records go unless somebody says so: into the checkout, never beside an installation."""
    if not os.environ.get("LABKIT_RECORDS") and not (files.PACKAGE.parent / "book").is_dir():
        raise InputError("this labkit is no checkout; say where records go: --out FOLDER")
    return files.records_home()


def _kept(path: Path) -> bool:
    """Whether a record stands there.

    Raises:
        RecordError: something else does; it is not overwritten.
    """
    if not path.exists():
        return False
    records.read(path)
    return True


def _one_by_one(jobs: list[Job], deadline: float | None) -> Iterator[str]:
    """What went wrong with each job in turn, or nothing."""
    beside = any(pick_device(job.session.device).type == "cuda" for job in jobs)
    with _keeper() if beside else contextlib.nullcontext(_keep) as keep:
        for job in jobs:
            yield _train(job, deadline, keep)


def _keep(record: Record, path: Path) -> None:
    """Write an earned record, with its fingerprint."""
    records.claim(stamp(record), path)


@contextlib.contextmanager
def _keeper() -> Iterator[Callable[[Record, Path], None]]:
    """`_keep` in a process of its own: it takes seconds of a CPU, and the GPU need not wait.

    What was handed over is written also where this process is stopped or killed. What the other
    one could not write, if it died or the disk is full, is tried again here at the end.
    """
    spawn = multiprocessing.get_context("spawn")
    earned: list[tuple[Record, Path]] = []
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_keep_all, args=(theirs,))
    process.start()
    theirs.close()

    def keep(record: Record, path: Path) -> None:
        earned.append((record, path))
        with contextlib.suppress(ConnectionError):
            ours.send((record, path))

    try:
        yield keep
    finally:
        ours.close()
        process.join()
        for record, path in earned:
            if not path.exists():
                _keep(record, path)


def _keep_all(earned: Connection) -> None:
    """Keep what comes, until nobody sends any more; a stop of the sweep ends that and not this."""
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # fingerprints are a CPU's
    with contextlib.suppress(EOFError, OSError, DataError):
        while True:
            _keep(*earned.recv())


def _train(job: Job, deadline: float | None, keep: Callable[[Record, Path], None]) -> str:
    """Train one record and keep it; what went wrong, or nothing.

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
    keep(run.record, job.path)
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
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(together, mp_context=spawn, initializer=_end_with_parent) as pool:
            try:
                waiting = [
                    pool.submit(_train_apart, chain, deadline) for chain in matrix.chains(jobs)
                ]
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


def _end_with_parent() -> None:
    """A worker of a sweep that was killed ends at once; its checkpoint is whole."""

    def watch() -> None:
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(FAILED)

    threading.Thread(target=watch, daemon=True).start()


def _train_apart(chain: list[Job], deadline: float | None) -> list[str]:
    return list(_one_by_one(chain, deadline))
