"""An executed notebook as a page of the book: today's prose, its outputs, where they come from."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from labkit.book.tables import markdown
from labkit.compare.evidence import SYNTHETIC_IMAGES
from labkit.runner.document import INJECTED_TAG, Notebook

__all__ = ["complaint", "page", "provenance_box"]

FOLDED = {"hide-cell", "hide-output", "remove-cell", "remove-output"}
SHORTEST_ALT = 30  # characters: less does not say what a figure shows


def complaint(executed: Notebook) -> str:
    """Why an executed notebook is not fit for a page; empty when it is.

    A figure needs an alternative text, one figure a cell (the site takes one text a cell), and
    nothing may stand on stderr: a warning is mended in the source, not printed in a book. What was
    made from synthetic images is no evidence, and stands folded.
    """
    for cell in executed["cells"]:
        outputs = cell.get("outputs", ())
        if not FOLDED & {*cell["metadata"].get("tags", ())} and any(map(_synthetic, outputs)):
            return f"{_first_line(cell)} shows results of synthetic images; fold it (hide-output)"
        if any(output.get("name") == "stderr" for output in outputs):
            return f"{_first_line(cell)} wrote to stderr; mend what it warns of"
        images = [output for output in outputs if "image/png" in output.get("data", {})]
        if len(images) > 1:
            return f"{_first_line(cell)} shows {len(images)} figures; show one in a cell"
        if images and len(_alt(images[0])) < SHORTEST_ALT:
            return f"{_first_line(cell)} shows a figure without an alternative text"
    return ""


def page(source: Notebook, executed: Notebook) -> Notebook:
    """Today's prose around the executed outputs, with the provenance box under the title.

    The code cells of both are the same, which the caller's key has made sure of; the cell that the
    runner injected is not shown, its values stand in the box.
    """
    content = copy.deepcopy(source)
    own = [cell for cell in executed["cells"]
           if INJECTED_TAG not in cell["metadata"].get("tags", ())]  # fmt: skip
    for cell, result in zip(_code(content["cells"]), _code(own), strict=True):
        cell["outputs"] = copy.deepcopy(result["outputs"])
        cell["execution_count"] = result["execution_count"]
        _place_alt(cell)
    _place_box(content, provenance_box(executed))
    return content


def provenance_box(executed: Notebook) -> str:
    """What was run, on what, when and by which code: one line, and the rest folded.

    The figures of a page come from records, and say themselves from which.
    """
    about, metadata = executed["metadata"]["labkit"], _metadata(executed)
    data, values = metadata.get("data", {}), about["parameters"]
    dirty = " with uncommitted changes" if about["dirty"] else ""
    lines = {
        "Parameters": ", ".join(f"`{name}={value!r}`" for name, value in values.items()),
        "Data": _data_line(data),
        "Device": _device_line(metadata.get("device", {})),
        "Time": f"{about['seconds']} s, at most {about['peak_memory_mb']:,} MB of memory",
        "Executed": about["executed"],
        "Code": f"commit `{about['commit']}`{dirty}" if about["commit"] else "not a git checkout",
        "Versions": ", ".join(f"{name} {number}" for name, number in about["versions"].items()),
    }
    preset = f"preset {values['preset']}, " if "preset" in values else ""
    kind = f"{preset}{_data_kind(data)}{about['executed'][:10]}"
    head = [f":::{{admonition}} How this page was run: {kind}",
            ":class: dropdown provenance", ""]  # fmt: skip
    table = markdown(["what", "in this run"], ((n, text) for n, text in lines.items() if text))
    return "\n".join([*head, table, ":::"])


def _synthetic(output: Mapping[str, Any]) -> bool:
    """Whether an output says that it is of runs on synthetic images."""
    text = "".join(output.get("data", {}).get("text/plain", output.get("text", "")))
    return SYNTHETIC_IMAGES in text


def _code(cells: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [cell for cell in cells if cell["cell_type"] == "code"]


def _metadata(executed: Notebook) -> dict[str, Any]:
    """What the notebook said of its run: `labkit` in the metadata of its outputs, the last wins."""
    metadata: dict[str, Any] = {}
    for cell in executed["cells"]:
        for output in cell.get("outputs", ()):
            metadata |= output.get("metadata", {}).get("labkit", {})
    return metadata


def _device_line(device: Mapping[str, Any]) -> str:
    if not device:
        return ""
    return f"{device['name']}, {device['threads']} threads, {device['precision']}"


def _data_kind(data: Mapping[str, Any]) -> str:
    if not data:
        return ""
    if data["synthetic"]:
        return "SYNTHETIC data, "
    return "real data, " if data["complete"] else "a subset of the real data, "


def _data_line(data: Mapping[str, Any]) -> str:
    if not data:
        return ""
    counts = f"{data['train']:,} training and {data['test']:,} test images"
    whole = (data["published_train"], data["published_test"])
    published = f" (published: {whole[0]:,} and {whole[1]:,})" if whole[0] != data["train"] else ""
    digest = f"SHA-256 `{data['sha256'][:16]}`"
    return f"{data['name']}, {counts}{published}, {data['source']}, {digest}"


def _place_alt(cell: dict[str, Any]) -> None:
    """myst-nb reads the alternative text of a figure from its cell, not from the output."""
    texts = [_alt(output) for output in cell["outputs"] if "image/png" in output.get("data", {})]
    if texts and texts[0]:
        cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})["alt"] = texts[0]


def _alt(output: Mapping[str, Any]) -> str:
    return output.get("metadata", {}).get("image/png", {}).get("alt", "")


def _place_box(content: Notebook, box: str) -> None:
    first = content["cells"][0]
    lines = "".join(first["source"]).splitlines()
    first["source"] = "\n".join([lines[0], "", box, "", *lines[1:]])


def _first_line(cell: Mapping[str, Any]) -> str:
    lines = "".join(cell["source"]).strip().splitlines()
    return f"the cell {json.dumps(lines[0][:60]) if lines else '(empty)'}"
