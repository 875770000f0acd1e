"""Classes: what is taken for what, how they are grouped, what two models agree on."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import compare
from labkit.compare.values import same_images
from labkit.figures.canvas import (
    COLOURS,
    INK,
    as_records,
    in_words,
    libraries,
    name,
    names,
    of_records,
    percent,
    sub,
    theme,
    titled,
    with_alt,
    word,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["agreement", "confusion", "membership", "partition"]

READABLE = 25  # more classes than this have no room for their names
MISTAKES = 3  # so many are told in words


@of_records
def confusion(
    record: Any, classes: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None
) -> Figure:
    """How often test images of a class (row) were called another (column), in %.

    Args:
        record: evidence, a run or a record; of several, the first is shown.
        classes: the names of its classes, in the order of their numbers.
        groups: the classes of each group; then rows and columns are groups, and right means the
            right group.

    Raises:
        ValueError: a class is in no group.
    """
    record = as_records(record)[0]
    labels, guesses = compare.answers(record)
    words = [word(one) for one in classes]
    if groups:
        member = membership(classes, groups)
        labels, guesses, words = member[labels], member[guesses], [word(g) for g in groups]
    counts = np.zeros((len(words), len(words)))
    np.add.at(counts, (labels, guesses), 1)
    shares = 100 * counts / np.maximum(1, counts.sum(1, keepdims=True))
    kind = "group" if groups else "class"
    title = f"{name(record)}: true {kind} against predicted"
    figure = _heat(shares, words, kind, sub(title, [record], 6))
    right = f"{percent(np.trace(counts) / counts.sum())} of {int(counts.sum()):,} test images"
    mistakes = _mistakes(counts, shares, words)
    return with_alt(
        figure,
        f"Confusion matrix. {titled(title, [record])}: {right} in the right {kind}."
        f" Most often mistaken: {mistakes}.",
    )


@of_records
def agreement(records: Any) -> Figure:
    """Which test images two models get right and wrong, as shares of all.

    Of several seeds, the first that were scored on the same images are shown.

    Args:
        records: evidence, runs or records of two models, one after the other.

    Raises:
        ValueError: there are not two models.
    """
    groups = [list(some) for _, some in itertools.groupby(as_records(records), name)]
    if len(groups) != 2 and not isinstance(records, compare.Evidence):
        raise ValueError(f"agreement is between two models; these are {len(groups)}")
    pairs = itertools.product(*groups) if len(groups) == 2 else ()
    pair = next((pair for pair in pairs if same_images(*pair)), None)
    if pair is None:
        return in_words("There are no two records of the same test images yet")
    (a, b), shares = pair, compare.agreement(*pair)
    one, two = names([a, b])
    alike, expected = percent(shares.alike), percent(shares.expected)
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(6.8, 4.6))
        _four_shares(axes, shares)
        axes.set_xticklabels([textwrap.fill(f"{two}: {word}", 26) for word in ("right", "wrong")])
        axes.set_yticklabels([textwrap.fill(f"{one}: {word}", 20) for word in ("right", "wrong")],
                             rotation=0)  # fmt: skip
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_xlabel(f"Alike on {alike} of {shares.images:,} images;\n"
                        f"independent models would be on {expected}", labelpad=10)  # fmt: skip
        axes.set_title(sub("Right and wrong on the same images", [a, b], 6), pad=12)
    text = (
        f"{titled('Right and wrong on the same images', [a, b])}. {one} and {two} on"
        f" {shares.images:,} test images: both right {percent(shares.both_right)}, only {one}"
        f" {percent(shares.only_a)}, only {two} {percent(shares.only_b)}, both wrong"
        f" {percent(shares.both_wrong)}; alike on {alike}, independent models {expected}."
    )
    return with_alt(figure, text)


def partition(groups: Mapping[str, Sequence[str]], title: str = "Coarse groups") -> Figure:
    """A tree from the groups to their classes.

    Args:
        groups: the classes of each group.
        title: what stands above.
    """
    texts = {g: textwrap.wrap(", ".join(map(word, members)), 105) for g, members in groups.items()}
    rows = sum(len(lines) + 1 for lines in texts.values())
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(10, 0.6 + 0.25 * rows))
        axes.set(xlim=(0, 1), ylim=(rows, 0), title=title)
        axes.axis("off")
        top, middles = 0.5, []
        for index, (group, lines) in enumerate(texts.items()):
            label = f"{textwrap.fill(word(group), 20)}\n{len(groups[group])} classes"
            middles.append(_branch(axes, label, lines, top, COLOURS[index % 7]))
            top += len(lines) + 1
        axes.plot([0.01, 0.01], [min(middles), max(middles)], color=INK, linewidth=1)
    sizes = "; ".join(
        f"{word(g)} with {len(m)}, from {word(m[0])} to {word(m[-1])}" for g, m in groups.items()
    )
    total = sum(map(len, groups.values()))
    return with_alt(figure, f"{title}: {total} classes in {len(groups)} groups: {sizes}.")


def membership(classes: Sequence[str], groups: Mapping[str, Sequence[str]]) -> np.ndarray:
    """The group's number of every class, int [classes].

    Raises:
        ValueError: a class is in no group.
    """
    where = {one: index for index, members in enumerate(groups.values()) for one in members}
    missing = [one for one in classes if one not in where]
    if missing:
        raise ValueError(f"class {missing[0]!r} is in none of the groups {', '.join(groups)}")
    return np.array([where[one] for one in classes])


def _branch(axes: Axes, label: str, lines: Sequence[str], top: float, colour: str) -> float:
    """One group's label, its bracket and its classes; the height of its middle."""
    middle = top + (len(lines) - 1) / 2
    axes.text(0.035, middle, label, va="center", fontsize=10, fontweight="bold")
    axes.plot([0.225, 0.225], [top - 0.4, top + len(lines) - 0.6], color=colour, linewidth=3)
    for index, line in enumerate(lines):
        axes.text(0.235, top + index, line, va="center", fontsize=9.5)
    axes.plot([0.01, 0.03], [middle, middle], color=INK, linewidth=1)
    return middle


