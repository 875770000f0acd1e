"""The page of faults: faults.csv and the marks on the tests, made into one table.

Run as `python tests/fault_table.py`, it writes book/faults.md.
"""

from __future__ import annotations

import ast
import csv
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "book" / "faults.md"
HEAD = """# What can go wrong

Each fault below was provoked on purpose, and each has tests that provoke it again with every
change: a process killed in the middle of an epoch, a forged archive, a full disk. All of them are
run by `pytest -m faults`; a test's name is its sentence with underscores. Rows with a star had to
hold before anything was released. This page is made from the marks on the tests, so that no row can
be without one.

## The faults

:::{list-table}
:header-rows: 1
:widths: 5 22 33 40
:class: full-width
* -
  - What happens
  - What comes of it
  - Tests
"""


def faults() -> list[dict[str, str]]:
    """The rows of faults.csv: row, gate, fault, behaviour."""
    with open(TESTS / "faults.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Proof(NamedTuple):
    """One test of a row."""

    file: str
    name: str
    marks: str  # its decorators as they are written

    @property
    def everywhere(self) -> bool:
        return not any(word in self.marks for word in ("skipif", "GPU", "mark.gpu"))

    def __str__(self) -> str:
        """As in `runner: a failure has its sentence and keeps the last good output`."""
        file, name = (text.removeprefix("test_").replace("_", " ") for text in self[:2])
        return f"*{file}*: {name}{' (needs a GPU)' if 'mark.gpu' in self.marks else ''}"


def proofs() -> dict[int, list[Proof]]:
    """The tests of each row, in the order of their files."""
    found: dict[int, list[Proof]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = " ".join(ast.unparse(mark) for mark in node.decorator_list)
                for row in _rows(node):
                    found.setdefault(row, []).append(Proof(path.stem, node.name, marks))
    return found


def page() -> str:
    tests = proofs()
    rows = [
        [
            fault["row"] + ("*" if fault["gate"] else ""),
            fault["fault"],
            fault["behaviour"],
            "<br>".join(map(str, tests[int(fault["row"])])),
        ]
        for fault in faults()
    ]
    return HEAD + "".join("* - " + "\n  - ".join(row) + "\n" for row in rows) + ":::\n"


def _rows(node: ast.FunctionDef) -> list[int]:
    """The numbers in `@pytest.mark.faults(...)` above a test."""
    return [
        argument.value
        for decorator in node.decorator_list
        for call in ast.walk(decorator)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.faults"
        for argument in call.args
    ]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
