"""What every assignment keeps to, read from its source: nothing here needs nbgrader."""

import json
import re
from pathlib import Path

import pytest

from labkit import records
from labkit.classroom.recorded import ROWS, recorded
from labkit.runner.contract import declared

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks" / "assignments").glob("*/*.ipynb"))
MARKS = re.compile(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)")


def cells(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    return [(c, c["metadata"].get("nbgrader", {}), "".join(c["source"])) for c in content["cells"]]


def test_there_are_assignments():
    assert "pictures" in [path.stem for path in SOURCES]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_an_assignment_keeps_the_rules(path):
    assert path.stem == path.parent.name
    assert declared(path)  # a tagged cell of parameters, literals only
    first = cells(path)[0][2]
    for words in ("**You will learn**", "minutes", "**Points**"):
        assert words in first
    names = [noted["grade_id"] for _, noted, _ in cells(path) if noted]
    assert len(names) == len(set(names))
    assert [n for c, n, _ in cells(path) if "parameters" in c["metadata"].get("tags", ())] == [
        {"grade": False, "grade_id": "parameters", "locked": True, "schema_version": 3,
         "solution": False, "task": False}
    ]  # fmt: skip
    for cell, noted, source in cells(path):
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            assert len(source.splitlines()) <= 15, source
        begins = MARKS.findall(source)
        assert [side for side, _ in begins] == ["BEGIN", "END"] * (len(begins) // 2)
        assert {kind for _, kind in begins} <= (
            {"SOLUTION"} if noted.get("solution") else {"HIDDEN TESTS"} if noted else set()
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_points_are_those_that_the_first_cell_promises(path):
    graded = [noted for _, noted, _ in cells(path) if "points" in noted]
    points = [(noted["points"], noted["solution"]) for noted in graded]
    found = re.search(r"\*\*Points\*\*: (\d+), of which (\d+)", cells(path)[0][2])
    promised = [int(number) for number in found.groups()]
    assert [sum(p for p, _ in points), sum(p for p, hand in points if hand)] == promised


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_an_answer_to_mark_by_hand_has_a_mark_scheme(path):
    for _, noted, source in cells(path):
        if noted.get("grade") and noted.get("solution"):
            assert source.startswith("### BEGIN SOLUTION")
            assert "Mark scheme:" in source
            points = [int(n) for n in re.findall(r"(?:^|[;:] )(\d) (?:points? )?for", source)]
            assert sum(points) == noted["points"], source


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_what_an_assignment_hides_is_nowhere_in_the_book(path):
    book = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "book").glob("*.md"))
    for _, _, source in cells(path):
        hidden = False
        for line in source.splitlines():
            if MARKS.search(line):
                hidden = "BEGIN" in line
            elif hidden and len(line.strip()) > 30:
                assert line.strip() not in book


@pytest.mark.parametrize("name", ROWS)
def test_the_recorded_numbers_are_those_of_the_records(name):
    scores = json.loads(recorded(name))["top1"]
    assert list(scores) == list(ROWS[name])
    of_records = {
        (record["row"], str(record["recipe"]["seed"]), round(100 * record["test"]["top1"], 3))
        for record in records.recorded(preset="lesson")
        if record["row"] in scores
    }
    given = {(row, *pair) for row, seeds in scores.items() for pair in seeds.items()}
    assert given == of_records
    assert all(len(seeds) >= 3 for seeds in scores.values())
