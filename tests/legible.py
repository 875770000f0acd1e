"""What makes a figure hard to read: words that run into others, arrows that run through boxes."""

import itertools

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation, Text


def overlaps(figure, monkeypatch):
    """(written, pairs): everything that is written, and which of it lies over another."""
    written, draw = [], Text.draw

    def write(text, renderer):
        if text.get_visible() and text.get_text().strip() and not text.get_rotation():
            written.append((text.get_text(), text.get_window_extent(renderer)))
        draw(text, renderer)

    FigureCanvasAgg(figure).draw()  # the layout settles
    monkeypatch.setattr(Text, "draw", write)
    FigureCanvasAgg(figure).draw()
    pairs = [
        (text, other)
        for (text, box), (other, second) in itertools.combinations(written, 2)
        if min(box.x1, second.x1) - max(box.x0, second.x0) >= 2
        and min(box.y1, second.y1) - max(box.y0, second.y0) >= 2
    ]
    return written, pairs


def pierced(figure):
    """The boxes of a diagram that an arrow runs through."""
    FigureCanvasAgg(figure).draw()
    notes = [n for axes in figure.axes for n in axes.texts if isinstance(n, Annotation)]
    boxes = [(n.get_text(), n.get_bbox_patch().get_window_extent()) for n in notes
             if n.get_bbox_patch()]  # fmt: skip
    for arrow in (n.arrow_patch for n in notes if n.arrow_patch):
        path = arrow.get_transform().transform(arrow.get_path().vertices)
        start, end = path[0], path[2]  # at the edges of the two boxes that it joins
        for share in np.linspace(0.05, 0.95, 50):
            x, y = start + share * (end - start)
            yield from (t for t, b in boxes if b.x0 < x < b.x1 and b.y0 < y < b.y1)
