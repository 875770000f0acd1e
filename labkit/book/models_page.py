"""The book's page of models: a family tree, then each family's card, block, members and layers.

Everything on it is read from `labkit.models`: cards are docstrings, numbers come from `summary` on
networks without memory.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from labkit import figures, files
from labkit.book import layertable, tables
from labkit.book.families import FAMILIES, Family
from labkit.data.catalogue import CATALOGUE
from labkit.models import MODELS, Summary, build, summary
from labkit.reports import REPORTS, Report

__all__ = ["Picture", "pictures", "text", "write"]

LONGEST = 150  # lines of a layer table; a longer one is made of larger parts
DATASETS = {32: "cifar100", 64: "tiny_imagenet"}  # for members that no report trains
POOLS = (nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)
LABELS = "Paper|Source|Idea|Changed|Made for|Nothing is changed|Parameters|Published"


@dataclass(frozen=True)
class Picture:
    """A picture of the page."""

    file: str
    content: bytes
    alt: str
    family: str = ""  # the title of its family; the tree has none


def write(folder: Path, notebooks: Collection[str] = ()) -> None:
    """Write page.md and its pictures into an empty folder.

    Args:
        folder: where they go.
        notebooks: those that are pages of this book; they are linked to.
    """
    page = list(pictures())
    for picture in page:
        files.write_atomic(folder / picture.file, picture.content)
    files.write_atomic(folder / "page.md", text(page, notebooks) + "\n")


def pictures() -> Iterator[Picture]:
    """The family tree, then each family's drawings, or the picture of its whole net."""
    tree = figures.family_tree(list(map(_branch, FAMILIES)))
    yield Picture("tree.png", figures.png(tree), figures.alt(tree))
    for family in FAMILIES:
        for name in family.drawings:
            drawing = figures.drawing(name)
            yield Picture(f"{name}.svg", drawing.svg.encode(), drawing.alt, family.title)
        if family.line:
            (name,) = family.functions
            line = figures.line(_rows(_sketch(name)), family.line)
            yield Picture(f"{name}.png", figures.png(line), figures.alt(line), family.title)


def text(pictures: Collection[Picture], notebooks: Collection[str] = ()) -> str:
    """The page below its title, in MyST Markdown.

    Args:
        pictures: those of `pictures()`.
        notebooks: those that are pages of this book; they are linked to.
    """
    parts = [_image(picture) for picture in pictures if not picture.family]
    for family in FAMILIES:
        change = f"{family.change[0].upper()}{family.change[1:]}."
        change = f"From {family.parent}: {family.change}." if family.parent else change
        parts += [f"## {family.title}", change]
        parts += [_image(picture) for picture in pictures if picture.family == family.title]
        for names in family.members.values():
            parts += [_card(MODELS[names[0]].card), _use(names, notebooks), _members(names)]
            parts += [_layers(name) for name in names]
    return "\n\n".join(parts)


def _branch(family: Family) -> figures.Branch:
    names = [name for names in family.members.values() for name in names]
    sizes = {name: _counts(name).parameters for name in names}
    return figures.Branch(family.title, family.parent, family.change, sizes)


def _image(picture: Picture) -> str:
    alt = re.sub(r"([\\`*_\[\]<])", r"\\\1", picture.alt)
    return f"![{alt}](generated/models/{picture.file})"


def _card(docstring: str) -> str:
    """A docstring as a box: its first line the title, its statements a list, papers as links."""
    title, *rest = docstring.split("\n\n")
    body = "\n\n".join(" ".join(part.split()) for part in rest)
    body = re.sub(rf"(?:^|(?<=[.;)] ))({LABELS})\b", r"\n- **\1**", body, flags=re.MULTILINE)
    body = re.sub(r" +$", "", body, flags=re.MULTILINE)
    body = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", body)
    body = re.sub(r"(?<![/\w])(github\.com/[\w./-]*\w)", r"[\1](https://\1)", body)
    title = " ".join(title.split()).rstrip(".")
    return f":::{{admonition}} {title}\n:class: note\n\n{body.strip()}\n:::"


