"""Classes: what is taken for what, how they are grouped, what two models agree on."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit import compare
from labkit.figures.canvas import (
    COLOURS,
    INK,
    as_records,
    described,
    libraries,
    name,
    percent,
    theme,
    titled,
    word,
)

READABLE = 25  # more classes than this have no room for their names


def confusion(
    record: Any,
    classes: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None = None,
):
    """How often test images of a class (row) were called another (column), in %; the Figure.

    With `groups` (name -> classes), rows and columns are groups: right means the right group.
    """
    (record,) = as_records(record)
    labels, guesses = compare.answers(record)
    words = [word(one) for one in classes]
    if groups:
        member = membership(classes, groups)
        labels, guesses, words = member[labels], member[guesses], [word(g) for g in groups]
    counts = np.zeros((len(words), len(words)))
    np.add.at(counts, (labels, guesses), 1)
    shares = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    kind = "group" if groups else "class"
    title = titled(f"{name(record)}: true {kind} against predicted", [record])
    figure = _heat(shares, words, kind, title)
    worst = _confusions(counts, shares, words)
    right = np.trace(counts) / counts.sum()
    text = f"Confusion matrix. {title}: {percent(right)} of {int(counts.sum()):,} test images in"
    return described(figure, f"{text} the right {kind}. Most often mistaken: {worst}.")


def agreement(a: Any, b: Any):
    """Which test images two models get right and wrong, as shares of all; the Figure."""
    (a,), (b,) = as_records(a), as_records(b)
    shares = compare.agreement(a, b)
    table = np.array([[shares.both_right, shares.only_a], [shares.only_b, shares.both_wrong]])
    one, two = name(a), name(b)
    with theme() as plt:
        _, sns = libraries()
        figure, axes = plt.subplots(figsize=(6.4, 4.2))
        sns.heatmap(100 * table, annot=[[f"{100 * v:.1f} %" for v in row] for row in table], fmt="",
                    cmap="Blues", vmin=0, vmax=100, cbar=False, square=False, linewidths=2,
                    annot_kws={"fontsize": 15}, ax=axes)  # fmt: skip
        axes.set_xticklabels([f"{two} right", f"{two} wrong"])
        axes.set_yticklabels([f"{one} right", f"{one} wrong"], rotation=0)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_xlabel(
            f"Alike on {percent(shares.alike)} of {shares.images:,} images;\n"
            f"independent models would be on {percent(shares.expected)}",
            labelpad=10,
        )
        axes.set_title(titled(f"{one} and {two} on the same test images", [a, b]), pad=12)
    return described(
        figure,
        f"{titled('Agreement', [a, b])} of {one} and {two} on {shares.images:,} test images: both"
        f" right {percent(shares.both_right)}, only {one} {percent(shares.only_a)}, only {two}"
        f" {percent(shares.only_b)}, both wrong {percent(shares.both_wrong)}; alike on"
        f" {percent(shares.alike)}, independent models {percent(shares.expected)}.",
    )


def partition(groups: Mapping[str, Sequence[str]], title: str = "Coarse groups"):
    """A tree from the groups (name -> classes) to their classes; the Figure."""
    lines = {g: textwrap.wrap(", ".join(map(word, members)), 105) for g, members in groups.items()}
    rows = sum(len(text) + 1 for text in lines.values())
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(10, 0.6 + 0.25 * rows))
        axes.set(xlim=(0, 1), ylim=(rows, 0), title=title)
        axes.axis("off")
        top = 0.5
        middles = []
        for index, (group, text) in enumerate(lines.items()):
            middle = top + (len(text) - 1) / 2
            _branch(axes, group, groups[group], text, top, middle, COLOURS[index % 7])
            middles.append(middle)
            top += len(text) + 1
        axes.plot([0.01, 0.01], [min(middles), max(middles)], color=INK, linewidth=1)
        for middle in middles:
            axes.plot([0.01, 0.03], [middle, middle], color=INK, linewidth=1)
    sizes = [
        f"{word(g)} with {len(m)}, from {word(m[0])} to {word(m[-1])}" for g, m in groups.items()
    ]
    total = sum(map(len, groups.values()))
    return described(
        figure, f"{title}: {total} classes in {len(groups)} groups: {'; '.join(sizes)}."
    )


def _branch(
    axes, group: str, members, text: Sequence[str], top: float, middle: float, colour
) -> None:
    """One group's box, its bracket and its classes."""
    axes.text(0.035, middle, f"{textwrap.fill(word(group), 20)}\n{len(members)} classes",
              va="center", fontsize=10, fontweight="bold")  # fmt: skip
    axes.plot([0.225, 0.225], [top - 0.4, top + len(text) - 0.6], color=colour, linewidth=3)
    for index, line in enumerate(text):
        axes.text(0.235, top + index, line, va="center", fontsize=9.5)


def _heat(shares: np.ndarray, words: Sequence[str], kind: str, title: str):
    few = len(words) <= READABLE
    size = min(10.0, max(5.0, 0.5 * len(words) + 2)) if few else 8.5
    cells = [[f"{share:.0f}" if share >= 0.5 else "" for share in row] for row in shares]
    with theme() as plt:
        _, sns = libraries()
        figure, axes = plt.subplots(figsize=(size + 1, size))
        sns.heatmap(shares, cmap="Blues", vmin=0, vmax=max(1, shares.max()), square=True, ax=axes,
                    annot=cells if few else False, fmt="", annot_kws={"fontsize": 9},
                    linewidths=0.5 if few else 0, linecolor="#e3e3e3",
                    xticklabels=words if few else False, yticklabels=words if few else False,
                    cbar_kws={"label": f"% of the true {kind}", "shrink": 0.8})  # fmt: skip
        if few:
            axes.set_xticks(
                axes.get_xticks(), words, rotation=45, ha="right", rotation_mode="anchor"
            )
            axes.set_yticks(axes.get_yticks(), words, rotation=0)
        for spine in axes.spines.values():
            spine.set_visible(True)
        axes.set(xlabel=f"predicted {kind}", ylabel=f"true {kind}", title=title)
    return figure


def _confusions(counts: np.ndarray, shares: np.ndarray, words: Sequence[str], most: int = 3) -> str:
    """The commonest confusions in words."""
    off = counts * (1 - np.eye(len(words)))
    pairs = [divmod(int(i), len(words)) for i in np.argsort(-off, axis=None)[:most]]
    told = [
        f"{words[i]} for {words[j]} ({shares[i, j]:.0f} % of {words[i]})"
        for i, j in pairs
        if off[i, j]
    ]
    return ", ".join(told) or "none"


def membership(classes: Sequence[str], groups: Mapping[str, Sequence[str]]) -> np.ndarray:
    """The group's number of every class.

    Raises:
        ValueError: a class is in no group.
    """
    where = {one: index for index, members in enumerate(groups.values()) for one in members}
    missing = [one for one in classes if one not in where]
    if missing:
        raise ValueError(f"class {missing[0]!r} is in none of the groups {', '.join(groups)}")
    return np.array([where[one] for one in classes])
