"""Grade one student, in a process of its own: `python -m labkit.classroom.one COURSE ASSIGNMENT
STUDENT`. Whatever happens in it, the others go on."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from labkit import files
from labkit.classroom.cells import source_cells
from labkit.classroom.course import Course, ask
from labkit.errors import FAILED, INTERRUPTED, OK, LabkitError

__all__ = ["digest", "grade_one", "main", "note"]


def main(root: str, assignment: str, student: str) -> int:
    """Grade a student's submission and leave a note that it was done. Returns the exit code.

    It ends with its parent, even one that was killed, and waits for one that is not yet gone.
    """
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    course = Course(root)
    lock = note(course, assignment, student).with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            grade_one(course, assignment, student)
        except KeyboardInterrupt:
            return INTERRUPTED
    return OK


def grade_one(course: Course, assignment: str, student: str) -> dict[str, Any]:
    """Autograde, make the feedback, and note it. A submission that cannot be read gets 0 points."""
    start, identity = time.monotonic(), digest(course, assignment, student)
    path, trouble = note(course, assignment, student), ""
    path.unlink(missing_ok=True)
    api = course.api()
    try:
        ask(lambda: api.autograde(assignment, student, force=True))
    except LabkitError as error:
        trouble = str(error)
        _give_nothing(course, assignment, student)
    else:
        ask(lambda: api.generate_feedback(assignment, student, force=True))
    content = {
        "digest": identity, "trouble": trouble, "seconds": round(time.monotonic() - start, 1),
        **_score(course, assignment, student),
    }  # fmt: skip
    files.write_atomic(path, json.dumps(content, indent=1))
    return content


def note(course: Course, assignment: str, student: str) -> Path:
    """Where the note lies that a submission was graded; it is written last."""
    return course.root / ".labkit" / assignment / f"{student}.json"


def digest(course: Course, assignment: str, student: str) -> str:
    """What a grade depends on: the submission, and every released cell with its hidden tests."""
    folder = course.root / "submitted" / student / assignment
    handed_in = {str(path.relative_to(folder)): files.sha256(path)
                 for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip
    with course.gradebook() as gradebook:
        names = [notebook.name for notebook in gradebook.find_assignment(assignment).notebooks]
    cells = {name: [(cell.name, cell.text, cell.metadata) for cell in
                    source_cells(course.database, assignment, name)] for name in names}  # fmt: skip
    settings = files.sha256(course.root / "nbgrader_config.py")
    return files.sha256(json.dumps([handed_in, cells, settings], sort_keys=True).encode())


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(FAILED)


def _give_nothing(course: Course, assignment: str, student: str) -> None:
    """A submission in the gradebook whose tests are all failed."""
    with course.gradebook() as gradebook:
        gradebook.update_or_create_student(student)
        submission = gradebook.update_or_create_submission(assignment, student)
        for notebook in submission.notebooks:
            for grade in notebook.grades:
                grade.auto_score, grade.needs_manual_grade = 0, False
        gradebook.db.commit()


def _score(course: Course, assignment: str, student: str) -> dict[str, Any]:
    with course.gradebook() as gradebook:
        submission = gradebook.find_submission(assignment, student)
        return {"score": submission.score, "max_score": submission.max_score,
                "by_hand": submission.needs_manual_grade}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
