"""What a teacher wants to know of a graded assignment: the spread, the hardest tests, the twins."""

from __future__ import annotations

import ast
import hashlib
from collections import defaultdict
from pathlib import Path

import nbformat

from labkit.classroom.cells import grade_id
from labkit.classroom.course import Course

__all__ = ["export", "hardest", "histogram", "twins"]

BARS = 10


def export(course: Course, out: Path) -> None:
    """Write the grades of all assignments as nbgrader exports them.

    Args:
        out: a CSV file.
    """
    from nbgrader.plugins import CsvExportPlugin

    plugin = CsvExportPlugin()
    plugin.to = str(out)
    with course.gradebook() as gradebook:
        plugin.export(gradebook)


def histogram(course: Course, assignment: str) -> list[str]:
    """How many students got how many points, a line for each tenth of them."""
    with course.gradebook() as gradebook:
        entry = gradebook.find_assignment(assignment)
        most, scores = entry.max_score, sorted(each.score for each in entry.submissions)
    counts = [0] * BARS
    for score in scores:
        counts[min(BARS - 1, int(BARS * score / most) if most else 0)] += 1
    width = most / BARS
    return [f"{n * width:5.1f} to {(n + 1) * width:5.1f}  {count:4}  {'#' * count}"
            for n, count in enumerate(counts)]  # fmt: skip


def hardest(course: Course, assignment: str) -> list[tuple[str, float]]:
    """Each graded cell with the share of its points that the class got, the lowest first."""
    got: dict[str, float] = defaultdict(float)
    possible: dict[str, float] = defaultdict(float)
    with course.gradebook() as gradebook:
        for submission in gradebook.assignment_submissions(assignment):
            for notebook in submission.notebooks:
                for each in notebook.grades:
                    got[each.name] += each.score or 0
                    possible[each.name] += each.max_score
    shares = [(name, got[name] / total) for name, total in possible.items() if total]
    return sorted(shares, key=lambda pair: pair[1])


def twins(course: Course, assignment: str) -> list[list[str]]:
    """Groups of students whose solutions are the same but for spaces and comments.

    It is a reason to look, and no verdict: short answers are alike by themselves, so that only
    students count who agree in every solution and did change what they were given.
    """
    given = _released(course, assignment)
    groups: dict[str, list[str]] = defaultdict(list)
    for student in course.submissions(assignment):
        answers = _answers(course, assignment, student, given)
        if answers and answers != given:
            text = repr(sorted(answers.items()))
            groups[hashlib.sha256(text.encode()).hexdigest()].append(student)
    return sorted(group for group in groups.values() if len(group) > 1)


def _released(course: Course, assignment: str) -> dict[str, str]:
    """The solution cells as students got them."""
    path = course.root / "release" / assignment / f"{assignment}.ipynb"
    return _solutions(path, None)


def _answers(
    course: Course, assignment: str, student: str, given: dict[str, str]
) -> dict[str, str]:
    path = course.root / "submitted" / student / assignment / f"{assignment}.ipynb"
    return _solutions(path, set(given))


def _solutions(path: Path, names: set[str] | None) -> dict[str, str]:
    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception:
        return {}
    found: dict[str, str] = {}
    for cell in cells:
        noted = cell.metadata.get("nbgrader", {})
        name = grade_id(cell)
        if name and (name in names if names is not None else noted.get("solution")):
            found[name] = found.get(name, "") + _normal(cell.source)
    return found


def _normal(source: str) -> str:
    """Code without spaces and comments; of text, its words."""
    try:
        return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError):
        return " ".join(source.split())
