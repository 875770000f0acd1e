"""A network's layer table made short: by its named parts, or with equal blocks in one line."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import groupby

from labkit.models import Summary
from labkit.models.summary import Line

__all__ = ["fold", "parts"]

KINDS = {"Conv2d": "conv", "SameConv": "conv", "Linear": "dense"}


def parts(table: Summary) -> list[list[str]]:
    """The named parts of a net: what each holds, what its last layer gives, what it costs.

    Args:
        table: every layer of the net.
    """
    depth = 2 if len({_prefix(line.name, 1) for line in table.lines}) < 3 else 1
    groups = groupby(table.lines, key=lambda line: _prefix(line.name, depth))
    return [_part(name, list(lines)) for name, lines in groups]


def fold(table: Summary) -> Summary:
    """Blocks that repeat the one before them, layer for layer, in one line; no count is lost.

    Args:
        table: every layer or part of the net.
    """
    blocks = [list(group) for _, group in groupby(table.lines, key=lambda line: _block(line.name))]
    lines = []
    for content, run in groupby(blocks, key=_content):
        first, *more = run
        lines += first
        if more and content[0][0]:  # single layers without a name of their own are not blocks
            lines.append(_repeats(first, more))
        else:
            lines += [line for block in more for line in block]
    return replace(table, lines=tuple(lines))


def _part(name: str, lines: list[Line]) -> list[str]:
    kinds = [KINDS[line.kind] for line in lines if line.kind in KINDS]
    weights = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    cost = sum(line.multiply_adds for line in lines)
    return [
        f"`{name}`", weights or " and ".join(dict.fromkeys(line.kind for line in lines)),
        "\u00a0×\u00a0".join(map(str, lines[-1].output)),
        f"{sum(line.parameters for line in lines):,}", f"{cost / 1e6:,.2f} M" if cost else "0",
    ]  # fmt: skip


def _repeats(first: list[Line], more: list[list[Line]]) -> Line:
    """One line for the blocks that repeat the first."""
    names = [_block(block[0].name) for block in (first, more[0], more[-1])]
    lines = [line for block in more for line in block]
    return replace(
        more[-1][-1],
        name=names[1] if len(more) == 1 else f"{names[1]} to {names[2]}",
        kind=f"as {names[0]}",
        parameters=sum(line.parameters for line in lines),
        multiply_adds=sum(line.multiply_adds for line in lines),
    )


def _block(name: str) -> str:
    """The repeated part that a layer belongs to: stage1.2.branch.0 is in stage1.2."""
    match = re.match(r"\D[\w]*(?:\.[A-Za-z]\w*)*\.\d+(?=\.)", name)
    return match.group() if match else name


def _content(block: list[Line]) -> tuple:
    """All of a block but where it stands."""
    at = len(_block(block[0].name))
    return tuple((x.name[at:], x.kind, x.output, x.parameters) for x in block)


def _prefix(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])
