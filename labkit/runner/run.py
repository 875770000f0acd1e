"""Run a notebook headless and believe nothing but what it left behind.

Papermill executes the cells, in a process of its own (`execute`), seen to its end by `watch`. Its
exit code can be 0 for a notebook that stopped half-way, and the file it leaves says "completed" of
cells that never ran, so the result is read back, cell by cell, before it gets its name.

Exit codes: 0 all verified, 1 the notebook failed, 2 bad input, 3 data missing or wrong,
130 interrupted, 143 terminated.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labkit import parameters
from labkit.errors import FAILED, INTERRUPTED, OK, TERMINATED, InputError, exit_code
from labkit.runner import contract, document
from labkit.runner.document import Notebook

CELL_LIMIT = 7200.0  # seconds that one cell may take
EXTRA = ("papermill", "nbclient", "ipykernel", "psutil")

Expect = Callable[[Notebook], str]


@dataclass(frozen=True)
class RunResult:
    """What became of a run. `out` is the verified notebook, or the failed one kept beside it."""

    status: str  # ok, failed, timed out, kernel died, interrupted, terminated
    exit_code: int
    seconds: float
    peak_memory_mb: float
    message: str
    out: Path

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


def run(
    notebook: Path | str,
    out: Path | str,
    values: dict[str, Any] | None = None,
    *,
    timeout: float = CELL_LIMIT,
    progress: bool = True,
    expect: Expect | None = None,
) -> RunResult:
    """Execute a notebook in its own folder, verify the result, and only then write `out`.

    Arguments:
        values: parameters by name, as text or typed; the others keep the notebook's defaults.
        timeout: seconds that one cell may take.
        expect: called with the executed notebook; a sentence it returns makes the run a failure.

    A failed run leaves `out` as it was and is kept beside it as NAME.failed.ipynb. No process and
    no temporary file stays behind.

    Raises:
        InputError: no such notebook, parameters it does not take, or an `out` that is the source.
    """
    _need_extra()
    from labkit.runner.watch import Watch, signals

    source, out = Path(notebook).resolve(), Path(out).absolute()
    content = document.read_notebook(source)
    known = contract.declared(content)
    values = values or {}
    checked = parameters.check(values, known)
    if out.resolve() == source:
        raise InputError(f"{out} is the notebook itself; name another file for the result")
    if out.suffix != ".ipynb":
        raise InputError(f"{out.name} must end in .ipynb; try {out.stem}.ipynb")
    out.parent.mkdir(parents=True, exist_ok=True)
    document.inject(content, {name: checked[name] for name in values})

    with _workplace() as folder, signals() as asked:
        document.write(folder / "in.ipynb", content)
        watch = Watch(folder, source, content, timeout, progress, asked)
        watch.wait()
        executed = _read_executed(folder / "out.ipynb", content)
        status, code, message = _verdict(watch, executed, expect)
    result = RunResult(status, code, watch.seconds, watch.peak_mb, message, out)
    return _keep(result, executed, source, checked, watch.log)


def main_run(
    notebook: str,
    assignments: Sequence[str],
    out: str | None = None,
    *,
    timeout: float = CELL_LIMIT,
    progress: bool = True,
) -> int:
    """`labkit run`: a notebook by path or name, parameters as NAME=VALUE; returns the exit code.

    Raises:
        InputError: as `run`.
    """
    path = find(notebook)
    target = Path(out) if out else Path("build", "runs", path.name)
    result = run(path, target, parameters.pairs(assignments), timeout=timeout, progress=progress)
    megabytes = f"{result.peak_memory_mb:,.0f} MB"
    print(f"{path.name}: {result.message} ({result.seconds:.1f} s, {megabytes}): {result.out}")
    return result.exit_code


def find(notebook: str) -> Path:
    """A notebook by its path, or by its name in the notebooks folder.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    if Path(notebook).is_file():
        return Path(notebook)
    names = {path.stem: path for folder in _shelves() for path in sorted(folder.glob("*.ipynb"))}
    if notebook in names:
        return names[notebook]
    raise InputError(
        f"there is no notebook {notebook!r}; give a path, or one of {', '.join(names) or 'none'}"
    )


def _shelves() -> list[Path]:
    """The folder beside the library, and the one below the working directory, which wins."""
    return [Path(__file__).parents[2] / "notebooks", Path("notebooks")]


def _need_extra() -> None:
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"running a notebook needs {', '.join(missing)}; install the extra: labkit[book]"
        )


def _verdict(watch: Any, executed: Notebook, expect: Expect | None) -> tuple[str, int, str]:
    """Status, exit code and sentence of a run that has ended."""
    from labkit.runner.watch import DEAD_KERNEL, NO_KERNEL

    if watch.reason == "interrupted":
        return "interrupted", INTERRUPTED, f"interrupted in {watch.where()}"
    if watch.reason == "terminated":
        return "terminated", TERMINATED, f"terminated in {watch.where()}"
    if watch.reason:
        limit = f"{watch.timeout:g} s; a longer limit is --timeout SECONDS"
        return "timed out", FAILED, f"{watch.where()} ran longer than {limit}"
    if watch.code == DEAD_KERNEL:
        return (
            "kernel died",
            FAILED,
            f"the kernel died in {watch.where()}: out of memory, or a crash",
        )
    if watch.code == NO_KERNEL:
        return "failed", FAILED, "no kernel started; install the extra anew: labkit[book]"
    if watch.code and watch.cell < 0:
        return "failed", FAILED, f"papermill did not start: {' '.join(watch.log[-1:])}"
    fault = document.inspect(executed)
    if fault:
        return "failed", exit_code(fault.exception), fault.sentence
    if watch.code:
        return "failed", FAILED, f"papermill ended with {watch.code} in {watch.where()}"
    complaint = expect(executed) if expect else ""
    return ("failed", FAILED, complaint) if complaint else ("ok", OK, "ok")


def _keep(
    result: RunResult, executed: Notebook, source: Path, values: dict[str, Any], log: list[str]
) -> RunResult:
    """Give the executed notebook its name: `out` when verified, NAME.failed.ipynb when not."""
    failed = result.out.with_name(f"{result.out.stem}.failed.ipynb")
    document.clean(executed)
    executed["metadata"]["labkit"] = document.provenance(source, values) | {
        "status": result.status,
        "seconds": round(result.seconds, 1),
        "peak_memory_mb": round(result.peak_memory_mb),
    }
    if result.ok:
        document.write(result.out, executed)
        failed.unlink(missing_ok=True)
        return result
    document.write(failed, executed)
    print(f"{source.name}: {result.message}", file=sys.stderr)
    for line in (document.traceback_lines(executed) or log)[-10:]:
        print(f"    {line}", file=sys.stderr)
    return replace(result, out=failed)


def _read_executed(path: Path, fallback: Notebook) -> Notebook:
    """Papermill's file; what was put in where papermill was killed before, or while, it wrote."""
    try:
        return document.read_notebook(path)
    except InputError:
        return fallback


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="labkit-run-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
