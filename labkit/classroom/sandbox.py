"""A submission executed within limits, as a step of nbgrader's autograde."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Float, Integer

from labkit.classroom.execution import run_cells
from labkit.runner.limits import Limits, can_cage
from labkit.runner.verify import ending

__all__ = ["Sandbox"]


class Sandbox(NbGraderPreprocessor):
    """Executes a submission, as one of the steps that nbgrader's autograde takes."""

    cell_seconds = Float(60.0, help="a cell that takes longer is interrupted").tag(config=True)
    seconds = Float(300.0, help="a notebook that takes longer is stopped").tag(config=True)
    memory_mb = Integer(4096, help="of data that a submission may hold").tag(config=True)
    processes = Integer(32, help="that a submission may start at one time").tag(config=True)
    cage = Bool(True, help="without network and other files, where Linux can").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        limits = Limits(
            cell_seconds=self.cell_seconds, seconds=self.seconds, memory_mb=self.memory_mb,
            processes=self.processes, cage=self.cage and can_cage(),
        )  # fmt: skip
        execution = run_cells(nb, Path(resources["metadata"]["path"]), limits)
        if execution.stop in ("interrupted", "terminated"):
            raise KeyboardInterrupt  # of the grading, not of the submission: nothing is to be kept
        if end := ending(execution):
            self.log.warning("%s: %s", resources["nbgrader"]["student"], end.message)
        return nb, resources
