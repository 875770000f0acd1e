"""The book's page of models: a family tree, then each family's card, block, members and layers.

Everything on it is read from `labkit.models`: cards are docstrings, numbers come from `summary` on
networks without memory.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from labkit import figures, files
from labkit.book import layertable, tables
from labkit.data.catalogue import CATALOGUE
from labkit.models import MODELS, Summary, build, summary
from labkit.reports import REPORTS, Report

LONGEST = 150  # lines of a layer table; a longer one is told by larger parts
DATASETS = {32: "cifar100", 64: "tiny_imagenet"}  # for members that no report trains
LABELS = "Paper|Source|Idea|Changed|Made for|Nothing is changed|Parameters|Published"


@dataclass(frozen=True)
class Family:
    """Members of MODELS that share a block."""

    title: str
    parent: str  # the family it descends from
    change: str  # what is different there
    functions: tuple[str, ...]  # the functions of labkit.models that build it
    drawings: dict[str, Callable[[], Any]]  # file name -> figure

    @property
    def members(self) -> dict[str, list[str]]:
        """Function -> names in MODELS."""
        return {
            function: [n for n, model in MODELS.items() if model.family.__name__ == function]
            for function in self.functions
        }


FAMILIES = (
    Family(
        "Plain stacks", "", "convolutions one after another, then dense layers",
        ("mnist_net", "cnn", "mbn", "m1", "m4"), {"plain": figures.plain_stacks},
    ),
    Family(
        "AlexNet and one more", "Plain stacks",
        "a large first kernel, wide dense layers, and one more that reads a thousand outputs",
        ("alexnet_plus",),
        {"alexnet": lambda: _line("alexnet_plus", "AlexNet, and one more dense layer")},
    ),
    Family(
        "SimpleNet", "Plain stacks",
        "thirteen small convolutions with batch normalisation, one dense layer",
        ("simplenet",),
        {"simplenet": lambda: _line("simplenet", "SimpleNet: BN, ReLU after each convolution")},
    ),
    Family(
        "ResNet", "Plain stacks",
        "a shortcut around every two convolutions, which learn what to add",
        ("resnet_cifar", "resnet_imagenet"), {"resnet": figures.basic_block},
    ),
    Family(
        "Pre-activation ResNet", "ResNet",
        "BN and ReLU before each convolution, so that the shortcut is a clean sum",
        ("preresnet", "preact_resnet34"), {"preresnet": figures.preact_block},
    ),
    Family(
        "Wide ResNet", "Pre-activation ResNet", "fewer blocks, k times as wide",
        ("wide_resnet",), {"wide": figures.wide_block},
    ),
    Family(
        "Residual attention", "Pre-activation ResNet",
        "a mask in each stage, which multiplies what the stage sees",
        ("residual_attention",),
        {"attention": figures.attention_stage, "unit": figures.attention_unit},
    ),
    Family(
        "ResNeXt", "ResNet", "1x1, 3x3, 1x1 blocks whose 3x3 runs in parallel paths",
        ("small_resnext", "resnext29"), {"resnext": figures.next_block},
    ),
    Family(
        "Res2NeXt", "ResNeXt", "splits of the channels, each reading the one before it",
        ("res2next29",), {"res2next": figures.res2_block},
    ),
    Family(
        "DenseNet", "ResNet", "what a layer gives is joined to its input, not added",
        ("densenet161",), {"densenet": figures.dense_block},
    ),
)  # fmt: skip


def write(folder: Path, shown: Collection[str] = ()) -> None:
    """Write page.md and its pictures into an empty folder.

    Args:
        shown: the notebooks that are pages of this book; they are linked to.
    """
    for name, figure in drawings():
        files.write_atomic(folder / f"{name}.png", figures.png(figure))
        files.write_atomic(folder / f"{name}.txt", figures.alt(figure))
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}
    files.write_atomic(folder / "page.md", text(texts, shown) + "\n")


def drawings() -> Iterator[tuple[str, Any]]:
    """Name and Figure of every picture of the page."""
    yield "tree", figures.family_tree([
        figures.Branch(
            family.title, family.parent, family.change,
            {n: _counted(n).parameters for names in family.members.values() for n in names},
        )
        for family in FAMILIES
    ])  # fmt: skip
    for family in FAMILIES:
        for name, draw in family.drawings.items():
            yield name, draw()


def text(alts: dict[str, str], shown: Collection[str] = ()) -> str:
    """The page below its title, in MyST Markdown; `alts` has the text of each picture."""
    parts = [_picture("tree", alts)]
    for family in FAMILIES:
        change = f"{family.change[0].upper()}{family.change[1:]}."
        change = f"From {family.parent}: {family.change}." if family.parent else change
        parts += [f"## {family.title}", change]
        parts += [_picture(name, alts) for name in family.drawings]
        for names in family.members.values():
            parts += [_card(MODELS[names[0]].card), _use(names, shown), _members(names)]
            parts += [_layers(name) for name in names]
    return "\n\n".join(parts)


def _picture(name: str, alts: dict[str, str]) -> str:
    text = re.sub(r"([\\`*_\[\]<])", r"\\\1", alts[name])
    return f"![{text}](generated/models/{name}.png)"


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


def _use(names: list[str], shown: Collection[str]) -> str:
    """Which reports train them, how to build one, and what the counts are for."""
    links = []
    for report in REPORTS.values():
        if any(name in _trained(report) for name in names):
            link = f"[report {report.id}](../notebooks/{report.notebook}.ipynb)"
            links.append(link if report.notebook in shown else f"report {report.id}")
    where = f"Trained in {' and '.join(links)}." if links else "No report trains it."
    size, classes = MODELS[names[0]].size, len(CATALOGUE[_dataset(names[0])].classes)
    return (
        f'{where} Build one with `lk.build("{names[0]}", classes={classes})`. The counts below are'
        f" for images of 3 × {size} × {size} and {classes} classes."
    )


def _trained(report: Report) -> dict[str, str]:
    """Names of the models of a report, and the data set of each."""
    found: dict[str, str] = {}
    for row in report.rows:
        found.setdefault(row.full.model, row.full.dataset)
        if row.full.hierarchy:
            found.setdefault(row.full.hierarchy.model, row.full.dataset)
    return found


def _dataset(name: str) -> str:
    """The data set on which a report trains it, or its nearest relative."""
    family = [other for other in MODELS if MODELS[other].family is MODELS[name].family]
    trained = (_trained(report).get(other) for other in family for report in REPORTS.values())
    return next((dataset for dataset in trained if dataset), DATASETS[MODELS[name].size])


@functools.cache
def _counted(name: str) -> Summary:
    """Every layer, for the images and the classes of its report."""
    size = MODELS[name].size
    return summary(_sketch(name), (3, size, size))


def _sketch(name: str) -> nn.Module:
    with torch.device("meta"):  # shapes and counts, no memory
        return build(name, classes=len(CATALOGUE[_dataset(name)].classes))


def _members(names: list[str]) -> str:
    """The table of a card's members; a lone one has nothing that sets it apart."""
    numbers = ["parameters", "trainable", "multiply-adds", "MB"]
    rows = []
    for name in names:
        table = _counted(name)
        fixed = ", ".join(f"{key} {value}" for key, value in MODELS[name].fixed.items())
        rows.append([
            f"`{name}`", *([fixed.replace("_", " ")] if names[1:] else []),
            f"{table.parameters:,}", f"{table.trainable:,}",
            f"{table.multiply_adds / 1e6:,.1f} M", f"{table.megabytes:,.1f}",
        ])  # fmt: skip
    head = ["name", *(["set apart by"] if names[1:] else []), *numbers]
    return tables.markdown(head, rows, numbers)


