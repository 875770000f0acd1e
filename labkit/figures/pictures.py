"""Images: samples, galleries of right and wrong answers, augmentations, attention masks."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labkit import compare
from labkit.figures.canvas import INK, as_records, described, marked, name, theme, word

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
):
    """Images with what they are and what the model called them; the Figure.

    `images` is uint8 [N, 3, H, W] (an array or a CPU tensor). A right answer has its class in
    blue; a wrong one has a cross, the model's word and the true class in red-orange.
    `synthetic` marks the title, here and below.
    """
    title = marked(title, synthetic)
    images, labels, predictions = _pixels(images), _whole(labels), _whole(predictions)
    right = labels == predictions
    captions = [
        _fit(classes[label]) if hit else f"✗ {_fit(classes[guess])}\n(is {_fit(classes[label])})"
        for label, guess, hit in zip(labels, predictions, right, strict=True)
    ]
    colours = [RIGHT if hit else WRONG for hit in right]
    figure = _grid(images, captions, title, columns=columns, colours=colours)
    told = [
        f"{word(classes[label])} right"
        if hit
        else f"{word(classes[label])} taken for {word(classes[guess])}"
        for label, guess, hit in zip(labels, predictions, right, strict=True)
    ]
    count = f"{right.sum()} of {len(right)} images are named rightly"
    return described(figure, f"{title}: {count}. {', '.join(told)}.")


def answers(run: Any, split: Any, classes: Sequence[str], *, right: bool, count: int = 12):
    """The first `count` test images that a run named rightly, or wrongly; the Figure.

    `split` holds the test images in the order of the record's predictions: `report.test(row)`.
    """
    (record,) = as_records(run)
    labels, guesses = compare.answers(record)
    where = np.flatnonzero((labels == guesses) == right)[:count]
    title = f"{name(record)}: {'rightly' if right else 'wrongly'} identified"
    if not len(where):
        return _nothing(title, f"none of {len(labels):,} test images", record["data"]["synthetic"])
    images = np.stack([np.asarray(split.images[int(i)]) for i in where])
    return gallery(
        images,
        labels[where],
        guesses[where],
        classes,
        title,
        synthetic=record["data"]["synthetic"],
    )


def samples(data: Any, count: int = 12, *, columns: int = 6, title: str | None = None):
    """The first image of the first `count` classes of a data set's training images; the Figure.

    `data` is a `Data`, or anything with train.images, train.labels, classes, name and synthetic.
    """
    labels = _whole(data.train.labels)
    present = [int(c) for c in np.unique(labels)]
    step = max(1, len(present) // count)
    chosen = present[::step][:count]
    where = [int(np.argmax(labels == c)) for c in chosen]
    images = _pixels(np.stack([np.asarray(data.train.images[i]) for i in where]))
    words = [word(data.classes[c]) for c in chosen]
    heading = title or f"{data.name}: {len(chosen)} of {len(data.classes)} classes"
    if data.synthetic and "synthetic" not in heading:
        heading += " (synthetic)"
    captions = [_fit(word) for word in words]
    figure = _grid(images, captions, heading, columns=columns)
    size = f"{images.shape[2]} × {images.shape[1]} pixels"
    return described(figure, f"{heading}. One training image each, {size}: {', '.join(words)}.")


def augment_grid(
    originals: Any,
    augmented: Mapping[str, Any],
    title: str = "Augmentation",
    *,
    columns: int = 6,
    synthetic: bool = False,
):
    """Each image as it is, and below it what every pipeline makes of it; the Figure.

    `originals` is [N, 3, H, W], uint8 or float in [0, 1]; `augmented` maps a pipeline's name to
    such images.
    """
    title = marked(title, synthetic)
    rows = {"original": _pixels(originals)[:columns]}
    rows |= {name: _pixels(images)[:columns] for name, images in augmented.items()}
    figure = _rows(rows, title)
    changes = [
        f"{name} changes a pixel by {_change(rows['original'], images):.0f} of 255 on average"
        for name, images in list(rows.items())[1:]
    ]
    count = len(rows["original"])
    return described(figure, f"{title}: {count} images before and after. {'; '.join(changes)}.")


def attention(
    images: Any,
    masks: Mapping[str, Any],
    title: str = "Attention masks",
    *,
    columns: int = 6,
    synthetic: bool = False,
):
    """Images, and each attention stage's mask laid over them; the Figure.

    `images` is [N, 3, H, W]; `masks` maps a stage's name to arrays [N, h, w] in [0, 1] (the mean
    over channels), of any size.
    """
    title = marked(title, synthetic)
    pixels = _pixels(images)[:columns]
    masks = {name: np.asarray(mask, np.float32)[:columns] for name, mask in masks.items()}
    low = min(mask.min() for mask in masks.values())
    high = max(mask.max() for mask in masks.values())
    with theme() as plt:
        figure, cells = _cells(plt, len(masks) + 1, len(pixels))
        _fill(cells[0], pixels, "image")
        extent = (0, pixels.shape[2], pixels.shape[1], 0)
        for axes, (name, mask) in zip(cells[1:], masks.items(), strict=True):
            _fill(axes, np.repeat(pixels.mean(-1, keepdims=True), 3, -1).astype(np.uint8), name)
            for cell, one in zip(axes, mask, strict=True):
                shade = cell.imshow(one, cmap="cividis", vmin=low, vmax=high, alpha=0.7,
                                    extent=extent, interpolation="bilinear")  # fmt: skip
        figure.colorbar(shade, ax=cells[1:], shrink=0.8, label="mask (0 to 1)")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    told = [
        f"{name} {mask.shape[2]} × {mask.shape[1]}, mean {mask.mean():.2f},"
        f" from {mask.min():.2f} to {mask.max():.2f}"
        for name, mask in masks.items()
    ]
    return described(figure, f"{title} over {len(pixels)} images: {'; '.join(told)}.")


def _grid(images: np.ndarray, captions, title: str, *, columns: int, colours=None):
    """Captioned images in rows of `columns`; the Figure."""
    if not len(images):
        raise ValueError(f"{title!r} has no image to draw; choose at least one")
    columns = min(columns, len(images))
    with theme() as plt:
        lines = max(caption.count("\n") + 1 for caption in captions)
        figure, cells = _cells(plt, -(-len(images) // columns), columns, 1.5 + 0.18 * lines)
        for cell in cells.flat:
            cell.axis("off")
        for index, (cell, image) in enumerate(zip(cells.flat, images, strict=False)):
            cell.imshow(image, interpolation="nearest")
            cell.set_title(captions[index], fontsize=9, loc="center",
                           color=colours[index] if colours else INK)  # fmt: skip
        width = round(17 * columns)
        figure.suptitle(textwrap.fill(title, width), x=0.01, ha="left", fontsize=12)
    return figure


def _nothing(title: str, words: str, synthetic: bool):
    """A Figure that says in words that there is nothing to draw."""
    title = marked(title, synthetic)
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(6.0, 1.2))
        axes.axis("off")
        axes.set_title(f"{title}: {words}", fontsize=12, loc="left")
    return described(figure, f"{title}: {words}, so that no image is drawn.")


def _rows(rows: Mapping[str, np.ndarray], title: str):
    """One line of images for each name; the Figure."""
    with theme() as plt:
        figure, cells = _cells(plt, len(rows), len(next(iter(rows.values()))))
        for axes, (name, images) in zip(cells, rows.items(), strict=True):
            _fill(axes, images, name)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure


def _cells(plt, rows: int, columns: int, height: float = 1.5):
    figure, cells = plt.subplots(
        rows, columns, squeeze=False, figsize=(max(4.0, 1.5 * columns), height * rows + 0.4)
    )
    return figure, cells


def _fill(axes, images: np.ndarray, name: str) -> None:
    """A line of images with its name at the left."""
    for cell, image in zip(axes, images, strict=True):
        cell.imshow(image, interpolation="nearest")
        cell.set(xticks=[], yticks=[])
        for spine in cell.spines.values():
            spine.set_visible(False)
    axes[0].set_ylabel(textwrap.fill(name.replace("_", " "), 14), fontsize=10)


def _pixels(images: Any) -> np.ndarray:
    """uint8 [N, H, W, 3] from [N, 3, H, W], uint8 or float in [0, 1].

    Raises:
        ValueError: any other shape.
    """
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[1] != 3:
        raise ValueError(f"images have shape {array.shape}; they must be [N, 3, H, W]")
    if array.dtype != np.uint8:
        array = np.clip(np.rint(255 * array.astype(np.float32)), 0, 255).astype(np.uint8)
    return array.transpose(0, 2, 3, 1)


def _whole(numbers: Any) -> np.ndarray:
    return np.asarray(numbers).astype(np.int64)


def _fit(name: str) -> str:
    """A class name in lines that fit above an image."""
    return textwrap.fill(word(name), 18)


def _change(before: np.ndarray, after: np.ndarray) -> float:
    return float(np.abs(before.astype(np.float32) - after.astype(np.float32)).mean())
