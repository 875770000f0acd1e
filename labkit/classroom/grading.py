"""A class graded, several students at once, each in a process that can stop no other."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit import files
from labkit.classroom.course import Course
from labkit.errors import FAILED, OK, InputError, unknown
from labkit.runner.limits import can_cage

__all__ = ["grade"]

UNCAGED = (
    "this machine gives no namespaces: submissions run within limits of time and memory, but with"
    " the network and with your files in reach; grade in a container (the teacher's guide says how)"
)


@dataclass
class Work:
    """A student who is being graded."""

    student: str
    process: subprocess.Popen
    start: float


def grade(
    course: Course,
    assignment: str,
    students: Iterable[str] = (),
    *,
    together: int = 0,
    again: bool = False,
) -> int:
    """Grade everybody who handed in and is not graded yet. Returns the exit code.

    Whoever was graded is left alone, unless the submission, a released test or the settings have
    changed since: the same command goes on after it was stopped, and regrades after a new release.

    Args:
        students: only these; empty for all.
        together: how many at one time; 0 takes one for each processor.
        again: grade those who are graded, too.

    Raises:
        InputError: no submission, a student who handed in nothing, or no release before.
    """
    from labkit.classroom.one import digest, note

    waiting = _names(course, assignment, students)
    _check_release(course, assignment)
    if not can_cage():
        print(UNCAGED)

    def is_done(name: str) -> bool:
        found = files.read_json(note(course, assignment, name))
        return found.get("digest") == digest(course, assignment, name)

    done = [name for name in waiting if not again and is_done(name)]
    waiting = [name for name in waiting if name not in done]
    if done:
        print(f"{len(done)} graded before and unchanged")
    return _grade_all(course, assignment, waiting, together or os.cpu_count() or 1)


def _names(course: Course, assignment: str, students: Iterable[str]) -> list[str]:
    known = course.submissions(assignment)
    if not known:
        raise InputError(f"nobody handed in {assignment!r}; labkit class collect comes first")
    for name in students:
        if name not in known:
            raise InputError(unknown("submission", name, known))
    return list(students) or known


def _check_release(course: Course, assignment: str) -> None:
    from nbgrader.api import MissingEntry

    with course.gradebook() as gradebook:
        try:
            gradebook.find_assignment(assignment)
        except MissingEntry as error:
            raise InputError(
                f"{assignment!r} was not released; labkit class release is first"
            ) from error


def _grade_all(course: Course, assignment: str, waiting: list[str], together: int) -> int:
    start, count, failures = time.monotonic(), len(waiting), 0
    running: list[Work] = []
    queue, finished = list(waiting), 0
    try:
        while queue or running:
            while queue and len(running) < together:
                running.append(_start(course, assignment, queue.pop(0)))
            time.sleep(0.1)
            for work in [work for work in running if work.process.poll() is not None]:
                running.remove(work)
                finished += 1
                line, bad = _outcome(course, assignment, work)
                failures += bad
                spent = time.monotonic() - start
                left = _left(spent / finished * (count - finished)) if finished < count else ""
                print(f"{finished} of {count}  {line}{left}", flush=True)
    finally:
        for work in running:
            _stop(work)
    return FAILED if failures else OK


def _start(course: Course, assignment: str, student: str) -> Work:
    log = _log(course, assignment, student)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "labkit.classroom.one", str(course.root), assignment, student],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return Work(student, process, time.monotonic())


def _stop(work: Work) -> None:
    """End a student's process as a scheduler would; it takes the kernel with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(work.process.pid, signal.SIGTERM)
    try:
        work.process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(work.process.pid, signal.SIGKILL)
        work.process.wait()


def _outcome(course: Course, assignment: str, work: Work) -> tuple[str, bool]:
    """A line on a student, and whether the grading itself failed."""
    from labkit.classroom.one import note

    found: dict[str, Any] = files.read_json(note(course, assignment, work.student))
    seconds = f"{time.monotonic() - work.start:.0f} s"
    if not found:
        where = _log(course, assignment, work.student).relative_to(course.root)
        return f"{work.student}: grading failed; see {where}", True
    hand = ", and answers to mark by hand" if found["by_hand"] else ""
    trouble = "; it could not be read, see its log" if found["trouble"] else ""
    points = f"{found['score']:g} of {found['max_score']:g} points{hand}{trouble}"
    return f"{work.student}: {points} ({seconds})", False


def _left(seconds: float) -> str:
    return (
        f"; about {seconds / 60:.0f} min left" if seconds > 90 else f"; about {seconds:.0f} s left"
    )


def _log(course: Course, assignment: str, student: str) -> Path:
    return course.root / ".labkit" / assignment / f"{student}.log"
