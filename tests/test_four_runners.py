"""Same notebook, four runners, same numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_train import timeless

from labkit import notebooks, publish, records

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "03_keras_vs_mbn.ipynb"
TINY = {"epochs": 1, "train_size": 100}
VALUES = {name: str(value) for name, value in TINY.items()}


def edited(path):
    """The notebook as a reader would change it: other numbers in its parameters cell."""
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cell = next(c for c in content["cells"] if "parameters" in c["metadata"].get("tags", ()))
    for name, value in TINY.items():
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
    said = child.communicate(timeout=280)[0]
    assert child.returncode == 0, said[-3000:]


def numbers(runs):
    found = [records.read(path) for path in sorted(runs.glob("*/record.json"))]
    return {record["row"]: timeless(record) for record in found}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_same_notebook_four_runners_same_numbers(tmp_path, monkeypatch):
    """Two at a time: JupyterLab's own and plain papermill, then `labkit run` and the book's."""
    place, other = edited(tmp_path / "lab" / "notebooks" / "03.ipynb"), tmp_path / "other"
    other.mkdir()
    outs = {name: tmp_path / f"{name}.ipynb" for name in ("lab", "papermill", "labkit")}
    runs = {name: tmp_path / f"runs-{name}" for name in (*outs, "book")}
    given = [word for name, value in VALUES.items() for word in ("-p", name, value)]
    pair = [
        start(runs["lab"], place.parent, "nbconvert", "--to", "notebook", "--execute",
              place.name, "--output-dir", tmp_path, "--output", "lab"),
        start(runs["papermill"], other, "papermill", "--no-progress-bar", NOTEBOOK,
              outs["papermill"], *given),
    ]  # fmt: skip
    for child in pair:
        finish(child)

    given = [word for name, value in VALUES.items() for word in ("-p", f"{name}={value}")]
    child = start(runs["labkit"], other, "labkit", "run", NOTEBOOK, "-o", outs["labkit"], *given)
    monkeypatch.setenv("LABKIT_RUNS", str(runs["book"]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (line,) = publish._execute([place], tmp_path / "executed", "smoke", ROOT)
    finish(child)
    assert line.status == "ok"
    outs["book"] = tmp_path / "executed" / place.name

    expected = numbers(runs["lab"])
    assert len(expected) >= 2
    for name in outs:
        assert numbers(runs[name]) == expected, name
        executed = json.loads(outs[name].read_text(encoding="utf-8"))
        assert notebooks.inspect(executed) is None, name
