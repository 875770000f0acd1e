"""A student's own check: what it says of each test, and that it leaves the notebook alone."""

import json

import pytest

from labkit.classroom.check import check
from labkit.errors import InputError

pytestmark = pytest.mark.slow


def note(name, *, grade=True, solution=False):
    return {"nbgrader": {"grade": grade, "grade_id": name, "locked": not solution, "points": 1,
                         "schema_version": 3, "solution": solution, "task": False}}  # fmt: skip


@pytest.fixture
def notebook(tmp_path):
    """Write an assignment of these cells: (type, source, metadata)."""

    def write(*cells):
        content = {
            "cells": [
                {"cell_type": kind, "id": f"c{n}", "metadata": metadata, "source": source}
                | ({"execution_count": None, "outputs": []} if kind == "code" else {})
                for n, (kind, source, metadata) in enumerate(cells)
            ],
            "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = tmp_path / "work.ipynb"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def solution(name):
    """The note of a cell to write code in."""
    return note(name, grade=False, solution=True)


def test_each_graded_cell_has_its_line(notebook, tmp_path):
    (tmp_path / "numbers.txt").write_text("7", encoding="utf-8")
    path = notebook(
        ("code", "seven = int(open('numbers.txt').read())", solution("read")),
        ("code", "assert seven == 7", note("good")),
        ("code", "assert seven == 8, 'eight'", note("bad")),
        ("code", "import warnings; warnings.warn('look')", note("loud")),
        ("code", "# YOUR CODE HERE\nraise NotImplementedError()", solution("later")),
        ("code", "assert seven == 7", note("good")),
        ("markdown", "Because.", note("why", solution=True)),
        ("markdown", "YOUR ANSWER HERE", note("open", solution=True)),
    )  # fmt: skip
    before = path.read_bytes()
    said = [(found.name, found.good, found.text) for found in check(path)]
    assert said == [
        ("good", False, "is there more than once; delete the copy"),
        ("good", True, "passed what you can see of it"),
        ("bad", False, "failed (AssertionError: eight)"),
        ("loud", False, "wrote a warning, which nbgrader counts as failed"),
        ("later", False, "is not answered yet"),
        ("good", True, "passed what you can see of it"),
        ("why", True, "is answered; your teacher marks it"),
        ("open", False, "is not answered yet"),
    ]
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["numbers.txt", "work.ipynb"]


@pytest.mark.long
def test_a_name_taken_from_python_is_found_before_handing_in(notebook):
    path = notebook(("code", "sum = 3", {}), ("code", "assert True", note("fine")))
    (found,) = check(path)
    assert not found.good
    assert "this notebook replaced sum" in found.text


@pytest.mark.long
def test_a_dead_kernel_leaves_no_test_passed(notebook):
    path = notebook(
        ("code", "assert True", note("early")),
        ("code", "import os; os._exit(0)", {}),
        ("code", "assert True", note("late")),
    )
    early, late = check(path)
    assert early.good
    assert not late.good
    assert "kernel died" in late.text


def test_a_notebook_without_graded_cells_is_no_assignment(notebook):
    with pytest.raises(InputError, match="is no assignment"):
        check(notebook(("code", "1", {})))
