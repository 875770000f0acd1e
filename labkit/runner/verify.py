"""Whether what an execution has left can be believed: its process first, then cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labkit.errors import FAILED, INTERRUPTED, OK, TERMINATED, exit_code
from labkit.runner import document
from labkit.runner.document import Notebook

__all__ = ["Execution", "Expect", "Verdict", "ending", "verify"]

FAILED_CELL, DEAD_KERNEL, NO_KERNEL = 1, 9, 10  # exit codes of `labkit.runner.child`
STOPS = {"timed out": FAILED, "interrupted": INTERRUPTED, "terminated": TERMINATED}

Expect = Callable[[Notebook], str]  # says what is wrong with an executed notebook, or nothing


@dataclass(frozen=True)
class Execution:
    """A notebook as far as it was executed, and how the process that did so ended."""

    notebook: Notebook
    place: str  # the cell that started last, as in `cell 4 of 9 (net = build())`
    begun: bool  # whether any cell started
    stop: str  # why it was stopped, one of STOPS; empty when it ended by itself
    timeout: float  # seconds that a cell had
    code: int  # the process's own exit code
    seconds: float
    peak_memory_mb: float
    log: list[str]  # what the process wrote to stderr


@dataclass(frozen=True)
class Verdict:
    """What became of a run."""

    status: str  # ok, failed, timed out, kernel died, interrupted, terminated
    exit_code: int
    message: str


def verify(execution: Execution, expect: Expect | None = None) -> Verdict:
    """The first thing that is wrong: with the process, with a cell, with what the caller expects.

    Args:
        expect: called with the executed notebook; a sentence it returns makes the run a failure.
    """
    return (
        ending(execution)
        or _failure(execution)
        or _complaint(execution, expect)
        or Verdict("ok", OK, "ok")
    )


def ending(execution: Execution) -> Verdict | None:
    """Why the process was stopped or died; None where it went as far as the cells let it."""
    place = execution.place
    if execution.stop:
        limit = f"ran longer than {execution.timeout:g} s; a longer limit is --timeout SECONDS"
        late = execution.stop == "timed out"
        message = f"{place} {limit}" if late else f"{execution.stop} in {place}"
        return Verdict(execution.stop, STOPS[execution.stop], message)
    if execution.code == DEAD_KERNEL:
        message = f"the kernel died in {place}: out of memory, or a crash"
        return Verdict("kernel died", FAILED, message)
    if execution.code == NO_KERNEL:
        return _failed("no kernel started; install the extra anew: labkit[book]")
    if execution.code and not execution.begun:
        return _failed(f"papermill did not start: {' '.join(execution.log[-1:])}")
    return None


def _failure(execution: Execution) -> Verdict | None:
    """The cell that failed or did not run."""
    fault = document.inspect(execution.notebook)
    if fault:
        return _failed(fault.sentence, exit_code(fault.exception))
    if execution.code:
        return _failed(f"papermill ended with {execution.code} in {execution.place}")
    return None


def _complaint(execution: Execution, expect: Expect | None) -> Verdict | None:
    complaint = expect(execution.notebook) if expect else ""
    return _failed(complaint) if complaint else None


def _failed(message: str, code: int = FAILED) -> Verdict:
    return Verdict("failed", code, message)
