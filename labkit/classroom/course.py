"""A course: nbgrader's folders, its gradebook, and the assignments that come with labkit."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import files
from labkit.errors import InputError, LabkitError, unknown

if TYPE_CHECKING:
    from nbgrader.api import Gradebook
    from nbgrader.apps.api import NbGraderAPI

__all__ = ["Course", "ask", "assignments", "new_course", "quiet"]

SHELF = files.PACKAGE.parent / "notebooks" / "assignments"
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # a course's name
STUDENT = re.compile(r"[^*?\[\],/\udc80-\udcff]+")  # a name that globs and databases take, too


class Course:
    """A folder with nbgrader's folders in it.

    Args:
        root: the course's folder.

    Raises:
        InputError: nbgrader is not installed, or the folder is no course.
    """

    def __init__(self, root: Path | str) -> None:
        _need_extra()
        self.root = Path(root).resolve()
        if not (self.root / "nbgrader_config.py").is_file():
            raise InputError(f"{root} is no course; make one: labkit class new {root}")

    @property
    def database(self) -> str:
        """The gradebook, patient with the other processes that write into it."""
        return f"sqlite:///{self.root / 'gradebook.db'}?timeout=120"

    @contextlib.contextmanager
    def gradebook(self) -> Iterator[Gradebook]:
        """nbgrader's gradebook of this course, open."""
        from nbgrader.api import Gradebook

        with quiet(), Gradebook(self.database) as gradebook:
            yield gradebook

    def api(self) -> NbGraderAPI:
        """nbgrader's own interface to this course, with the course's own settings."""
        from nbgrader.apps.api import NbGraderAPI
        from nbgrader.coursedir import CourseDirectory
        from traitlets.config.loader import PyFileConfigLoader

        config = PyFileConfigLoader("nbgrader_config.py", str(self.root)).load_config()
        directory = CourseDirectory(config=config)
        directory.root, directory.db_url = str(self.root), self.database
        return NbGraderAPI(directory, config=config)

    def release(self, assignment: str) -> Path:
        """Make the version for students, and tell the gradebook. Returns its folder.

        Raises:
            InputError: no such assignment.
            LabkitError: nbgrader refused the notebook; the message is its own.
        """
        known = sorted(path.name for path in (self.root / "source").iterdir() if path.is_dir())
        if assignment not in known:
            raise InputError(unknown("assignment", assignment, known))
        ask(lambda: self.api().generate_assignment(assignment, force=True))
        return self.root / "release" / assignment

    def feedback(self, assignment: str) -> int:
        """Make every graded student's page anew. Returns how many."""
        graded = sorted(self.root.glob(f"autograded/*/{assignment}"))
        for path in graded:
            student = path.parent.name
            ask(lambda student=student: self.api().generate_feedback(assignment, student))
        return len(graded)

    def submissions(self, assignment: str) -> list[str]:
        """The students who handed in, by name.

        Raises:
            InputError: one of them has a name that nbgrader would not find again.
        """
        found = sorted(path.parent.name for path in self.root.glob(f"submitted/*/{assignment}"))
        if wild := [name for name in found if not STUDENT.fullmatch(name)]:
            raise InputError(f"no program finds the student {wild[0]!r} again; rename the folder")
        return found


def ask(question: Callable[[], dict[str, Any]]) -> None:
    """Let nbgrader do something quietly.

    Raises:
        LabkitError: it failed; the message is the error in its log.
        KeyboardInterrupt: it was stopped, by Ctrl-C or SIGTERM.
    """
    with quiet():
        answer = question()
    if answer["success"]:
        return
    if answer.get("error", "").rstrip().endswith("KeyboardInterrupt"):
        raise KeyboardInterrupt
    text = f"{answer.get('log', '')}\n{answer.get('error', '')}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Entry): ", line)]
    raise LabkitError("nbgrader says: " + "\n    ".join(errors[:1] or lines[-3:]))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without nbgrader's warnings that say nothing of this class, such as of SQLAlchemy's age.

    nbgrader also starts `alembic` by its bare name, which is beside Python and often not in PATH.
    """
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), path])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ["PATH"] = path


def assignments() -> dict[str, Path]:
    """The assignments of this checkout, by name, each a folder with its notebook."""
    found = sorted(SHELF.glob("*/*.ipynb")) if SHELF.is_dir() else []
    return {path.stem: path.parent for path in found if path.stem == path.parent.name}


def new_course(root: Path) -> list[str]:
    """Make a course with labkit's assignments in it. Returns their names.

    Raises:
        InputError: the folder is not empty, its name is none for a course, or nbgrader or the
            assignments are not there.
    """
    _need_extra()
    from labkit.classroom.recorded import ROWS, recorded
    from labkit.classroom.settings import CONFIGURATION

    shelf = assignments()
    if not SAFE.fullmatch(root.resolve().name):
        raise InputError(f"{root.name!r} cannot name a course; use letters, digits, - and _")
    if root.exists() and any(root.iterdir()):
        raise InputError(f"{root} is not empty; name a new folder")
    if not shelf:
        raise InputError("the assignments are part of a checkout; this labkit was installed alone")
    for name, folder in shelf.items():
        shutil.copytree(folder, root / "source" / name, ignore=shutil.ignore_patterns(".*"))
        if name in ROWS:
            files.write_atomic(root / "source" / name / "recorded.json", recorded(name))
    text = CONFIGURATION.format(course=root.resolve().name)
    files.write_atomic(root / "nbgrader_config.py", text)
    os.chmod(root, 0o700)  # solutions and grades are nobody else's
    return list(shelf)


def _need_extra() -> None:
    if importlib.util.find_spec("nbgrader") is None:
        raise InputError("a class needs nbgrader; install the extra: labkit[grade]")
