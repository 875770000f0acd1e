"""The page of models: every network once, with its own counts, and legible pictures."""

import dataclasses
import re

import pytest

from labkit import figures
from labkit.book import layertable, models_page
from labkit.book.families import FAMILIES
from labkit.models import MODELS
from labkit.reports import REPORTS


@pytest.fixture(scope="module")
def pictures():
    return list(models_page.pictures())


@pytest.fixture(scope="module")
def text(pictures):
    return models_page.text(pictures)


def members(text):
    """(name, the last four cells) of each line of the members' tables."""
    lines = re.findall(r"^\| `(\w+)` \| (.+) \|$", text, flags=re.MULTILINE)
    return [(name, rest.split(" | ")[-4:]) for name, rest in lines if name in MODELS]


def test_every_network_is_on_the_page_once_with_its_counts(text):
    tables = members(text)
    assert sorted(name for name, _ in tables) == sorted(MODELS)
    for name, cells in tables:
        table = models_page._counts(name)
        assert cells[:2] == [f"{table.parameters:,}", f"{table.trainable:,}"]
        assert cells[3] == f"{table.megabytes:,.1f}"
        assert text.count(f"{{dropdown}} {name},") == 1


def test_the_counts_are_those_of_the_reports_images_and_classes(text):
    cells = dict(members(text))
    assert cells["mbn"][0] == "15,795,556"  # CIFAR-100
    assert cells["m4"][0] == "2,343,080"  # Tiny-ImageNet
    assert cells["residual_attention"][0] == "396,810"  # CIFAR-10
    for size, classes in ((32, 10), (32, 100), (64, 200)):
        assert f"images of 3 × {size} × {size} and {classes} classes" in text


def test_every_card_is_there_with_its_paper(text):
    for family in {model.family for model in MODELS.values()}:
        title = " ".join(family.__doc__.split("\n\n")[0].split()).rstrip(".")
        assert text.count(f":::{{admonition}} {title}\n") == 1
    for paper in ("1704.06904", "1605.07146", "1611.05431"):
        assert f"[arXiv:{paper}](https://arxiv.org/abs/{paper})" in text
    assert not re.search(r"(?<!\[)arXiv:\d", text)


def test_a_family_stands_after_the_one_it_descends_from():
    titles = [family.title for family in FAMILIES]
    for index, family in enumerate(FAMILIES):
        assert family.parent in ["", *titles[:index]]


def test_only_notebooks_that_are_pages_are_linked_to(text, pictures):
    assert "../notebooks/" not in text
    notebooks = {report.notebook for report in REPORTS.values()}
    page = models_page.text(pictures, notebooks)
    assert set(re.findall(r"\.\./notebooks/(\w+)\.ipynb", page)) == notebooks


def test_each_family_shows_its_pictures_with_their_alternative_texts(pictures, text):
    page = text.replace("\\", "")  # without the escapes of Markdown
    for family in FAMILIES:
        section = page.partition(f"## {family.title}\n")[2].partition("\n## ")[0]
        own = [picture for picture in pictures if picture.family == family.title]
        assert own
        for picture in own:
            assert len(picture.alt) >= 30
            assert f"![{picture.alt}](generated/models/{picture.file})" in section


def test_the_page_is_written_with_its_pictures(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(models_page, "pictures", lambda: iter(pictures))
    models_page.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "page.md",
        *(picture.file for picture in pictures),
    }
    for name in figures.DRAWINGS:
        if (tmp_path / f"{name}.svg").exists():
            assert (tmp_path / f"{name}.svg").read_text("utf-8") == figures.drawing(name).svg


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("preresnet110", "stage1.1 to stage1.17"),
        ("wrn28_10", "stage3.2 to stage3.3"),
        ("resnext1_b", "stage1.blocks.1 to stage1.blocks.2"),
        ("residual_attention", "stage1.attention.trunk.1"),
    ],
)
def test_a_block_that_repeats_is_told_once_and_no_count_is_lost(name, told):
    whole = models_page._counts(name)
    short = layertable.fold(whole)
    assert len(short.lines) < len(whole.lines)
    assert sum(line.parameters for line in short.lines) == whole.parameters
    assert short.multiply_adds == whole.multiply_adds
    assert told in [line.name for line in short.lines]


def test_what_differs_is_not_folded():
    whole = models_page._counts("preresnet20")
    lines = [
        dataclasses.replace(line, parameters=line.parameters + 1)
        if line.name == "stage1.1.branch.0"
        else line
        for line in whole.lines
    ]
    changed = layertable.fold(dataclasses.replace(whole, lines=tuple(lines)))
    assert "stage1.1.branch.0" in [line.name for line in changed.lines]


def test_no_layer_table_is_too_long_to_read(text):
    tables = re.findall(r"```text\n(.*?)\n```", text, flags=re.DOTALL)
    assert len(tables) == len(MODELS)
    assert max(len(table.splitlines()) for table in tables) <= models_page.LONGEST + 5
    for name, table in zip((n for n, _ in members(text)), tables, strict=False):
        assert table.splitlines()[0].startswith("layer"), name
