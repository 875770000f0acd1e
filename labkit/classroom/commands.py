"""`labkit class ...`: what a teacher types, and the one command that is for students."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.errors import FAILED, OK

__all__ = ["add_commands"]


def add_commands(group: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Put the commands into a parser's group.

    Args:
        group: what `add_subparsers` gives.
        command: adds one, by its name, the function that runs it, and the group.
    """
    new = command("new", new_course, group)
    new.add_argument("course", type=Path, help="a folder that is new or empty")

    new = command("release", release, group)
    _add_assignment(new)

    new = command("check", check, group)
    new.add_argument("notebook", type=Path)

    new = command("collect", collect, group)
    _add_assignment(new)
    text = "a folder with a notebook, a folder or a zip for each student, named for them"
    new.add_argument("inbox", type=Path, help=text)

    new = command("grade", grade, group)
    _add_assignment(new)
    new.add_argument("students", nargs="*", help="only these (default: everybody)")
    text = "so many at one time (default: one for each processor)"
    new.add_argument("-j", "--together", type=int, default=0, metavar="N", help=text)
    new.add_argument("--again", action="store_true", help="those who are graded, too")

    new = command("feedback", feedback, group)
    _add_assignment(new)

    new = command("export", export, group)
    new.add_argument("out", type=Path, nargs="?", default=Path("grades.csv"), help="(grades.csv)")
    _add_course(new)

    new = command("statistics", statistics, group)
    _add_assignment(new)


def _add_assignment(new: argparse.ArgumentParser) -> None:
    new.add_argument("assignment", help="its name, such as pictures")
    _add_course(new)


def _add_course(new: argparse.ArgumentParser) -> None:
    new.add_argument("--course", type=Path, default=Path(), help="the course's folder (here)")


def new_course(arguments: argparse.Namespace) -> None:
    """Make a course with labkit's assignments in it."""
    from labkit.classroom import course

    names = course.new_course(arguments.course)
    print(f"{arguments.course}: {', '.join(names)}; next: labkit class release {names[0]}")


def release(arguments: argparse.Namespace) -> None:
    """Make the version of an assignment that students get."""
    path = _course(arguments).release(arguments.assignment)
    print(f"for students: {path}")


def check(arguments: argparse.Namespace) -> int:
    """For students: run your notebook's visible tests before you hand it in."""
    from labkit.classroom.check import check as run

    findings = run(arguments.notebook)
    for found in findings:
        print(f"{'ok  ' if found.good else 'LOOK'}  {found.name}: {found.text}")
    good = all(found.good for found in findings)
    print("Ready to hand in." if good else "Not all is well yet; you can hand in all the same.")
    return OK if good else FAILED


def collect(arguments: argparse.Namespace) -> None:
    """Take what students handed in, by mail or in a shared folder, into the course."""
    from labkit.classroom import collecting

    lines = collecting.collect(_course(arguments), arguments.assignment, arguments.inbox)
    print("\n".join([*lines, f"{len(lines)} submissions"]))


def grade(arguments: argparse.Namespace) -> int:
    """Grade everybody who handed in; after an interruption, go on."""
    from labkit.classroom import grading

    return grading.grade(
        _course(arguments), arguments.assignment, arguments.students,
        together=arguments.together, again=arguments.again,
    )  # fmt: skip


def feedback(arguments: argparse.Namespace) -> None:
    """Make the pages for students anew, after answers were marked by hand."""
    course = _course(arguments)
    made = course.feedback(arguments.assignment)
    print(f"{made} pages in {course.root / 'feedback'}")


def export(arguments: argparse.Namespace) -> None:
    """Write everybody's grades as CSV."""
    from labkit.classroom import statistics

    statistics.export(_course(arguments), arguments.out)
    print(arguments.out)


def statistics(arguments: argparse.Namespace) -> None:
    """The spread of the points, the hardest tests, and submissions that are the same."""
    from labkit.classroom import statistics

    course = _course(arguments)
    print("points, students", *statistics.histogram(course, arguments.assignment), sep="\n")
    print("share of the points that the class got, the hardest first")
    for name, share in statistics.hardest(course, arguments.assignment):
        print(f"{100 * share:4.0f} %  {name}")
    for group in statistics.twins(course, arguments.assignment):
        print(f"the same solutions, worth a look: {', '.join(group)}")


def _course(arguments: argparse.Namespace) -> Any:
    from labkit.classroom.course import Course

    return Course(arguments.course)