def _use(names: list[str], notebooks: Collection[str]) -> str:
    """Which reports train them, how to build one, and what the counts are for."""
    links = []
    for report in REPORTS.values():
        if any(name in _datasets(report) for name in names):
            link = f"[report {report.id}](../notebooks/{report.notebook}.ipynb)"
            links.append(link if report.notebook in notebooks else f"report {report.id}")
    where = f"Trained in {' and '.join(links)}." if links else "No report trains it."
    size, classes = MODELS[names[0]].size, len(CATALOGUE[_dataset(names[0])].classes)
    return (
        f'{where} Build one with `lk.build("{names[0]}", classes={classes})`. The counts below are'
        f" for images of 3 × {size} × {size} and {classes} classes."
    )


def _datasets(report: Report) -> Mapping[str, str]:
    """The data set of each model that a report trains; a model's first row counts."""
    datasets: dict[str, str] = {}
    for recipe in (row.full for row in report.rows):
        models = [recipe.model, *([recipe.hierarchy.model] if recipe.hierarchy else [])]
        datasets = dict.fromkeys(models, recipe.dataset) | datasets
    return datasets


def _dataset(name: str) -> str:
    """The data set on which a report trains it, or its nearest relative."""
    family = [other for other in MODELS if MODELS[other].family is MODELS[name].family]
    datasets = (_datasets(report).get(other) for other in family for report in REPORTS.values())
    return next(filter(None, datasets), DATASETS[MODELS[name].size])


@functools.cache
def _counts(name: str, depth: int = 0) -> Summary:
    """Every layer, or the parts down to a depth, for the images and the classes of its report."""
    size = MODELS[name].size
    return summary(_sketch(name), (3, size, size), depth=depth)


def _sketch(name: str) -> nn.Module:
    with torch.device("meta"):  # shapes and counts, no memory
        return build(name, classes=len(CATALOGUE[_dataset(name)].classes))


def _members(names: list[str]) -> str:
    """The table of a card's members; a lone one has nothing that sets it apart."""
    numbers = ["parameters", "trainable", "multiply-adds", "MB"]
    head = ["name", *(["set apart by"] if names[1:] else []), *numbers]
    return tables.markdown(head, [_member(name, len(names) > 1) for name in names], numbers)


def _member(name: str, several: bool) -> list[str]:
    counts = _counts(name)
    fixed = ", ".join(f"{key} {value}" for key, value in MODELS[name].fixed.items())
    return [
        f"`{name}`", *([fixed.replace("_", " ")] if several else []),
        f"{counts.parameters:,}", f"{counts.trainable:,}",
        f"{counts.multiply_adds / 1e6:,.1f} M", f"{counts.megabytes:,.1f}",
    ]  # fmt: skip


def _layers(name: str) -> str:
    """A fold with the network part by part, then layer by layer."""
    head = ["part", "holds", "last output", "parameters", "multiply-adds"]
    rows = layertable.parts(_counts(name))
    few = len(rows) < len(_counts(name).lines)
    parts = tables.markdown(head, rows, numbers=head[2:]) if few else ""
    layers, by = _short(name)
    return "\n".join([f"::::{{dropdown}} {name}, {by}", "", parts, "", "```text", str(layers),
                      "```", "::::"])  # fmt: skip


def _short(name: str) -> tuple[Summary, str]:
    """The layer table with equal blocks in one line, or one of parts where it stays too long."""
    for depth in (0, 4, 3, 2):
        table = layertable.fold(_counts(name, depth))
        if len(table.lines) <= LONGEST:
            break
    return table, "part by part" if depth else "layer by layer"


def _rows(net: nn.Module) -> list[list[tuple[str, bool]]]:
    """A net without branches in rows, each up to a max-pooling; every pooling is marked."""
    rows: list[list[tuple[str, bool]]] = [[]]
    for module in net.modules():
        if text := _words(module):
            rows[-1].append((text, isinstance(module, POOLS)))
        if isinstance(module, nn.MaxPool2d):
            rows.append([])
    return rows


def _words(module: nn.Module) -> str:
    """What a box says of a layer; nothing for those that are not drawn."""
    match module:
        case nn.Conv2d():
            side, stride = module.kernel_size[0], module.stride[0]
            step = f"\nstride {stride}" if stride > 1 else ""
            return f"{side}x{side}, {module.out_channels}{step}"
        case nn.Linear():
            return f"dense {module.out_features}"
        case nn.MaxPool2d():
            return "pool"
        case nn.AdaptiveMaxPool2d() | nn.AdaptiveAvgPool2d():
            size = module.output_size
            side = size if isinstance(size, int) else size[0]
            return f"pool to {side}x{side}"
    return ""
