"""Drawings: small, safe SVG files that say in words what they show, and are all in use."""

import base64
import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from labkit import figures
from labkit.book.families import FAMILIES
from labkit.errors import InputError
from labkit.figures.drawings import FILES, SVG

ROOT = Path(__file__).parents[2]
TAGS = {"svg", "title", "desc", "style", "defs", "marker", "g", "rect", "circle", "path", "text",
        "tspan"}  # fmt: skip


@pytest.fixture(params=figures.DRAWINGS)
def drawing(request):
    return figures.drawing(request.param)


def test_a_drawing_is_plain_svg_that_asks_for_nothing(drawing):
    root = ElementTree.fromstring(drawing.svg)
    assert {element.tag for element in root.iter()} <= {f"{{{SVG}}}{tag}" for tag in TAGS}
    assert "<!" not in drawing.svg
    attributes = {name for element in root.iter() for name in element.attrib}
    assert not [name for name in attributes if "href" in name or name.startswith("on")]
    assert set(re.findall(r"url\((.)", drawing.svg)) <= {"#"}
    assert "@import" not in drawing.svg
    assert len(drawing.svg.encode()) < 8000


def test_a_drawing_is_legible_at_its_own_size(drawing):
    root = ElementTree.fromstring(drawing.svg)
    width, height = int(root.get("width")), int(root.get("height"))
    assert width <= 640
    assert root.get("viewBox") == f"0 0 {width} {height}"
    paper = next(root.iter(f"{{{SVG}}}rect"))
    assert (paper.get("width"), paper.get("height")) == (str(width), str(height))
    assert ".paper { fill: #fff }" in drawing.svg
    sizes = re.findall(r"font(?:-size)?: (\d+)px", drawing.svg)
    assert min(map(int, sizes)) >= 12


def test_a_class_without_a_style_or_a_style_without_a_class_is_a_slip(drawing):
    styles = set(re.findall(r"^ +\.(\w+) \{", drawing.svg, flags=re.MULTILINE))
    classes = re.findall(r'class="([\w ]+)"', drawing.svg)
    assert styles == {name for names in classes for name in names.split()}


def test_a_drawing_shows_itself_with_its_alternative_text(drawing):
    root = ElementTree.fromstring(drawing.svg)
    title, text = (root.findtext(f"{{{SVG}}}{tag}") for tag in ("title", "desc"))
    assert drawing.alt == f"{title}. {' '.join(text.split())}"
    assert len(text) > 100
    image = ElementTree.fromstring(drawing._repr_html_().replace(">", "/>"))
    assert image.get("alt") == drawing.alt
    head, _, data = image.get("src").partition(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(data).decode() == drawing.svg
    assert "<svg" not in repr(drawing)


def test_every_drawing_is_on_the_page_of_models_or_in_a_notebook():
    page = {name for family in FAMILIES for name in family.drawings}
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "notebooks").glob("*.ipynb"))
    cells = set(re.findall(r'lk\.figures\.drawing\(\\"(\w+)\\"\)', sources))
    assert page | cells == set(figures.DRAWINGS)


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(InputError, match="no drawing 'residual_unit'; did you mean residual_units"):
        figures.drawing("residual_unit")


def test_the_drawings_travel_with_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (pattern,) = project["tool"]["setuptools"]["package-data"]["labkit.figures"]
    assert set((ROOT / "labkit" / "figures").glob(pattern)) == set(FILES.values())
