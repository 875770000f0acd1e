"""A submission's cells put back in order before anything is run: whatever was copied, cut or lost.

nbgrader keeps in its gradebook what it released. What a cell is worth, whether it is a test and
what a locked one says is taken from there, never from the file that was handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor

from labkit.runner.document import INJECTED_TAG

__all__ = ["Source", "Tidy", "grade_id", "source_cells", "tidy"]

SCHEMA = 3  # of nbgrader's metadata, as 0.9 writes and asks for it


@dataclass(frozen=True)
class Source:
    """A cell as it was released, hidden tests included."""

    name: str
    kind: str  # code, markdown or raw
    text: str
    metadata: dict[str, Any]  # what nbgrader has to say of it


class Tidy(NbGraderPreprocessor):
    """`tidy` as one of the steps that nbgrader's autograde takes."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        about = resources["nbgrader"]
        source = source_cells(about["db_url"], about["assignment"], about["notebook"])
        for line in tidy(nb, source):
            self.log.warning("%s: %s", about["student"], line)
        return nb, resources


def source_cells(url: str, assignment: str, notebook: str) -> list[Source]:
    """The cells with a name that an assignment was released with, in their order.

    Args:
        url: of the gradebook.
    """
    with Gradebook(url) as gradebook:
        entry = gradebook.find_notebook(notebook, assignment)
        points = {cell.name: cell.max_score for cell in (*entry.grade_cells, *entry.task_cells)}
        grades, tasks, solutions = (
            {cell.name for cell in cells}
            for cells in (entry.grade_cells, entry.task_cells, entry.solution_cells)
        )
        return [
            Source(cell.name, cell.cell_type, cell.source, {
                "grade": cell.name in grades, "grade_id": cell.name, "locked": cell.locked,
                "solution": cell.name in solutions, "task": cell.name in tasks,
                "schema_version": SCHEMA, "checksum": cell.checksum, "cell_type": cell.cell_type,
                **({"points": points[cell.name]} if cell.name in points else {}),
            })
            for cell in entry.source_cells
        ]  # fmt: skip


def tidy(notebook: NotebookNode, source: list[Source]) -> list[str]:
    """Make a submission's named cells those that were released. Returns what was mended.

    - A cell that papermill put in to set parameters goes: the locked one counts.
    - Of a cell that is there twice, copied or split, the last keeps the name; the others stay and
      run as cells of the student's own.
    - A named cell that was deleted comes back, after the one that it followed.
    - What nbgrader noted of a named cell is as it was released, tags included: one of them,
      `skip-execution`, would make a test that never ran look passed.
    """
    known = {cell.name: cell for cell in source}
    mended = [*_drop_injected(notebook), *_keep_the_last(notebook, known)]
    for cell in notebook.cells:
        if name := grade_id(cell):
            _restore(cell, known[name])
    return [*mended, *_put_back(notebook, source)]


def grade_id(cell: NotebookNode) -> str:
    """A cell's name in the gradebook; empty for a cell of the student's own."""
    noted = cell.metadata.get("nbgrader")
    name = noted.get("grade_id") if isinstance(noted, dict) else None
    return name if isinstance(name, str) else ""


def _drop_injected(notebook: NotebookNode) -> list[str]:
    kept = [c for c in notebook.cells if INJECTED_TAG not in c.metadata.get("tags", ())]
    count = len(notebook.cells) - len(kept)
    notebook.cells = kept
    return ["a cell that set other parameters was left out"] * count


def _keep_the_last(notebook: NotebookNode, known: dict[str, Source]) -> list[str]:
    mended, seen = [], set()
    for cell in reversed(notebook.cells):
        name = grade_id(cell)
        if name in seen:
            mended.append(f"cell {name} was there more than once; its last copy counts")
        if name in seen or name not in known:
            cell.metadata.pop("nbgrader", None)
        seen.add(name)
    return mended


def _restore(cell: NotebookNode, source: Source) -> None:
    tags = [tag for tag in cell.metadata.get("tags", ()) if tag == "parameters"]
    cell.metadata = NotebookNode({"nbgrader": NotebookNode(source.metadata)})
    if tags:
        cell.metadata["tags"] = tags
    if cell.cell_type != source.kind:
        for name in ("outputs", "execution_count", "attachments"):
            cell.pop(name, None)
        cell.cell_type = source.kind
        if source.kind == "code":
            cell.update(outputs=[], execution_count=None)


def _put_back(notebook: NotebookNode, source: list[Source]) -> list[str]:
    mended, place = [], 0
    for wanted in source:
        names = [grade_id(cell) for cell in notebook.cells]
        if wanted.name not in names:
            make = new_code_cell if wanted.kind == "code" else new_markdown_cell
            cell = make(wanted.text, metadata={"nbgrader": NotebookNode(wanted.metadata)})
            if "id" not in (notebook.cells[0] if notebook.cells else {"id": ""}):
                cell.pop("id")  # a notebook from before cells had ids
            notebook.cells.insert(place, cell)
            names.insert(place, wanted.name)
            mended.append(f"cell {wanted.name} was missing and was put back")
        place = names.index(wanted.name) + 1
    return mended
