"""Tables for readers: ours beside the published numbers, and the verdict on every claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.compare.claims import Claim
from labkit.compare.judges import judge
from labkit.compare.noise import Noise
from labkit.compare.values import (
    EXACT,
    READERS,
    SYNTHETIC,
    Rows,
    Value,
    fraction,
    label,
    mean_and_spread,
    measured,
    synthetic,
)

__all__ = ["KEYS", "Table", "table", "verdicts"]

KEYS = ["key", "best", "logged"]  # columns for code that filters a table; no reader sees them
COMPARABLE = {*READERS, "coarse_top1"} - {"epochs"}  # how long a run was set to run is no result
NOT_PRINTED = {"metric": "test_top1", "value": None, "selection": "", "kind": ""}


class Table(pd.DataFrame):
    """A data frame that a notebook shows whole: every row and every word, but for the `KEYS`."""

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def _repr_html_(self) -> str | None:
        shown = pd.DataFrame(self.drop(columns=[name for name in KEYS if name in self]))
        with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
            return shown._repr_html_()


def verdicts(claims: Iterable[Claim], records: Rows, noise: Noise | None = None) -> pd.DataFrame:
    """One line a claim: claim, verdict, evidence; the index is the claim's id."""
    verdicts = [(claim, judge(claim, records, noise)) for claim in claims]
    lines = [(claim.text, str(verdict), verdict.evidence) for claim, verdict in verdicts]
    index = pd.Index([claim.id for claim, _ in verdicts], name="id")
    return Table(lines, index=index, columns=["claim", "verdict", "evidence"])


def table(
    rows: Mapping[str, str],
    runs: Rows,
    recorded: Rows,
    published: pd.DataFrame,
    *,
    ours: str = "this run",
) -> pd.DataFrame:
    """Published beside ours: one line for each published metric of each row.

    The columns are row, title, metric (in words), published, recorded at full, `ours`, gap and
    source; then, for code, key (the metric), best (of the best test epoch, not the last) and
    logged (by the report's author, not printed). A row without a published number has a line for
    its test accuracy. The cells are `Value`s, or empty text. The gap is ours minus published: of
    `runs` where they ran at full on the whole of the real data, else of the recorded ones, else
    of `runs`. None is drawn from synthetic data.

    Args:
        rows: title of each row, by its id.
        runs: records of each row that stand in the column `ours`.
        recorded: committed records of each row at preset full.
        published: lines of `published()`.
        ours: what the column of `runs` is called.
    """
    lines = []
    for row, title in rows.items():
        printed = filter(_comparable, published[published["row"] == row].to_dict("records"))
        for line in list(printed) or [NOT_PRINTED]:
            here, there = (_value(group.get(row, []), line) for group in (runs, recorded))
            lines.append([row, title, *_cells(line, here, there, ours)])
    head = ["row", "title", "metric", "published", "recorded at full", ours, "gap", "source", *KEYS]
    return Table(lines, columns=head)


def _comparable(line: Mapping[str, Any]) -> bool:
    """A result at the end of a run that a record holds too."""
    return line["selection"] != "during" and line["metric"] in COMPARABLE


def _cells(
    line: Mapping[str, Any], here: Value | str, there: Value | str, ours: str
) -> tuple[Any, ...]:
    metric, best = line["metric"], line["selection"] == "best"
    printed = "" if line["value"] is None else Value(metric, line["value"])
    words = label(metric) + " (best epoch)" * best
    gap = _gap(printed, here, there, ours) if printed else ""
    return words, printed, there, here, gap, _source(line), metric, best, line["kind"] == "log"


def _gap(printed: Value, here: Value | str, there: Value | str, ours: str) -> str:
    """Ours minus published in words, and which of ours it is."""
    if here and not here.mark:
        value, whose = here.value, ours
    elif there and not there.mark:
        value, whose = there.value, "recorded"
    elif here and here.mark != SYNTHETIC:
        value, whose = here.value, here.mark
    else:
        return "none from synthetic data" if here else ""
    return f"{_distance(printed, value)} ({whose})"


def _distance(printed: Value, value: float) -> str:
    """How far a value lies from the printed one, in the words of its metric."""
    if fraction(printed.metric):
        return f"{100 * (value - printed.value):+.1f} points"
    if printed.metric.endswith("loss"):
        return f"{value - printed.value:+.2f}"
    share = value / printed.value
    return "equal" if share == 1 else f"× {share:.3g}"


def _value(records: Sequence[Mapping[str, Any]], line: Mapping[str, Any]) -> Value | str:
    """Mean and spread of what the records have beside a line, marked by what they cannot say.

    Beside a score of the best test epoch stands ours of that kind, or nothing: a run that did not
    watch the test set has none.
    """
    metric = line["metric"]
    values = measured(records, f"best_{metric}" if line["selection"] == "best" else metric)
    if not values:
        return ""
    if metric in EXACT and len(set(values)) == 1:  # a count is the model's, not the run's
        return Value(metric, values[0])
    mean, spread = mean_and_spread(values)
    return Value(metric, mean, spread, len(values), "" if metric in EXACT else _mark(records))


def _mark(records: Sequence[Mapping[str, Any]]) -> str:
    if synthetic(records):
        return SYNTHETIC
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
    return f"{line['kind']}, {line['table']}" if line["table"] else line["kind"]
