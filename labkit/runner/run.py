"""Run a notebook headless and believe nothing but what it left behind.

Papermill executes the cells, in a process of its own (`child`), seen to its end by `watch`. Its
exit code can be 0 for a notebook that stopped half-way, and the file it leaves says "completed" of
cells that never ran, so `verify` reads the result back, cell by cell, before it gets its name.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import parameters
from labkit.errors import OK, InputError, unknown
from labkit.runner import contract, document
from labkit.runner.verify import Execution, Expect, Verdict, verify

__all__ = ["RunResult", "find", "main_run", "run"]

CELL_LIMIT = 7200.0  # seconds that one cell may take
EXTRA = ("papermill", "nbclient", "ipykernel", "psutil")


@dataclass(frozen=True)
class RunResult(Verdict):
    """What became of a run. `out` is the verified notebook, or the failed one kept beside it."""

    seconds: float
    peak_memory_mb: float
    out: Path

    @property
    def ok(self) -> bool:
        return self.exit_code == OK


def run(
    notebook: Path | str,
    out: Path | str,
    values: Mapping[str, Any] | None = None,
    *,
    timeout: float = CELL_LIMIT,
    environment: Mapping[str, str] = {},
    progress: bool = True,
    expect: Expect | None = None,
) -> RunResult:
    """Execute a notebook in its own folder, verify the result, and only then write `out`.

    A failed run leaves `out` as it was and is kept beside it as NAME.failed.ipynb. No process and
    no temporary file stays behind.

    Args:
        values: parameters by name, as text or typed; the others keep the notebook's defaults.
        timeout: seconds that one cell may take.
        environment: variables that the notebook sees beside those of this process.
        progress: print each cell as it starts.
        expect: called with the executed notebook; a sentence it returns makes the run a failure.

    Raises:
        InputError: no such notebook, parameters it does not take, or an `out` that is the source.
    """
    _need_extra()
    from labkit.runner.watch import execute

    source, out = Path(notebook).resolve(), Path(out).absolute()
    content = document.read_notebook(source)
    checked = parameters.check(values or {}, contract.declared(content))
    values = {name: checked[name] for name in values or {}}
    _check_out(out, source)
    document.inject(content, values)
    execution = execute(
        content, source, timeout=timeout, environment=environment, progress=progress
    )
    verdict = verify(execution, expect)
    _annotate(execution, verdict, source, checked)
    path = _keep(execution, verdict, source, out)
    return RunResult(
        **vars(verdict),
        seconds=execution.seconds,
        peak_memory_mb=execution.peak_memory_mb,
        out=path,
    )


def main_run(
    notebook: Path,
    assignments: Sequence[str],
    out: Path | None = None,
    *,
    timeout: float = CELL_LIMIT,
) -> int:
    """`labkit run`: parameters as NAME=VALUE; returns the exit code.

    Raises:
        InputError: as `run`.
    """
    target = out or Path("build", "runs", notebook.name)
    result = run(notebook, target, parameters.pairs(assignments), timeout=timeout)
    cost = f"{result.seconds:.1f} s, {result.peak_memory_mb:,.0f} MB"
    print(f"{notebook.name}: {result.message} ({cost}): {result.out}")
    return result.exit_code


def find(notebook: str, aliases: Mapping[str, str] = {}) -> Path:
    """A notebook by its path, by its name in the notebooks folder, or by an alias of that name.

    Raises:
        InputError: there is none; the message names the nearest, or all there are.
    """
    if Path(notebook).is_file():
        return Path(notebook)
    paths = {path.stem: path for folder in _shelves() for path in sorted(folder.glob("*.ipynb"))}
    paths |= {alias: paths[name] for alias, name in aliases.items() if name in paths}
    if notebook not in paths:
        raise InputError(unknown("notebook", notebook, paths))
    return paths[notebook]


def _shelves() -> list[Path]:
    """The folder beside the library, and the one below the working directory, which wins."""
    return [Path(__file__).parents[2] / "notebooks", Path("notebooks")]


def _need_extra() -> None:
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"running a notebook needs {', '.join(missing)}; install the extra: labkit[book]"
        )


def _check_out(out: Path, source: Path) -> None:
    """Refuse what cannot hold the result before an hour is spent on it."""
    if out.resolve() == source:
        raise InputError(f"{out} is the notebook itself; name another file for the result")
    if out.suffix != ".ipynb":
        raise InputError(f"{out.name} must end in .ipynb; try {out.stem}.ipynb")
    out.parent.mkdir(parents=True, exist_ok=True)


def _annotate(
    execution: Execution, verdict: Verdict, source: Path, values: Mapping[str, Any]
) -> None:
    """Put in where the notebook comes from, and take out what only differs from run to run."""
    document.clean(execution.notebook)
    execution.notebook["metadata"]["labkit"] = document.provenance(source, values) | {
        "status": verdict.status,
        "seconds": round(execution.seconds, 1),
        "peak_memory_mb": round(execution.peak_memory_mb),
    }


def _keep(execution: Execution, verdict: Verdict, source: Path, out: Path) -> Path:
    """Give the executed notebook its name: `out` when verified, NAME.failed.ipynb when not."""
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    if verdict.exit_code == OK:
        document.write(out, execution.notebook)
        failed.unlink(missing_ok=True)
        return out
    document.write(failed, execution.notebook)
    print(f"{source.name}: {verdict.message}", file=sys.stderr)
    for line in (document.traceback_lines(execution.notebook) or execution.log)[-10:]:
        print(f"    {line}", file=sys.stderr)
    return failed
