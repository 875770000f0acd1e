"""Feedback that shows a student their own work and their score, and nothing of a hidden test.

A submission that runs beside the hidden tests can print them. So a page shows the outputs that the
student handed in, and of the graded run one thing a test: whether it passed, and if not, whether it
was a test that the student can see.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_output
from nbgrader import utils
from nbgrader.preprocessors import ClearHiddenTests, ClearMarkScheme, NbGraderPreprocessor

from labkit.classroom.cells import grade_id
from labkit.classroom.execution import NOT_RUN
from labkit.runner.document import ANSI

__all__ = ["Publish"]

LINE = re.compile(r"(?:Cell |<ipython-input.*?)In ?\[\d+\][^\n]*?, line (\d+)")


class Publish(NbGraderPreprocessor):
    """The first step of nbgrader's feedback: an autograded notebook made fit to be given back."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        handed_in = self._handed_in(resources)
        for cell in nb.cells:
            if cell.cell_type == "code":
                _replace_outputs(cell, handed_in)
        nb, resources = ClearHiddenTests(parent=self.parent).preprocess(nb, resources)
        return ClearMarkScheme(parent=self.parent).preprocess(nb, resources)

    def _handed_in(self, resources: Any) -> dict[str, list[NotebookNode]]:
        """The outputs of the student's own file, by source."""
        about = resources["nbgrader"]
        graded = Path(resources["metadata"]["path"])  # autograded/STUDENT/ASSIGNMENT
        path = graded.parents[2] / "submitted" / about["student"] / about["assignment"]
        try:
            notebook = nbformat.read(path / f"{about['notebook']}.ipynb", as_version=4)
        except Exception:
            return {}
        return {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def _replace_outputs(cell: NotebookNode, handed_in: dict[str, list[NotebookNode]]) -> None:
    if not utils.is_grade(cell) or utils.is_solution(cell):
        cell.outputs = [] if grade_id(cell) and utils.is_locked(cell) else handed_in.get(
            cell.source, [])  # fmt: skip
        return
    cell.outputs = [new_output("stream", name="stdout", text=f"{_verdict(cell)}\n")]


def _verdict(cell: NotebookNode) -> str:
    if not utils.has_failed(cell):
        return "Passed."
    errors = [output for output in cell.outputs if output.output_type == "error"]
    if errors and errors[0].ename == NOT_RUN:
        return "Not run: the notebook was stopped, or its kernel died, before it came to this test."
    if errors and errors[0].ename == "RuntimeError" and "tests cannot run" in errors[0].evalue:
        return "Not run: the notebook replaced something that the tests need."
    if _in_hidden_part(cell, errors):
        return "Failed: what you can see of this test passed, a hidden part did not."
    return "Failed: a part of this test that you can see did not pass."


def _in_hidden_part(cell: NotebookNode, errors: list[NotebookNode]) -> bool:
    """Whether the line that failed lies between the marks of a hidden test."""
    text = ANSI.sub("", "\n".join(errors[0].traceback)) if errors else ""
    found = LINE.search(text)
    before = cell.source.splitlines()[: int(found[1])] if found else []
    marks = [line for line in before if "HIDDEN TESTS" in line]
    return bool(marks) and "BEGIN" in marks[-1]
