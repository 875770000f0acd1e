"""The published numbers: every number that a report prints, and the literature beside it."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from labkit.compare.tables import Table

__all__ = ["published", "published_number"]

PATH = Path(__file__).with_suffix(".csv")
NUMBERS = {"value": "float64", "epochs": "Float64"}  # every other column is text


def published(row: str | None = None, report: str | None = None) -> pd.DataFrame:
    """Every printed number, or those of one row ("002-M1") or one report ("002").

    Columns: row, report, dataset, model, metric, value (accuracies are fractions), unit, epochs,
    selection (which epoch's weights), kind, table, source, note. `kind` is "report" for the
    report's own text, "log" for what its author's or its source's logs show, and "literature",
    which has a row only where the row is one of ours and is held against it. An unknown row gives
    an empty table.
    """
    table = _file()
    for column, wanted in (("row", row), ("report", report)):
        if wanted is not None:
            table = table[table[column] == wanted]
    return Table(table.reset_index(drop=True))


def published_number(
    row: str, metric: str = "test_top1", *, kind: str = "report", selection: str = "last"
) -> float:
    """One number of a row, in the words of `published`.

    Raises:
        ValueError: there is none, or more than one.
    """
    table = published(row)
    for column, wanted in (("metric", metric), ("kind", kind), ("selection", selection)):
        table = table[table[column] == wanted]
    if len(table) != 1:
        raise ValueError(f"{row} has {len(table)} numbers {metric} ({kind}, {selection}), not one")
    return float(table["value"].iloc[0])


@functools.cache
def _file() -> pd.DataFrame:
    table = pd.read_csv(
        PATH, dtype=str, encoding="utf-8", keep_default_na=False,
        na_values={name: [""] for name in NUMBERS},
    )  # fmt: skip
    return table.astype(NUMBERS)
