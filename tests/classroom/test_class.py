"""A class from an empty folder to grades.csv, with every kind of submission, by either program.

These tests need nbgrader, which `make` installs, and take minutes: they are long ones.
"""

import csv
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from handed_in import KINDS, READER, before, cell, make

ASSIGNMENT = "pictures"
SHELF = Path(__file__).parents[2] / "notebooks" / "assignments"
SOURCE = SHELF / ASSIGNMENT
ASSIGNMENTS = sorted(SHELF.glob("*/*.ipynb"))
BOOK = Path(__file__).parents[2] / "book"
# a sound cell takes seconds on a quiet machine and may take a minute on a crowded one
SETTINGS = "\nc.Sandbox.cell_seconds = 90\nc.Sandbox.seconds = 600\n"
BYTES_NAME = os.fsdecode(b"ren\xe9.ipynb")
POINTS, BY_HAND = 14, 6

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]


def labkit(*words, cwd, check=True):
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "class", *words], cwd=cwd, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def solved(path=SOURCE / f"{ASSIGNMENT}.ipynb"):
    """An assignment with its solutions, as a student would have written it: without the marks."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for each in notebook["cells"]:
        lines = "".join(each["source"]).splitlines()
        hidden, kept = False, []
        for line in lines:
            hidden = (hidden or "BEGIN HIDDEN" in line) and "END HIDDEN" not in line
            if not hidden and "###" not in line:
                kept.append(line)
        each["source"] = "\n".join(kept)
    return notebook


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course whose class has handed in, collected and not yet graded."""
    root = tmp_path_factory.mktemp("school") / "images-101"
    labkit("new", str(root), cwd=root.parent)
    with (root / "nbgrader_config.py").open("a", encoding="utf-8") as file:
        file.write(SETTINGS)
    labkit("release", ASSIGNMENT, cwd=root)
    inbox = root.parent / "inbox"
    inbox.mkdir()
    for kind in KINDS:
        (inbox / f"{kind}.ipynb").write_text(make(kind, solved()), encoding="utf-8")
    reader = solved()
    before("mirror", f"GRADEBOOK = {str(root / 'gradebook.db')!r}\n{READER}")(reader)
    (inbox / "reader.ipynb").write_text(json.dumps(reader), encoding="utf-8")
    (inbox / BYTES_NAME).write_text(json.dumps(solved()), encoding="utf-8")
    (inbox / "unreadable.ipynb").write_bytes(b"\x00\xff not a notebook")
    (inbox / "empty").mkdir()
    shutil.copy(root / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb", inbox / "empty")
    done = labkit("collect", ASSIGNMENT, str(inbox), cwd=root)
    assert done.stdout.endswith(f"{len(KINDS) + 4} submissions\n")
    return root


EXPECTED = {kind: points for kind, (_, points) in KINDS.items()} | {
    "reader": POINTS, "rene": POINTS, "unreadable": 0, "empty": 0}  # fmt: skip


def grades(root):
    labkit("export", "grades.csv", cwd=root)
    with (root / "grades.csv").open(encoding="utf-8", newline="") as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def graded(course):
    """The course, graded; killed in the middle and taken up again."""
    command = [sys.executable, "-m", "labkit", "class", "grade", ASSIGNMENT]
    environment = os.environ | {"API_TOKEN": "swordfish"}
    options = {"cwd": course, "env": environment, "text": True}
    first = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    for _ in range(4):
        first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    second = subprocess.run(command, capture_output=True, **options)
    assert second.returncode == 0, second.stdout
    assert re.search(r"[4-9] graded before and unchanged", second.stdout)
    assert re.search(r"about [0-9]+ (s|min) left", second.stdout)
    return course


def test_every_kind_of_submission_gets_its_documented_points(graded):
    assert grades(graded) == EXPECTED


def test_the_reader_learned_nothing(graded):
    path = graded / "autograded" / "reader" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    text = path.read_text(encoding="utf-8")
    assert "gradebook FileNotFoundError" in text
    assert "network OSError" in text
    assert "course FileNotFoundError" in text
    assert "secret None" in text
    assert "swordfish" not in text


def secrets():
    """Lines of the source that no student may see: solutions, hidden tests, mark schemes."""
    notebook = json.loads((SOURCE / f"{ASSIGNMENT}.ipynb").read_text(encoding="utf-8"))
    for each in notebook["cells"]:
        secret = False
        for line in "".join(each["source"]).splitlines():
            if "### " in line:
                secret = "BEGIN" in line
            elif secret and len(line.strip()) > 30:
                yield line.strip()


def test_no_solution_hidden_test_or_mark_scheme_is_given_out(graded):
    lines = list(secrets())
    assert len(lines) > 30
    release = (graded / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb").read_text(encoding="utf-8")
    plain = "\n".join("".join(c["source"]) for c in json.loads(release)["cells"])
    assert [line for line in lines if line in plain] == []
    assert "BEGIN" not in plain
    for student in ("empty", "spy", "wrong"):
        assert "HIDDEN TESTS" not in page(graded, student)
    # "empty" wrote nothing of its own, so that all its page says is ours
    text = re.sub(r"\s+", "", page(graded, "empty"))
    assert [line for line in lines if re.sub(r"\s+", "", line) in text] == []


def page(root, student):
    """A student's feedback as text."""
    path = root / "feedback" / student / ASSIGNMENT / f"{ASSIGNMENT}.html"
    return html.unescape(re.sub(r"<[^>]*>", "", path.read_text(encoding="utf-8")))


def test_the_feedback_says_which_part_failed(graded):
    assert "a hidden part did not" in page(graded, "wrong")
    assert "that you can see did not pass" in page(graded, "empty")
    assert "its kernel died" in page(graded, "crashing")
    assert "replaced something" in page(graded, "bent")


def test_the_teacher_sees_the_spread_the_hardest_tests_and_the_copies(graded):
    text = labkit("statistics", ASSIGNMENT, cwd=graded).stdout
    assert "test-set2" in text
    assert re.search(r"worth a look: .*copied, correct", text)


def test_nbgraders_own_commands_give_the_same_points(graded, tmp_path):
    mine = tmp_path / graded.name
    own = shutil.ignore_patterns("autograded", "feedback", ".labkit")
    shutil.copytree(graded, mine, ignore=own)
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    commands = (["autograde", ASSIGNMENT, "--force"], ["export"])
    for words in commands:
        subprocess.run(
            [sys.executable, "-m", "nbgrader", *words], cwd=mine, env=os.environ | {"PATH": paths},
            capture_output=True, check=False,
        )  # fmt: skip
    with (mine / "grades.csv").open(encoding="utf-8", newline="") as file:
        found = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    # the unreadable one has none
    assert len(list(mine.glob(f"autograded/*/{ASSIGNMENT}/*.ipynb"))) == len(EXPECTED) - 1
    assert found == EXPECTED


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """Every assignment, handed in solved and untouched."""
    root = tmp_path_factory.mktemp("school") / "all"
    labkit("new", str(root), cwd=root.parent)
    for path in ASSIGNMENTS:
        labkit("release", path.stem, cwd=root)
        inbox = root.parent / path.stem
        inbox.mkdir()
        (inbox / "solved.ipynb").write_text(json.dumps(solved(path)), encoding="utf-8")
        shutil.copy(root / "release" / path.stem / path.name, inbox / "untouched.ipynb")
        labkit("collect", path.stem, str(inbox), cwd=root)
        labkit("grade", path.stem, cwd=root)
    return root


@pytest.mark.parametrize("path", ASSIGNMENTS, ids=lambda path: path.stem)
def test_a_solution_earns_all_points_and_an_untouched_release_none(school, path):
    from labkit.classroom.course import Course

    with Course(school).gradebook() as gradebook:
        marked = {
            student: mark(gradebook, path.stem, student) for student in ("solved", "untouched")
        }
        best = gradebook.find_assignment(path.stem).max_score
        points = {
            student: gradebook.find_submission(path.stem, student).score for student in marked
        }
    assert points == {"solved": best, "untouched": 0}
    assert marked["solved"] > 0
    assert marked["untouched"] == 0


def mark(gradebook, assignment, student):
    """Give full marks to every answer that waits for them; returns how many there were."""
    waiting = [
        grade
        for notebook in gradebook.find_submission(assignment, student).notebooks
        for grade in notebook.grades
        if grade.needs_manual_grade
    ]
    for grade in waiting:
        grade.manual_score, grade.needs_manual_grade = grade.max_score, False
    gradebook.db.commit()
    return len(waiting)


def test_the_solution_earns_full_marks_with_its_answers_marked(graded):
    from labkit.classroom.course import Course

    with Course(graded).gradebook() as gradebook:
        mark(gradebook, ASSIGNMENT, "correct")
    assert grades(graded)["correct"] == POINTS + BY_HAND


def commands(page):
    """What a page of the book tells its reader to type."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", (BOOK / page).read_text("utf-8"), re.DOTALL))


def shell(script, cwd):
    """Run lines as a reader would, `labkit` being the one under test."""
    function = f'labkit() {{ "{sys.executable}" -m labkit "$@"; }}\nset -e\n'
    return subprocess.run(
        ["bash", "-c", function + script], cwd=cwd, capture_output=True, text=True
    )


def regrade(root):
    """After a test was changed and released again, a class is graded anew; else left alone."""
    done = labkit("grade", ASSIGNMENT, cwd=root)
    assert done.stdout == "2 graded before and unchanged\n"
    path = root / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    _, test = cell(notebook, "test-decide")
    test["source"] = "assert decide(1.0, 3.0, 2.0) == 'unheard of'"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    labkit("release", ASSIGNMENT, cwd=root)
    labkit("grade", ASSIGNMENT, cwd=root)
    assert grades(root) == {"anna": POINTS - 1, "ben": POINTS - 1}


def test_the_pages_work_as_they_are_printed(tmp_path):
    (tmp_path / "inbox" / "ben").mkdir(parents=True)
    for place in ("inbox/anna.ipynb", "inbox/ben/pictures.ipynb"):
        (tmp_path / place).write_text(json.dumps(solved()), encoding="utf-8")
    done = shell(commands("classroom.md"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert grades(tmp_path / "images-101") == {"anna": POINTS, "ben": POINTS}
    assert (tmp_path / "images-101" / "feedback" / "anna" / ASSIGNMENT).is_dir()
    regrade(tmp_path / "images-101")

    mine = tmp_path / "images-101" / "release" / ASSIGNMENT
    fresh = shell(commands("assignments.md"), mine)
    assert fresh.returncode == 1
    assert "Ready" not in fresh.stdout
    assert "ok  " not in fresh.stdout
    (mine / "pictures.ipynb").write_text(json.dumps(solved()), encoding="utf-8")
    ready = shell(commands("assignments.md"), mine)
    assert ready.stdout.endswith("Ready to hand in.\n"), ready.stdout
