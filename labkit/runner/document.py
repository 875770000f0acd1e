"""Notebooks as JSON: what is read from them and written into them, without running anything."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labkit import files
from labkit.errors import InputError
from labkit.parameters import INJECTED

__all__ = [
    "ANSI",
    "INJECTED_TAG",
    "Fault",
    "Notebook",
    "clean",
    "git",
    "inject",
    "inspect",
    "is_code",
    "provenance",
    "read_notebook",
    "traceback_lines",
    "where",
    "write",
]

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PACKAGES = ("labkit", "torch", "torchvision", "numpy", "papermill")  # named in the provenance
INJECTED_TAG = "injected-parameters"  # papermill's own name for such a cell

Notebook = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """Why an executed notebook cannot be believed."""

    sentence: str
    exception: str = ""  # the class name of what a cell raised


def read_notebook(path: Path | str) -> Notebook:
    """A notebook's JSON.

    Raises:
        InputError: the file is missing, or is not a notebook of format 4.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no notebook {path}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a notebook: {error}") from error
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list) or content.get("nbformat") != 4:
        raise InputError(f"{path} is not a notebook of format 4; open and save it in JupyterLab")
    return content


def inspect(notebook: Notebook) -> Fault | None:
    """None when every code cell ran, in order, and well.

    Execution counts and outputs are read, never the metadata: papermill writes "completed" there
    for cells that did not run.
    """
    code = [(n, c) for n, c in enumerate(notebook["cells"]) if is_code(c)]
    for order, (index, cell) in enumerate(code, start=1):
        at = f"stopped at {where(notebook, index)}"
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                value = ANSI.sub("", output["evalue"])
                return Fault(f"{at}: {output['ename']}: {value}", output["ename"])
            text = "".join(output.get("text", "")).rstrip()
            # An interrupt between two statements reaches stderr only, and the cell looks done.
            if output.get("name") == "stderr" and text.endswith("KeyboardInterrupt"):
                return Fault(f"{at}: KeyboardInterrupt")
        if cell["execution_count"] != order:
            return Fault(f"{at}: it never ran")
    return None


def is_code(cell: dict[str, Any]) -> bool:
    """A cell that a kernel executes: an empty one gets no execution count."""
    return cell["cell_type"] == "code" and bool("".join(cell["source"]).strip())


def where(notebook: Notebook, index: int) -> str:
    """The cell at an index of `cells`, as in `cell 4 of 9 (net = build())`."""
    code = [n for n, cell in enumerate(notebook["cells"]) if is_code(cell)]
    if index not in code:
        return "the start of the kernel"
    lines = "".join(notebook["cells"][index]["source"]).strip().splitlines()
    return f"cell {code.index(index) + 1} of {len(code)} ({lines[0][:60]})"


def inject(notebook: Notebook, values: Mapping[str, Any]) -> None:
    """Put a cell that sets the values after the parameters cell, written by us, not by papermill.

    `repr` of checked values is exact, and unlike papermill's own cell it has no random id.
    """
    cells = [c for c in notebook["cells"] if INJECTED_TAG not in c["metadata"].get("tags", ())]
    lines = [INJECTED, *(f"{name} = {value!r}" for name, value in values.items())]
    place = next(n for n, c in enumerate(cells) if c["cell_type"] == "code") + 1
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "injected-parameters",
        "metadata": {"tags": [INJECTED_TAG]},
        "outputs": [],
        "source": "\n".join(lines),
    }
    for other in cells:
        if other["cell_type"] == "code":
            other.update(execution_count=None, outputs=[])
    notebook["cells"] = [*cells[:place], cell, *cells[place:]] if values else cells


def traceback_lines(notebook: Notebook) -> list[str]:
    """The first traceback of the outputs, without colours."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output["output_type"] == "error":
                return ANSI.sub("", "\n".join(output["traceback"])).splitlines()
    return []


def clean(notebook: Notebook) -> None:
    """Take out what differs from run to run and says nothing: papermill's times, paths and ids."""
    notebook["metadata"].pop("papermill", None)
    for cell in notebook["cells"]:
        for name in ("papermill", "execution"):
            cell["metadata"].pop(name, None)


def provenance(source: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Where an executed notebook comes from: parameters, versions, commit, time."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    commit = git(source.parent, "rev-parse", "HEAD")
    return {
        "notebook": os.fsencode(source.name).decode("utf-8", "replace"),
        "parameters": dict(values),
        "versions": versions,
        "commit": commit,
        "dirty": bool(git(source.parent, "status", "--porcelain", "-uno")) if commit else None,
        "executed": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def git(folder: Path, *arguments: str) -> str | None:
    """Git's answer, or None outside a checkout or without git."""
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def write(path: Path, notebook: Notebook) -> None:
    """Write a notebook the way JupyterLab lays one out, whole or not at all."""
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    files.write_atomic(path, text)
