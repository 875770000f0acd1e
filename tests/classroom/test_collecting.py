"""What students hand in, under any name and in any wrapping, is found and put in place."""

import os
import zipfile
from pathlib import Path

import pytest

from labkit.classroom.collecting import collect, student_name
from labkit.errors import InputError

NOTEBOOK = '{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}'


class Course:
    """As much of a course as collecting needs: nbgrader is not asked."""

    def __init__(self, root):
        self.root = root


@pytest.fixture
def inbox(tmp_path):
    folder = tmp_path / "inbox"
    folder.mkdir()
    (tmp_path / "course").mkdir()
    return folder


def taken(tmp_path, student):
    return tmp_path / "course" / "submitted" / student / "pictures"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"anna.ipynb", "anna"),
        (b"anna@school.example.ipynb", "anna@school.example"),
        ("J\u00fcrgen Gro\u00df.ipynb".encode(), "Jurgen-Gro"),
        (b"ren\xe9.zip", "rene"),
        (b"a*b[c]?.ipynb", "a-b-c"),
        (b"../../x.ipynb", "x"),
        ("\u674e.ipynb".encode(), "unnamed"),
        (b"-rf.ipynb", "rf"),
    ],
)
def test_a_name_that_every_program_takes(raw, name):
    assert student_name(Path(os.fsdecode(raw))) == name


def test_notebooks_folders_and_archives_are_taken(tmp_path, inbox):
    (inbox / "anna.ipynb").write_text(NOTEBOOK, encoding="utf-8")
    (inbox / "ben" / ".ipynb_checkpoints").mkdir(parents=True)
    (inbox / "ben" / "my work.ipynb").write_text(NOTEBOOK + " ", encoding="utf-8")
    (inbox / "ben" / ".ipynb_checkpoints" / "pictures.ipynb").write_text("old", encoding="utf-8")
    with zipfile.ZipFile(inbox / "chris.zip", "w") as archive:
        archive.writestr("../../../evil.ipynb", NOTEBOOK)
    (inbox / "dora.zip").write_bytes(b"no archive")
    (inbox / "ella").mkdir()
    lines = collect(Course(tmp_path / "course"), "pictures", inbox)
    assert [line.partition(":")[0] for line in lines] == ["anna", "ben", "chris", "dora", "ella"]
    for student in ("anna", "ben", "chris"):
        text = (taken(tmp_path, student) / "pictures.ipynb").read_text(encoding="utf-8")
        assert text.strip() == NOTEBOOK
        stamp = (taken(tmp_path, student) / "timestamp.txt").read_text(encoding="utf-8")
        assert stamp.endswith(" UTC\n")
    assert all("nothing was taken" in line for line in lines[3:])
    assert not list(tmp_path.rglob("evil.ipynb"))
    assert not list((tmp_path / "course").glob(".collect-*"))


def test_a_second_file_of_the_same_student_is_named_and_left_out(tmp_path, inbox):
    (inbox / "anna.ipynb").write_text(NOTEBOOK, encoding="utf-8")
    (inbox / "anna.zip").write_bytes(b"")
    lines = collect(Course(tmp_path / "course"), "pictures", inbox)
    assert "handed in twice" in lines[1]


def test_a_link_leads_nowhere(tmp_path, inbox):
    (tmp_path / "secret.ipynb").write_text(NOTEBOOK, encoding="utf-8")
    (inbox / "mallory").mkdir()
    (inbox / "mallory" / "pictures.ipynb").symlink_to(tmp_path / "secret.ipynb")
    lines = collect(Course(tmp_path / "course"), "pictures", inbox)
    assert lines == ["mallory: no notebook in it; nothing was taken"]


def test_a_missing_inbox_has_its_sentence(tmp_path):
    with pytest.raises(InputError, match="put what students handed in into one"):
        collect(Course(tmp_path), "pictures", tmp_path / "none")
