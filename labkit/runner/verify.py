"""Whether what an execution has left can be believed: its process first, then cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from labkit.errors import FAILED, INTERRUPTED, OK, TERMINATED, exit_code
from labkit.runner import document
from labkit.runner.document import Notebook

__all__ = ["TOO_SLOW", "Execution", "Expect", "Verdict", "ending", "verify"]

FAILED_CELL, DEAD_KERNEL, NO_KERNEL = 1, 9, 10  # exit codes of `labkit.runner.child`
STOPS = {"timed out": FAILED, "interrupted": INTERRUPTED, "terminated": TERMINATED,
         "took too much memory": FAILED, "started too many processes": FAILED}  # fmt: skip
TOO_SLOW = "CellTimeoutError"  # the name of the error that a cell shows when it was interrupted

Expect = Callable[[Notebook], str]  # says what is wrong with an executed notebook, or nothing


@dataclass(kw_only=True)
class Execution:
    """A notebook as far as it was executed, and how the process that did so ended."""

    content: Notebook  # what was put in
    notebook: Notebook = field(default_factory=dict)  # what came out
    timeout: float  # seconds that one cell may take; with limits, the whole of it
    cell: int = -1  # index in content["cells"] of the one that started last
    stop: str = ""  # why it was stopped, one of STOPS; empty when it ended by itself
    code: int = OK  # the process's own exit code
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    log: list[str] = field(default_factory=list)  # what the process wrote to stderr

    @property
    def place(self) -> str:
        """The cell that started last, as in `cell 4 of 9 (net = build())`."""
        return document.where(self.content, self.cell)


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
    if execution.code and execution.cell < 0:
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
