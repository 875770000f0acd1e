"""What makes a figure hard to read: words that run into others."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


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
