"""The published numbers: complete, in range, sourced, and in step with each other."""

import re

import pytest

from labkit.compare import published, published_number

TABLE = published()
NUMBERS = TABLE[TABLE.value.notna()]  # without the lines that are words alone
ROWS = (
    {f"000-{r}" for r in ("A1", "A2", "A3", "B1", "B2", "B3", "C1", "D1", "M2")}
    | {f"001-E{i}" for i in range(1, 12)}
    | {"002-M0", "002-M1", "002-M2"}
    | {f"002-S{i}" for i in range(1, 10)}
    | {"003-S10", "003-S50", "003-X0", "003-X1", "003-X2", "003-X3"}
    | {f"003-W{i}" for i in range(1, 7)}
    | {"004-M1", "004-M2", "004-M4"}
    | {f"004-N{n}" for n in (25000, 12500, 6250, 3120, 1560)}
)
# ours, each held against a literature line
ANCHORED = {"000-Z", "001-Z", "002-Z", "003-Z", "000-T70", "000-T75"}
UNITS = {"nats", "s", "s/epoch", "h", "KiB/1000", "count", "ratio", "fraction", "number", "rank",
         "year", "pixels", "degrees"}  # fmt: skip
KEY = ["row", "report", "dataset", "model", "metric", "epochs", "selection", "kind", "source"]


def number(row, metric="test_top1", kind="report", selection=None):
    lines = published(row)
    lines = lines[(lines.metric == metric) & (lines.kind == kind)]
    lines = lines[lines.selection == selection] if selection else lines
    lines = lines[lines.selection != "during"]
    assert len(lines) == 1, (row, metric, kind, selection)
    return lines.value.item()


def points(a, b):
    return round(100 * (number(a) - number(b)), 2)


def test_every_printed_row_is_there_and_no_other():
    assert set(TABLE.row) - {""} == ROWS | ANCHORED


def test_a_row_belongs_to_its_report():
    own = TABLE[TABLE.row != ""]
    assert (own.row.str[:3] == own.report).all()
    assert set(TABLE.report) == {"000", "001", "002", "003", "004"}


def test_no_number_stands_twice():
    assert not NUMBERS.duplicated(KEY).any()


def test_every_number_has_a_source_and_known_words():
    assert (TABLE.source.str.len() > 10).all()
    assert set(NUMBERS.kind) == {"report", "log", "literature"}
    assert set(TABLE.selection) == {"", "last", "best", "median10", "during", "unknown"}
    assert set(TABLE[TABLE.kind == "literature"].row) - {""} == ANCHORED
    assert set(TABLE[TABLE.row.isin(ANCHORED)].kind) == {"literature"}
    assert (TABLE[TABLE.kind == "report"].source.str.startswith("Report ")).all()
    for source in TABLE.source[TABLE.source.str.contains("http")]:
        assert re.search(r"https://[\w.-]+\.\w+/\S+", source), source


def test_scores_are_fractions_with_a_selection():
    scores = NUMBERS[NUMBERS.metric.str.contains("top[135]$")]
    assert scores.value.between(0.01, 1).all()
    assert (scores.unit == "fraction").all()
    assert (scores.selection != "").all()
    others = NUMBERS[~NUMBERS.index.isin(scores.index)]
    assert (others.value >= 0).all()
    assert set(others.unit) == UNITS


def test_no_text_carries_stray_space():
    texts = TABLE.select_dtypes(exclude="number")
    assert (texts == texts.apply(lambda column: column.str.strip())).all().all()


@pytest.mark.parametrize(
    ("a", "b", "gap"),
    [
        ("000-A3", "000-A1", 4.05),
        ("000-A3", "000-A2", 4.10),
        ("000-B3", "000-B1", 2.63),
        ("000-B3", "000-B2", 1.44),
        ("000-A1", "000-A2", 0.05),
        ("000-B1", "000-B2", -1.19),
        ("000-B1", "000-A1", -1.02),
        ("000-B2", "000-A2", 0.22),
        ("000-B3", "000-A3", -2.44),
        ("002-M2", "002-M1", 22.9),
        ("003-S50", "003-S10", 15.22),
        ("003-W6", "003-W5", 4.07),
        ("003-W6", "003-W2", 1.12),
        ("003-W5", "003-W1", -2.12),
        ("004-M4", "004-M1", 2.55),
    ],
)
def test_gaps_quoted_in_the_claims_follow_from_the_rows(a, b, gap):
    assert points(a, b) == gap


def test_counts_agree_with_their_parts():
    for row in ("002-M2", "004-M1", "004-M2"):
        lines = published(row)
        count = {m: lines[lines.metric == m].value.item() for m in PARTS}
        assert count["parameters"] == count["trainable"] + count["non_trainable"]
    seconds = number("004-M1", "seconds")
    assert seconds == 250 * number("004-M1", "seconds_per_epoch")
    assert number("000-D1", "seconds") == sum(
        number("000-D1", f"seconds_{part}") for part in ("router", "fine")
    )


PARTS = ("parameters", "trainable", "non_trainable")


def test_a_published_time_to_an_accuracy_names_the_run_that_reached_it():
    for row, aim in (("000-T70", 0.70), ("000-T75", 0.75)):
        lines = published(row).set_index(["model", "source", "metric"])["value"].unstack()
        assert len(lines) >= 1
        assert (lines["seconds"] > 0).all()
        assert (lines["test_top1"] >= aim).all()


def test_the_exchanged_column_of_report_004_is_kept_as_printed_beside_the_log():
    assert number("004-N1560") == number("004-N1560", "train_clean_top1", "log") == 0.9429
    assert number("004-N1560", "train_clean_top1") == 0.5157
    assert number("004-N1560", kind="log", selection="last") == 0.5157


def test_the_logged_accuracy_falls_with_fewer_images():
    sizes = (25000, 12500, 6250, 3120, 1560)
    logged = [number("004-M1", kind="log", selection="last")]
    logged += [number(f"004-N{n}", kind="log", selection="last") for n in sizes]
    assert logged == sorted(logged, reverse=True)


def test_published_selects_by_row_and_by_report():
    assert set(published("002-M1").row) == {"002-M1"}
    assert set(published(report="002").report) == {"002"}
    assert published("no such row").empty
    assert list(published("no such row").columns) == list(TABLE.columns)
    changed = published("002-M1")
    changed["value"] = 0.0  # a caller's change stays its own
    assert number("002-M1") == 0.381


def test_one_number_is_one_number():
    assert published_number("002-M1") == number("002-M1") == 0.381
    assert published_number("004-N1560", kind="log") == 0.5157
    with pytest.raises(ValueError, match="002-M1 has 0 numbers no_such_metric"):
        published_number("002-M1", "no_such_metric")
