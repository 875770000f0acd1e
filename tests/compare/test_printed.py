"""No number that a report prints is missing, and no word of it is quoted otherwise than it stands.

printed.csv is a second list of all numbers that the reports print and that their authors logged,
typed as printed. It is the authority: the reports themselves are not part of the repository.
"""

import csv
import hashlib
import json
import re
from pathlib import Path

import pytest

from labkit.compare import published, published_sentence

ROOT = Path(__file__).parents[2]
TEXTS = ROOT.parent / "shared" / "reports"  # lies beside some checkouts
LIST = Path(__file__).with_name("printed.csv")
PRINTED = list(csv.DictReader(LIST.read_text(encoding="utf-8").splitlines()))
TABLE = published()
NUMBERS = TABLE[TABLE.value.notna()]
UNITS = {"": 1, "%": 0.01, "min": 60, "h": 3600, "million": 1e6}
# of each report's sentences, taken where they had just been found in its text
DIGESTS = {
    "000": "13e5a02caba306f4",
    "001": "b81802954ca3708b",
    "002": "0179d3aef9988c44",
    "003": "ded87de6f24c68c5",
    "004": "14f289cb73f03d1f",
}
# in quotation marks in a notebook, but not a report's words
OURS = {
    "an animal", "an otter, perhaps", "what had you reached by then?",
}  # fmt: skip


def number(printed):
    """A number as printed, in the unit of published.csv: "38.1 %" is 0.381, "1/4" is 0.25."""
    text, _, unit = printed.replace(",", "").partition(" ")
    above, _, below = text.partition("/")
    value = float(above) / float(below or 1)
    return 1 - value / 100 if unit == "% error" else value * UNITS[unit]


def key(report, thing, metric, value):
    return report, thing, metric, f"{value:.4g}"


def things(table):
    return table.row.where(table.row != "", table.model)


def test_every_number_that_the_reports_print_is_published():
    have = {key(*line) for line in zip(NUMBERS.report, things(NUMBERS), NUMBERS.metric,
                                       NUMBERS.value, strict=True)}  # fmt: skip
    missing = [
        line for line in PRINTED
        if key(line["report"], line["thing"], line["metric"], number(line["number"])) not in have
    ]  # fmt: skip
    assert missing == []
    assert len(PRINTED) > 400


def test_no_number_is_published_as_a_reports_that_the_list_does_not_have():
    known = {key(line["report"], line["thing"], line["metric"], number(line["number"]))
             for line in PRINTED}  # fmt: skip
    own = NUMBERS[NUMBERS.kind.isin(["report", "log"])]
    for line, thing in zip(own.itertuples(), things(own), strict=True):
        if key(line.report, thing, line.metric, line.value) not in known:
            assert "sum of the" in line.note, (thing, line.metric, line.value)


def test_a_number_as_printed_is_read_in_its_unit():
    assert number("38.1 %") == pytest.approx(0.381)
    assert number("3.5 % error") == pytest.approx(0.965)
    assert (number("37 min"), number("8 h"), number("18,496")) == (2220, 28800, 18496)
    assert (number("1/4"), number("7.2 million")) == (0.25, 7.2e6)


def test_words_without_a_number_have_their_sentence_and_nothing_else():
    words = TABLE[TABLE.value.isna()]
    assert set(words.kind) == {"claim", "text"}
    assert (words.sentence != "").all()
    assert (words[["row", "metric", "unit", "model"]] == "").all().all()
    assert not words.duplicated(["report", "sentence"]).any()
    assert not TABLE[TABLE.kind.isin(["claim", "text"])].value.notna().any()


def test_a_number_of_the_prose_has_its_sentence():
    prose = NUMBERS[(NUMBERS.kind == "report") & NUMBERS.table.str.contains("text|conclusion")]
    without = prose[(prose.sentence == "") & ~prose.note.str.contains("sum of the")]
    assert list(without.row + without.model + without.metric) == []
    assert (TABLE[TABLE.kind == "log"].sentence == "").all()


def test_a_sentence_is_found_by_its_words():
    assert published_sentence("000", "rank below AlexNet").startswith("it managed to surpass")
    with pytest.raises(ValueError, match="report 001 has 0 sentences with 'rank below AlexNet'"):
        published_sentence("001", "rank below AlexNet")
    with pytest.raises(ValueError, match="report 000 has [0-9]+ sentences with 'a'"):
        published_sentence("000", "a")


def flat(text):
    """Words alone: no emphasis, no line breaks."""
    return " ".join(text.replace("*", "").split())


def test_every_sentence_stands_in_its_report():
    """Word for word where the texts lie beside this checkout; elsewhere as it was when they did."""
    for report, known in DIGESTS.items():
        own = TABLE[(TABLE.report == report) & (TABLE.sentence != "")]
        sentences = sorted(set(own.sentence))
        if TEXTS.is_dir():
            text = flat((TEXTS / f"{report}.txt").read_text(encoding="utf-8"))
            assert [sentence for sentence in sentences if flat(sentence) not in text] == []
        digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()
        assert digest[:16] == known, "check the changed sentences against the report's text first"


def quotations(notebook):
    """What stands in quotation marks in a notebook's prose, or in a block quotation."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            text = re.sub(r"```.*?```|`[^`]*`", "", "".join(cell["source"]), flags=re.DOTALL)
            for block in re.findall(r"(?:^>.*\n?)+", text, flags=re.MULTILINE):
                yield flat(block.replace(">", ""))
            for straight, curly in re.findall(r'"([^"]+)"|“([^”]+)”', text):
                yield flat(straight or curly)


@pytest.mark.parametrize(
    "notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_a_notebook_quotes_a_report_word_for_word(notebook):
    report = f"{int(notebook.name[:2]) - 1:03}"
    sentences = [flat(sentence) for sentence in TABLE[TABLE.report == report].sentence.unique()]
    quoted = [quote for quote in quotations(notebook) if quote not in OURS]
    assert [quote for quote in quoted if not any(quote in each for each in sentences)] == []