def _four_shares(axes: Axes, shares: compare.Agreement) -> None:
    _, sns = libraries()
    table = np.array([[shares.both_right, shares.only_a], [shares.only_b, shares.both_wrong]])
    cells = [[percent(share) for share in row] for row in table]
    sns.heatmap(100 * table, annot=cells, fmt="", cmap="Blues", vmin=0, vmax=100, cbar=False,
                square=False, linewidths=2, annot_kws={"fontsize": 15}, ax=axes)  # fmt: skip


def _heat(shares: np.ndarray, words: Sequence[str], kind: str, title: str) -> Figure:
    """The matrix, with numbers and names where there is room for them."""
    few = len(words) <= READABLE
    size = min(10.0, max(5.0, 0.5 * len(words) + 2)) if few else 8.5
    cells = [[f"{share:.0f}" if share >= 0.5 else "" for share in row] for row in shares]
    ticks = words if few else False
    with theme() as plt:
        _, sns = libraries()
        figure, axes = plt.subplots(figsize=(size + 1, size))
        sns.heatmap(shares, cmap="Blues", vmin=0, vmax=max(1, shares.max()), square=True, ax=axes,
                    annot=cells if few else False, fmt="", annot_kws={"fontsize": 9},
                    linewidths=0.5 if few else 0, linecolor="#e3e3e3",
                    xticklabels=ticks, yticklabels=ticks,
                    cbar_kws={"label": f"% of the true {kind}", "shrink": 0.8})  # fmt: skip
        if few:
            turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(axes.get_xticks(), words, **turned)
            axes.set_yticks(axes.get_yticks(), words, rotation=0)
        for spine in axes.spines.values():
            spine.set_visible(True)
        axes.set(xlabel=f"predicted {kind}", ylabel=f"true {kind}", title=title)
    return figure


def _mistakes(counts: np.ndarray, shares: np.ndarray, words: Sequence[str]) -> str:
    """The commonest mistakes in words."""
    off = counts * (1 - np.eye(len(words)))
    pairs = [divmod(int(i), len(words)) for i in np.argsort(-off, axis=None)[:MISTAKES]]
    texts = [
        f"{words[i]} for {words[j]} ({shares[i, j]:.0f} % of {words[i]})"
        for i, j in pairs
        if off[i, j]
    ]
    return ", ".join(texts) or "none"
