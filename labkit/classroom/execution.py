"""A submission run within limits, and what did not run marked so that it earns nothing.

nbgrader gives a test full marks when its cell shows no error. A cell that never ran shows none, so
here it gets one: after a kernel that died, a notebook that was stopped, a tag that skips a cell.
"""

from __future__ import annotations

import ast
import json
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_output

from labkit.classroom import guard
from labkit.runner.document import ANSI, Notebook, is_code
from labkit.runner.limits import Limits
from labkit.runner.verify import Execution, ending
from labkit.runner.watch import execute

__all__ = ["NOT_RUN", "run_cells"]

NOT_RUN = "NotRun"  # the name of the error that a cell without a result shows
GUARD = "labkit-guard-"  # how the ids of our own cells begin
CHECK = (
    "__import__('labkit.classroom.guard', fromlist=['verify']).verify(globals(), token={token!r})"
)


def run_cells(notebook: NotebookNode, folder: Path, limits: Limits) -> Execution:
    """Execute a notebook's cells and put what they showed into it.

    Args:
        notebook: its outputs are replaced; a cell that did not run shows an error, `NOT_RUN`.
        folder: what the notebook may read: a copy of it, without the notebooks in it.
    """
    token = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="labkit-class-") as name:
        work = Path(name) / "work"
        shutil.copytree(folder, work, ignore=shutil.ignore_patterns("*.ipynb", ".*"))
        execution = execute(
            _guarded(notebook, token),
            work / "submission.ipynb",
            timeout=limits.seconds,
            environment={"NBGRADER_EXECUTION": "autograde"},
            progress=False,
            limits=limits,
        )
    end = ending(execution)
    _fill(notebook, execution.notebook, end.message if end else "the cell did not run", token)
    return execution


def _guarded(notebook: NotebookNode, token: str) -> Notebook:
    """The notebook to be run: ids by place, and a guard before the first cell and each test."""
    content = json.loads(nbformat.writes(notebook, version=4))
    content["nbformat_minor"] = 5
    code = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    arm = f"from labkit.classroom import guard\nguard.arm({_modules(code)!r}, globals())\ndel guard"
    cells = [_cell(f"{GUARD}start", arm)]
    for place, (cell, node) in enumerate(zip(content["cells"], notebook.cells, strict=True)):
        cell["id"] = f"cell-{place}"
        if _is_test(node):
            cells.append(_cell(f"{GUARD}{place}", CHECK.format(token=token)))
        cells.append(cell)
    return content | {"cells": cells}


def _cell(identity: str, source: str) -> dict[str, Any]:
    return {"cell_type": "code", "id": identity, "metadata": {}, "execution_count": None,
            "outputs": [], "source": source}  # fmt: skip


def _modules(code: list[str]) -> tuple[str, ...]:
    """Those that the guard knows and the cells import, by any name."""
    names: set[str] = set()
    for source in code:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):  # a magic, or a mistake: the cell will say so itself
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").partition(".")[0])
    return tuple(name for name in guard.MODULES if name.partition(".")[0] in names)


def _fill(notebook: NotebookNode, executed: Notebook, reason: str, token: str) -> None:
    """Give each cell what it showed; a test whose guard refused, or did not run, its error."""
    cells = nbformat.reads(json.dumps(executed), as_version=4).cells  # joins lines of text
    made = {cell["id"]: cell for cell in cells if cell["cell_type"] == "code"}
    for place, cell in enumerate(notebook.cells):
        if not is_code(cell):
            continue
        ran = made.get(f"cell-{place}", {})
        shown = ran.get("outputs", [])
        if ran.get("execution_count") is None and not _errors(ran):
            shown = [*shown, _error(NOT_RUN, reason)]
        elif _is_test(cell) and (refusal := _refusal(made[f"{GUARD}{place}"], token)):
            shown = refusal
        cell.outputs = list(shown)
        cell.execution_count = ran.get("execution_count")


def _is_test(cell: NotebookNode) -> bool:
    """A graded code cell, by its own note: `tidy` has made that the gradebook's."""
    noted = cell.metadata.get("nbgrader", {})
    return cell.cell_type == "code" and bool(noted.get("grade")) and not noted.get("solution")


def _refusal(guard_cell: dict[str, Any], token: str) -> list[dict[str, Any]]:
    """The error of a guard; where it left no sign of having run, one that says so."""
    text = "".join(output.get("text", "") for output in guard_cell["outputs"])
    if token in text:
        return []
    words = "the tests cannot run: this notebook changes what is executed"
    return _errors(guard_cell) or [_error("RuntimeError", words)]


def _errors(cell: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for output in cell.get("outputs", ()) if output["output_type"] == "error"]


def _error(name: str, words: str) -> NotebookNode:
    words = ANSI.sub("", words)
    return new_output("error", ename=name, evalue=words, traceback=[f"{name}: {words}"])
