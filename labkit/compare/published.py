"""What is published: numbers and sentences of the reports, and the literature beside them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.compare.tables import Table

__all__ = ["published", "published_lines", "published_number", "published_sentence"]

PATH = Path(__file__).with_suffix(".csv")
NUMBERS = {"value": "float64", "epochs": "Float64"}  # every other column is text


def published(row: str | None = None, report: str | None = None) -> pd.DataFrame:
    """Every printed number, or those of one row ("002-M1") or one report ("002").

    Columns: row, report, dataset, model, metric, value (accuracies are fractions), unit, epochs,
    selection (which epoch's weights), kind, table, source, note, sentence. `kind` is "report" for
    the report's own text, "log" for what its author's or its source's logs show, and "literature",
    which has a row only where the row is one of ours and is held against it. `sentence` has the
    report's own words where a number stands in its prose. Two kinds are words alone, without row
    and value: "claim", which some claim of the report decides, and "text", which a page may quote.
    An unknown row gives an empty table.
    """
    table = _file()
    for column, wanted in (("row", row), ("report", report)):
        if wanted is not None:
            table = table[table[column] == wanted]
    return Table(table.reset_index(drop=True))


def published_number(
    row: str,
    metric: str = "test_top1",
    *,
    kind: str = "report",
    selection: str = "last",
    table: str | None = None,
) -> float:
    """One number of a row, in the words of `published`; `table` tells two of them apart.

    Raises:
        ValueError: there is none, or more than one.
    """
    wanted = {"metric": metric, "kind": kind, "selection": selection, "table": table}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    lines = [line for line in published_lines(row) if wanted.items() <= line.items()]
    if len(lines) != 1:
        raise ValueError(f"{row} has {len(lines)} numbers {metric} ({kind}, {selection}), not one")
    return lines[0]["value"]


def published_sentence(report: str, words: str) -> str:
    """The sentence of a report ("002"), or the part of it in published.csv, that has these words.

    Raises:
        ValueError: there is none, or more than one.
    """
    sentences = {line["sentence"] for line in _lines() if line["report"] == report}
    having = [sentence for sentence in sentences if words in sentence]
    if len(having) != 1:
        raise ValueError(f"report {report} has {len(having)} sentences with {words!r}, not one")
    return having[0]


def published_lines(row: str) -> list[dict[str, Any]]:
    """The lines of a row as they stand in the file: what `published` has, without a table."""
    return [line for line in _lines() if line["row"] == row]


@functools.cache
def _lines() -> list[dict[str, Any]]:
    return _file().to_dict("records")


@functools.cache
def _file() -> pd.DataFrame:
    table = pd.read_csv(
        PATH, dtype=str, encoding="utf-8", keep_default_na=False,
        na_values={name: [""] for name in NUMBERS},
    )  # fmt: skip
    return table.astype(NUMBERS)
