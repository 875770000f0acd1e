"""Submissions as they come in, by mail or from a folder, put where nbgrader looks for them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from labkit import files
from labkit.classroom.course import Course
from labkit.errors import InputError

__all__ = ["collect", "student_name"]

LARGEST_MB = 50  # of one submission


def collect(course: Course, assignment: str, inbox: Path) -> list[str]:
    """Take what lies in a folder into the course. Returns a line for each submission.

    A submission is a notebook STUDENT.ipynb, a folder STUDENT, or STUDENT.zip; what the notebook in
    it is called does not matter. A newer one replaces an older. The time of handing in is the
    file's own, and nbgrader takes late penalties from it.

    Raises:
        InputError: there is no such folder.
    """
    if not inbox.is_dir():
        raise InputError(f"there is no folder {inbox}; put what students handed in into one")
    taken: dict[str, Path] = {}
    lines = []
    for path in sorted(inbox.iterdir()):
        if path.name.startswith("."):
            continue
        student = student_name(path)
        if student in taken:
            lines.append(f"{student}: handed in twice, as {_say(path)} too, which is left out")
            continue
        taken[student] = path
        lines.append(f"{student}: {_take(course, assignment, student, path)}")
    return lines


def student_name(path: Path) -> str:
    """A student's name that files, databases and command lines all take.

    Letters lose their accents; bytes that are no UTF-8 are read as Latin-1.
    """
    name = path.name if path.is_dir() else path.stem
    text = os.fsencode(name).decode("utf-8", "surrogateescape")
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        text = os.fsencode(name).decode("latin-1")
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._@+-]+", "-", plain).strip("-._") or "unnamed"


def _take(course: Course, assignment: str, student: str, path: Path) -> str:
    target = course.root / "submitted" / student / assignment
    with tempfile.TemporaryDirectory(dir=course.root, prefix=".collect-") as name:
        found = list(_files(path, Path(name)))
        notebooks = [file for file in found if file.suffix == ".ipynb"]
        if not notebooks:
            return "no notebook in it; nothing was taken"
        if sum(file.stat().st_size for file in found) > LARGEST_MB * 1_000_000:
            return f"larger than {LARGEST_MB} MB; nothing was taken"
        notebook = _most_likely(notebooks, assignment)
        time = datetime.fromtimestamp(notebook.stat().st_mtime, UTC)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        # nbgrader copies other files over with the source's own; a student's are not needed
        shutil.copyfile(notebook, target / f"{assignment}.ipynb")
    files.write_atomic(target / "timestamp.txt", time.strftime("%Y-%m-%d %H:%M:%S UTC\n"))
    return f"taken, handed in {time:%Y-%m-%d %H:%M} UTC"


def _files(path: Path, folder: Path) -> Iterator[Path]:
    """The plain files of a submission; what an archive holds is unpacked below a folder."""
    if path.is_symlink():
        return
    if path.is_dir():
        found = sorted(path.rglob("*"))
        yield from (file for file in found if file.is_file() and not file.is_symlink())
    elif path.suffix.lower() == ".zip":
        yield from _unpack(path, folder)
    else:
        yield path


def _unpack(path: Path, folder: Path) -> Iterator[Path]:
    """The notebooks of an archive, under names of ours: its own may lead anywhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            for number, entry in enumerate(archive.infolist()):
                if not entry.filename.endswith(".ipynb") or entry.file_size > LARGEST_MB * 10**6:
                    continue
                target = folder / str(number) / Path(entry.filename).name
                target.parent.mkdir()
                target.write_bytes(archive.read(entry))
                moment = datetime(*entry.date_time).timestamp()
                os.utime(target, (moment, moment))
                yield target
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError):
        return


def _most_likely(notebooks: list[Path], assignment: str) -> Path:
    """The one with the assignment's name, else the newest; never one of Jupyter's checkpoints."""
    own = [path for path in notebooks if ".ipynb_checkpoints" not in path.parts] or notebooks
    return max(own, key=lambda path: (path.stem == assignment, path.stat().st_mtime))


def _say(path: Path) -> str:
    return os.fsencode(path.name).decode("utf-8", "replace")
