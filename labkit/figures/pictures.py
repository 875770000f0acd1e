"""Images: samples, galleries of right and wrong answers, augmentations, attention masks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from labkit import compare
from labkit.figures.canvas import (
    INK,
    as_records,
    heading,
    in_words,
    name,
    of_records,
    theme,
    titled,
    with_alt,
    word,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["answers", "attention", "augment_grid", "gallery", "samples"]

RIGHT, WRONG = "#005a8c", "#9c3d00"  # the palette's blue and red-orange, dark enough to read


def gallery(
    images: Any,
    labels: Sequence[int],
    predictions: Sequence[int],
    classes: Sequence[str],
    title: str = "Test images",
    *,
    columns: int = 6,
    synthetic: bool = False,
) -> Figure:
    """Images with what they are and what the model called them.

    A right answer has its class in blue; a wrong one has a cross, the model's word and the true
    class in red-orange.

    Args:
        images: uint8 [N, 3, H, W], an array or a CPU tensor.
        labels: the true class of each.
        predictions: the class that the model gave.
        classes: the names of the classes, in the order of their numbers.
        title: what stands above.
        columns: images in a line.
        synthetic: whether the title is marked.

    Raises:
        ValueError: another shape, or no image.
    """
    title = heading(title, synthetic)
    pairs = list(zip(map(int, labels), map(int, predictions), strict=True))
    right = [label == guess for label, guess in pairs]
    captions = [
        _fit(classes[label]) if hit else f"✗ {_fit(classes[guess])}\n(is {_fit(classes[label])})"
        for (label, guess), hit in zip(pairs, right, strict=True)
    ]
    colours = [RIGHT if hit else WRONG for hit in right]
    figure = _grid(_pixels(images), captions, colours, title, columns)
    answers = ", ".join(
        f"{word(classes[label])} {'right' if hit else f'taken for {word(classes[guess])}'}"
        for (label, guess), hit in zip(pairs, right, strict=True)
    )
    count = f"{sum(right)} of {len(right)} images are named correctly"
    return with_alt(figure, f"{title}: {count}. {answers}.")


@of_records
def answers(
    records: Any, split: Any, classes: Sequence[str], *, right: bool, count: int = 12
) -> Figure:
    """The first test images that a run named correctly, or wrongly.

    Of several runs, the first that was scored on the split is shown. Where there is no split, or
    where it is not what they were scored on, the answers stand on grey instead of the images.

    Args:
        records: evidence, runs or records.
        split: the test images, or None where this machine does not have them.
        classes: the names of the classes, in the order of their numbers.
        right: whether right or wrong answers are wanted.
        count: how many at most.
    """
    record, images = _scored(as_records(records), split)
    labels, guesses = compare.answers(record)
    where = np.flatnonzero((labels == guesses) == right)[:count]
    title = f"{name(record)}: test images named {'correctly' if right else 'wrongly'}"
    if not len(where):
        return in_words(f"{titled(title, [record])}: none of {len(labels):,} test images")
    if images is None:
        title += " (their images are not at hand)"
        pixels = np.full((len(where), 3, 32, 32), 200, np.uint8)
    else:
        pixels = np.stack([np.asarray(images[int(i)]) for i in where])
    return gallery(pixels, labels[where], guesses[where], classes, titled(title, [record]))


def _scored(
    records: Sequence[Mapping[str, Any]], split: Any
) -> tuple[Mapping[str, Any], Any | None]:
    """The record whose answers are shown, and the images that it was scored on, if they are."""
    for record in records if split is not None else ():
        if np.array_equal(compare.answers(record)[0], np.asarray(split.labels)):
            return record, split.images
    return records[0], None


def samples(data: Any, count: int = 12, *, columns: int = 6, title: str | None = None) -> Figure:
    """One training image of each of some classes, which lie evenly in the list of all.

    Args:
        data: a `Data`, or anything with train.images, train.labels, classes, name and synthetic.
        count: how many classes at most.
        columns: images in a line.
        title: what stands above, instead of the name of the data.
    """
    labels = np.asarray(data.train.labels)
    present = [int(c) for c in np.unique(labels)]
    chosen = present[:: max(1, len(present) // count)][:count]
    where = [int(np.argmax(labels == c)) for c in chosen]
    images = _pixels(np.stack([np.asarray(data.train.images[i]) for i in where]))
    words = [word(data.classes[c]) for c in chosen]
    title = title or f"{data.name}: {len(chosen)} of {len(data.classes)} classes"
    title = heading(title, data.synthetic)
    figure = _grid(images, list(map(_fit, words)), [INK] * len(words), title, columns)
    size = f"{images.shape[2]} × {images.shape[1]} pixels"
    return with_alt(figure, f"{title}. One training image each, {size}: {', '.join(words)}.")


def augment_grid(
    originals: Any,
    augmented: Mapping[str, Any],
    title: str = "Augmentation",
    *,
    columns: int = 6,
    synthetic: bool = False,
) -> Figure:
    """Each image as it is, and below it what every pipeline makes of it.

    Args:
        originals: [N, 3, H, W], uint8 or float in [0, 1].
        augmented: such images by the name of their pipeline.
        title: what stands above.
        columns: images in a line, of each.
        synthetic: whether the title is marked.

    Raises:
        ValueError: images of another shape.
    """
    title = heading(title, synthetic)
    original = _pixels(originals)[:columns]
    views = {name: _pixels(images)[:columns] for name, images in augmented.items()}
    with theme() as plt:
        figure, cells = _cells(plt, 1 + len(views), len(original))
        for axes, (name, images) in zip(
            cells, {"original": original, **views}.items(), strict=True
        ):
            _fill(axes, images, name)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    whole = original.astype(np.float32)
    changes = "; ".join(
        f"{name} changes a pixel by {np.abs(images - whole).mean():.0f} of 255 on average"
        for name, images in views.items()
    )
    return with_alt(figure, f"{title}: {len(original)} images before and after. {changes}.")


def attention(
    images: Any,
    masks: Mapping[str, Any],
    title: str = "Attention masks",
    *,
    columns: int = 6,
    synthetic: bool = False,
) -> Figure:
    """Images, and each attention stage's mask laid over them, in one scale from 0 to 1.

    Args:
        images: [N, 3, H, W], uint8 or float in [0, 1].
        masks: of each stage, [N, h, w] in [0, 1] (the mean over channels), of any size.
        title: what stands above.
        columns: images in a line.
        synthetic: whether the title is marked.

    Raises:
        ValueError: images of another shape.
    """
    title = heading(title, synthetic)
    pixels = _pixels(images)[:columns]
    grey = np.repeat(pixels.mean(-1, keepdims=True), 3, -1).astype(np.uint8)
    masks = {name: np.asarray(mask, np.float32)[:columns] for name, mask in masks.items()}
    look = {"cmap": "cividis", "alpha": 0.7, "interpolation": "bilinear", "vmin": 0, "vmax": 1,
            "extent": (0, pixels.shape[2], pixels.shape[1], 0)}  # fmt: skip
    with theme() as plt:
        figure, cells = _cells(plt, len(masks) + 1, len(pixels))
        _fill(cells[0], pixels, "image")
        for axes, (name, mask) in zip(cells[1:], masks.items(), strict=True):
            _fill(axes, grey, name)
            for cell, one in zip(axes, mask, strict=True):
                shade = cell.imshow(one, **look)
        figure.colorbar(shade, ax=cells[1:], shrink=0.8, label="mask (0 to 1)")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    caption = "; ".join(
        f"{name} {mask.shape[2]} × {mask.shape[1]}, mean {mask.mean():.2f},"
        f" from {mask.min():.2f} to {mask.max():.2f}"
        for name, mask in masks.items()
    )
    return with_alt(figure, f"{title} over {len(pixels)} images: {caption}.")


def _grid(
    images: np.ndarray, captions: list[str], colours: list[str], title: str, columns: int
) -> Figure:
    """Captioned images in rows of `columns`."""
    if not captions:
        raise ValueError(f"{title!r} has no image to draw; choose at least one")
    columns = min(columns, len(images))
    lines = max(caption.count("\n") + 1 for caption in captions)
    with theme() as plt:
        figure, cells = _cells(plt, -(-len(images) // columns), columns, 1.5 + 0.18 * lines)
        for cell in cells.flat:
            cell.axis("off")
        looks = zip(cells.flat, images, captions, colours, strict=False)
        for cell, image, caption, colour in looks:
            cell.imshow(image, interpolation="nearest")
            cell.set_title(caption, color=colour, fontsize=9, loc="center")
        figure.suptitle(textwrap.fill(title, 17 * columns), x=0.01, ha="left", fontsize=12)
    return figure


def _cells(plt: Any, rows: int, columns: int, height: float = 1.5) -> tuple[Figure, np.ndarray]:
    size = (max(4.0, 1.5 * columns), height * rows + 0.4)
    return plt.subplots(rows, columns, squeeze=False, figsize=size)


def _fill(line: Sequence[Axes], images: np.ndarray, name: str) -> None:
    """A line of images with its name at the left."""
    for cell, image in zip(line, images, strict=True):
        cell.imshow(image, interpolation="nearest")
        cell.set(xticks=[], yticks=[])
        for spine in cell.spines.values():
            spine.set_visible(False)
    line[0].set_ylabel(textwrap.fill(word(name), 14), fontsize=10)


def _pixels(images: Any) -> np.ndarray:
    """uint8 [N, H, W, 3] from [N, 3, H, W], uint8 or float in [0, 1]."""
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[1] != 3:
        raise ValueError(f"images have shape {array.shape}; they must be [N, 3, H, W]")
    if array.dtype != np.uint8:
        array = np.clip(np.rint(255 * array.astype(np.float32)), 0, 255).astype(np.uint8)
    return array.transpose(0, 2, 3, 1)


def _fit(name: str) -> str:
    """A class name in lines that fit above an image."""
    return textwrap.fill(word(name), 18)
