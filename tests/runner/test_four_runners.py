"""Same notebook, other runners, same numbers: one by all four, the others by two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import timeless

from labkit import records
from labkit.book import site
from labkit.runner import document

ROOT = Path(__file__).parents[2]
NOTEBOOKS = {path.stem[:2]: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
TINY = {"epochs": 1, "train_size": 100}
SHORT = {"epochs": 1}


def edited(notebook, path, values):
    """The notebook as a reader would change it: other numbers in its parameters cell."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    cell = next(c for c in content["cells"] if "parameters" in c["metadata"].get("tags", ()))
    for name, value in values.items():
        lines = "".join(cell["source"])
        assert f"{name}: int = 0" in lines
        cell["source"] = lines.replace(f"{name}: int = 0", f"{name}: int = {value}")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def start(runs, folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"LABKIT_RUNS": str(runs), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(child):
    said = child.communicate(timeout=800)[0]
    assert child.returncode == 0, said[-3000:]


def numbers(runs):
    found = [records.read(path) for path in sorted(runs.glob("*/record.json"))]
    return {record["row"]: timeless(record) for record in found}


def jupyter(place, out, runs):
    """What JupyterLab does: every cell, in the notebook's own folder."""
    return start(runs, place.parent, "nbconvert", "--to", "notebook", "--execute", place.name,
                 "--output-dir", out.parent, "--output", out.stem)  # fmt: skip


def papermill(notebook, out, runs, folder, values):
    """Plain papermill from another folder, with the numbers on the command line."""
    given = [word for name, value in values.items() for word in ("-p", name, value)]
    return start(runs, folder, "papermill", "--no-progress-bar", notebook, out, *given)


def assert_same(outs, runs):
    """Every runner left the records of the first, and a notebook that ran to its end."""
    first, *_ = (numbers(folder) for folder in runs.values())
    assert len(first) >= 2
    for name, out in outs.items():
        assert numbers(runs[name]) == first, name
        executed = json.loads(out.read_text(encoding="utf-8"))
        assert document.inspect(executed) is None, name


@pytest.fixture
def other(tmp_path):
    """A working directory that has nothing to do with the notebooks."""
    folder = tmp_path / "other"
    folder.mkdir()
    return folder


@pytest.mark.long
@pytest.mark.timeout(600)
def test_same_notebook_four_runners_same_numbers(tmp_path, other, monkeypatch):
    """Two at a time: JupyterLab's own and plain papermill, then `labkit run` and the book's."""
    notebook = NOTEBOOKS["03"]
    place = edited(notebook, tmp_path / "lab" / "notebooks" / "03.ipynb", TINY)
    outs = {name: tmp_path / f"{name}.ipynb" for name in ("lab", "papermill", "labkit")}
    runs = {name: tmp_path / f"runs-{name}" for name in (*outs, "book")}
    pair = [
        jupyter(place, outs["lab"], runs["lab"]),
        papermill(notebook, outs["papermill"], runs["papermill"], other, TINY),
    ]
    for child in pair:
        finish(child)

    given = [word for name, value in TINY.items() for word in ("-p", f"{name}={value}")]
    child = start(runs["labkit"], other, "labkit", "run", notebook, "-o", outs["labkit"], *given)
    monkeypatch.setenv("LABKIT_RUNS", str(runs["book"]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ((_, result),) = site._execute([place], tmp_path / "executed", "smoke", ROOT)
    finish(child)
    assert result.status == "ok"
    outs["book"] = tmp_path / "executed" / place.name
    assert_same(outs, runs)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [number for number in NOTEBOOKS if number != "03"])
def test_same_notebook_two_runners_same_numbers(number, tmp_path, other):
    """The two that share the least: JupyterLab's own, and plain papermill from elsewhere."""
    notebook = NOTEBOOKS[number]
    place = edited(notebook, tmp_path / "lab" / "notebooks" / f"{number}.ipynb", SHORT)
    outs = {name: tmp_path / f"{name}.ipynb" for name in ("lab", "papermill")}
    runs = {name: tmp_path / f"runs-{name}" for name in outs}
    for child in (
        jupyter(place, outs["lab"], runs["lab"]),
        papermill(notebook, outs["papermill"], runs["papermill"], other, SHORT),
    ):
        finish(child)
    assert_same(outs, runs)
