"""Drawings of blocks: SVG files made by hand, each with its alternative text inside."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from labkit.errors import InputError, unknown

__all__ = ["DRAWINGS", "Drawing", "drawing"]

FILES = {path.stem: path for path in sorted((Path(__file__).parent / "svg").glob("*.svg"))}
SVG = "http://www.w3.org/2000/svg"
DRAWINGS = tuple(FILES)  # the names that `drawing` knows


@dataclass(frozen=True)
class Drawing:
    """A drawing; as the last line of a notebook's cell it shows itself."""

    alt: str
    svg: str = field(repr=False)

    def _repr_html_(self) -> str:
        # an image and not inline SVG, so that the styles of two drawings on a page never meet
        data = base64.b64encode(self.svg.encode()).decode()
        return f'<img alt="{html.escape(self.alt)}" src="data:image/svg+xml;base64,{data}">'


def drawing(name: str) -> Drawing:
    """What a block of a family of networks is made of, and where its shortcut goes.

    Args:
        name: one of `DRAWINGS`, such as "attention_stage" or "residual_units".

    Raises:
        InputError: there is no drawing of that name.
    """
    if name not in FILES:
        raise InputError(unknown("drawing", name, FILES))
    svg = FILES[name].read_text(encoding="utf-8")
    root = ElementTree.fromstring(svg)
    title, text = (root.findtext(f"{{{SVG}}}{tag}", "") for tag in ("title", "desc"))
    return Drawing(alt=f"{title}. {' '.join(text.split())}", svg=svg)
