"""The page of faults: faults.csv and the marks on the tests, made into one table.

    python tests/fault_table.py     writes book/faults.md
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "book" / "faults.md"
HEAD = """# What can go wrong

Each fault below was provoked on purpose, and each has tests that provoke it again with every
change: a process killed in the middle of an epoch, a forged archive, a full disk. All of them are
run by `pytest -m faults`; a test's name is its sentence with underscores. Rows with a star had to
hold before anything was released. This page is made from the marks on the tests, so that no row can
be without one.

| | What happens to it | What it does | Tests |
|--:|---|---|---|
"""


def faults() -> list[dict[str, str]]:
    """The rows of faults.csv: row, gate, fault, behaviour."""
    with open(TESTS / "faults.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def proofs() -> dict[int, list[tuple[str, str, bool]]]:
    """Row -> its tests as (file, test, whether it needs a machine of a kind)."""
    found: dict[int, list[tuple[str, str, bool]]] = {}
    for path in sorted(TESTS.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for row in _rows(node):
                    found.setdefault(row, []).append((path.stem, node.name, _conditional(node)))
    return found


def page() -> str:
    tests = proofs()
    return HEAD + "".join(
        f"| {fault['row']}{'*' if fault['gate'] else ''} | {fault['fault']} | {fault['behaviour']}"
        f" | {'<br>'.join(_sentences(tests[int(fault['row'])]))} |\n"
        for fault in faults()
    )


def _rows(node: ast.FunctionDef) -> list[int]:
    """The numbers in `@pytest.mark.faults(...)` above a test."""
    return [
        argument.value
        for call in _marks(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.faults"
        for argument in call.args
    ]


def _conditional(node: ast.FunctionDef) -> bool:
    texts = [ast.unparse(mark) for mark in node.decorator_list]
    return any(word in text for text in texts for word in ("skipif", "GPU", "mark.gpu"))


def _marks(node: ast.FunctionDef) -> Iterator[ast.AST]:
    for decorator in node.decorator_list:
        yield from ast.walk(decorator)


def _sentences(tests: list[tuple[str, str, bool]]) -> list[str]:
    """As in `runner: a failure has its sentence and keeps the last good output`."""
    return [
        f"*{module.removeprefix('test_').replace('_', ' ')}*:"
        f" {name.removeprefix('test_').replace('_', ' ')}"
        for module, name, _ in tests
    ]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
