"""What a course's nbgrader_config.py asks for, so that nbgrader's own commands grade as ours do."""

from __future__ import annotations

from typing import Any

from nbgrader import preprocessors as nbgrader

from labkit.classroom.cells import Tidy
from labkit.classroom.feedback import Publish
from labkit.classroom.sandbox import Sandbox

__all__ = ["CONFIGURATION", "apply"]

CONFIGURATION = '''\
"""Settings of nbgrader for this course; labkit's come first, and yours below them win."""

from labkit.classroom import settings

c = get_config()
settings.apply(c, course={course!r})

# c.Sandbox.cell_seconds = 60      # a cell that takes longer is interrupted
# c.Sandbox.seconds = 300          # a notebook that takes longer is stopped
# c.Sandbox.memory_mb = 4096       # of data that a submission may hold
'''


def apply(config: Any, *, course: str) -> None:
    """Put labkit's steps into nbgrader's: tidy before grading, run in limits, publish no test.

    Args:
        config: traitlets' configuration, what `get_config()` gives.
        course: the course's name.
    """
    config.CourseDirectory.course_id = course
    config.Autograde.sanitize_preprocessors = [
        nbgrader.ClearOutput, Tidy, nbgrader.OverwriteKernelspec, nbgrader.OverwriteCells,
        nbgrader.CheckCellMetadata,
    ]  # fmt: skip
    config.Autograde.autograde_preprocessors = [
        Sandbox, nbgrader.IgnorePattern, nbgrader.LimitOutput, nbgrader.SaveAutoGrades,
        nbgrader.AssignLatePenalties, nbgrader.CheckCellMetadata,
    ]  # fmt: skip
    config.GenerateFeedback.preprocessors = [Publish, nbgrader.GetGrades]