def _layers(name: str) -> str:
    """A fold with the network part by part, then layer by layer."""
    table = _counted(name)
    head = ["part", "holds", "last output", "parameters", "multiply-adds"]
    rows = layertable.parts(table)
    parts = tables.markdown(head, rows, numbers=head[2:]) if len(rows) < len(table.lines) else ""
    layers, by = _readable(name)
    return "\n".join([f"::::{{dropdown}} {name}, {by}", "", parts, "", "```text", str(layers),
                      "```", "::::"])  # fmt: skip


def _readable(name: str) -> tuple[Summary, str]:
    """The layer table with equal blocks told once, or by parts where it stays too long."""
    table = layertable.folded(_counted(name))
    if len(table.lines) <= LONGEST:
        return table, "layer by layer"
    size = MODELS[name].size
    for depth in (4, 3, 2):
        table = layertable.folded(summary(_sketch(name), (3, size, size), depth=depth))
        if len(table.lines) <= LONGEST:
            break
    return table, "part by part"


def _line(name: str, title: str) -> Any:
    """A net without branches, a row up to each max-pooling: kernels and filters, dense outputs."""
    rows: list[list[str]] = [[]]
    for module in _sketch(name).modules():
        rows[-1] += _words(module)
        if isinstance(module, nn.MaxPool2d):
            rows.append([])
    return figures.line(rows, title)


def _words(module: nn.Module) -> list[str]:
    """What a box says of a layer; nothing for those that are not drawn."""
    match module:
        case nn.Conv2d():
            side, stride = module.kernel_size[0], module.stride[0]
            step = f"\nstride {stride}" if stride > 1 else ""
            return [f"{side}x{side}, {module.out_channels}{step}"]
        case nn.Linear():
            return [f"dense {module.out_features}"]
        case nn.MaxPool2d():
            return ["pool"]
        case nn.AdaptiveMaxPool2d() | nn.AdaptiveAvgPool2d():
            size = module.output_size
            side = size if isinstance(size, int) else size[0]
            return [f"pool to {side}x{side}"]
    return []
