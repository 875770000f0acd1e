"""A student's own check before handing in: the tests that they can see, run as the grading does."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

from labkit.errors import InputError
from labkit.runner.document import ANSI, read_notebook
from labkit.runner.limits import Limits

__all__ = ["Finding", "check"]

LIMITS = Limits(cell_seconds=60, seconds=600, cage=False)  # a student's own code on their machine
LARGEST = 20_000_000  # bytes of a file beside the notebook
STUBS = ("YOUR CODE HERE", "YOUR ANSWER HERE")


@dataclass(frozen=True)
class Finding:
    """What the check has to say of a graded cell."""

    name: str
    good: bool
    text: str


def check(path: Path) -> list[Finding]:
    """Run a notebook from its first cell to its last and say of each graded cell how it did.

    The file is not changed. Hidden tests are not in it, so that a good answer here is no promise.

    Raises:
        InputError: it is no notebook, or none of labkit's assignments.
    """
    from labkit.classroom.execution import run_cells

    read_notebook(path)
    notebook = nbformat.read(path, as_version=4)
    names = [name for cell in notebook.cells if (name := _noted(cell).get("grade_id"))]
    if not names:
        raise InputError(f"{path.name} is no assignment: no cell of it is graded")
    double = sorted({name for name in names if names.count(name) > 1})
    with tempfile.TemporaryDirectory(prefix="labkit-check-") as name:
        _copy_neighbours(path.resolve().parent, Path(name))
        run_cells(notebook, Path(name), LIMITS)
    twice = [Finding(name, False, "is there more than once; delete the copy") for name in double]
    return [*twice, *(found for cell in notebook.cells if (found := _judge(cell)))]


def _copy_neighbours(folder: Path, target: Path) -> None:
    """What the notebook reads: small files beside it, and not all of a student's home."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix != ".ipynb" and path.stat().st_size < LARGEST:
            shutil.copyfile(path, target / path.name)


def _judge(cell: NotebookNode) -> Finding | None:
    noted = _noted(cell)
    name = noted.get("grade_id", "")
    if noted.get("solution") and any(stub in cell.source for stub in STUBS):
        return Finding(name, False, "is not answered yet")
    if not noted.get("grade"):
        return None
    if noted.get("solution"):
        return Finding(name, True, "is answered; your teacher marks it")
    for output in cell.outputs:
        if output.output_type == "error":
            words = ANSI.sub("", f"{output.ename}: {output.evalue}").strip().rstrip(":")
            return Finding(name, False, f"failed ({words.splitlines()[0][:200]})")
        if output.get("name") == "stderr":
            return Finding(name, False, "wrote a warning, which nbgrader counts as failed")
    return Finding(name, True, "passed what you can see of it")


def _noted(cell: NotebookNode) -> dict:
    noted = cell.metadata.get("nbgrader", {})
    return noted if isinstance(noted, dict) else {}
