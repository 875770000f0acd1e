"""The published numbers, and ours beside them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.compare.frames import Table
from labkit.compare.judges import Rows
from labkit.compare.values import (
    EXACT,
    READERS,
    Value,
    fraction,
    label,
    mean_and_spread,
    measured,
)

COLUMNS = [
    "row", "title", "metric", "published", "recorded at full", "this run", "gap", "source",
]  # fmt: skip
PUBLISHED = Path(__file__).parent.parent / "published.csv"


def published(row: str | None = None, report: str | None = None) -> pd.DataFrame:
    """Every printed number, or those of one row ("002-M1") or one report ("002").

    Columns: row, report, dataset, model, metric, value (accuracies are fractions), unit, epochs,
    selection (which epoch's weights), kind, table, source, note. `kind` is "report" for the
    report's own text, "log" for what its author's or its source's logs show, and "literature",
    which has a row only where the row is one of ours and is held against it. An unknown row gives
    an empty table.
    """
    table = _published()
    if row is not None:
        table = table[table["row"] == row]
    if report is not None:
        table = table[table["report"] == report]
    return Table(table.reset_index(drop=True))


def table(
    rows: Mapping[str, str], runs: Rows, recorded: Rows, published: pd.DataFrame
) -> pd.DataFrame:
    """Published beside ours: one line for each published metric of each row.

    `rows` maps row ids to titles; `runs` and `recorded` map them to this session's records and to
    the committed ones at preset full. A row without a published number has a line for its test
    accuracy. The cells are `Value`s, or empty text. The gap is ours minus published: of this run
    where it ran at full on the whole of the real data, else of the recorded ones, else of this
    run. None is drawn from synthetic data.
    """
    lines = []
    for row, title in rows.items():
        ours = published[published["row"] == row]
        printed = [line for line in ours.to_dict("records") if _comparable(line)]
        for line in printed or [{"metric": "test_top1", "value": None}]:
            lines.append(_line(row, title, line, runs.get(row, []), recorded.get(row, [])))
    return Table(lines, columns=COLUMNS)


@functools.cache
def _published() -> pd.DataFrame:
    text = ["row", "report", "dataset", "model", "metric", "unit", "selection", "kind", "table",
            "source", "note"]  # fmt: skip
    types = dict.fromkeys(text, str)
    table = pd.read_csv(PUBLISHED, dtype=types, encoding="utf-8", keep_default_na=False,
                        na_values={"value": [""], "epochs": [""]})  # fmt: skip
    return table.astype({"value": "float64", "epochs": "Float64"})


def _comparable(line: Mapping[str, Any]) -> bool:
    """Results at the end of a run that a record holds too; how long it was set to run is none."""
    metrics = {*READERS, "coarse_top1"} - {"epochs"}
    return line["selection"] != "during" and line["metric"] in metrics


def _line(row: str, title: str, line: Mapping[str, Any], runs, recorded) -> dict[str, Any]:
    metric, best = line["metric"], line.get("selection") == "best"
    here, there = _value(runs, metric, best=best), _value(recorded, metric, best=best)
    printed = "" if line["value"] is None else Value(metric, line["value"])
    kind = " (best epoch)" if best else ""
    return {
        "row": row,
        "title": title,
        "metric": label(metric) + kind,
        "published": printed,
        "recorded at full": there,
        "this run": here,
        "gap": gap(printed, here, there) if printed else "",
        "source": _source(line),
    }


def gap(printed: Value, here: Value | str, there: Value | str) -> str:
    """Ours minus published in words, and which of ours it is."""
    if here and not here.mark:
        ours, whose = here, "this run"
    elif there and not there.mark:
        ours, whose = there, "recorded"
    elif here and "synthetic" not in here.mark:
        ours, whose = here, here.mark
    else:
        return "none from synthetic data" if here else ""
    if fraction(printed.metric):
        return f"{100 * (ours.value - printed.value):+.1f} points ({whose})"
    if printed.metric.endswith("loss"):
        return f"{ours.value - printed.value:+.2f} ({whose})"
    share = ours.value / printed.value
    return f"equal ({whose})" if share == 1 else f"× {share:.3g} ({whose})"


def _value(records: Sequence[Mapping[str, Any]], metric: str, *, best: bool) -> Value | str:
    """Mean and spread of the records' metric, marked by what the records cannot say.

    Beside a score of the best test epoch stands ours of that kind, or nothing: a run that did not
    watch the test set has none.
    """
    values = measured(records, f"best_{metric}" if best else metric)
    if not values:
        return ""
    if metric in EXACT and len(set(values)) == 1:  # a count is the model's, not the run's
        return Value(metric, values[0])
    mean, spread = mean_and_spread(values)
    return Value(metric, mean, spread, len(values), "" if metric in EXACT else _mark(records))


def _mark(records: Sequence[Mapping[str, Any]]) -> str:
    if any(record["data"]["synthetic"] for record in records):
        return "synthetic"
    presets = sorted({record["preset"] for record in records} - {"full"})
    marks = presets + ["subset"] * any(_reduced(record) for record in records)
    return ", ".join(marks)


def _reduced(record: Mapping[str, Any]) -> bool:
    """Less data than the row asks for: files that are a subset, or a preset's smaller share."""
    small = record["preset"] != "full" and record["recipe"].get("train_size", 0) > 0
    return small or not record["data"]["complete"]


def _source(line: Mapping[str, Any]) -> str:
    if line["value"] is None:
        return "not printed"
    where = f", {line['table']}" if line["table"] else ""
    return f"{line['kind']}{where}"
