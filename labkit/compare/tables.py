"""Tables for readers: ours beside the published numbers, what is planned, what was run here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from labkit.compare.claims import Claim
from labkit.compare.evidence import FULL, SYNTHETIC_IMAGES, budget, evidence, too_short
from labkit.compare.judges import judge
from labkit.compare.noise import MACHINE, Noise
from labkit.compare.values import (
    EXACT,
    READERS,
    Rows,
    Value,
    fraction,
    label,
    mean_and_spread,
    measured,
)

__all__ = ["KEYS", "Table", "planned", "proof", "table", "verdicts"]

KEYS = ["key", "best", "logged"]  # columns for code that filters a table; no reader sees them
COMPARABLE = {*READERS, "coarse_top1"} - {"epochs"}  # how long a run was set to run is no result
NOT_PRINTED = {"metric": "test_top1", "value": None, "selection": "", "kind": ""}
SHORT = "seen in class, but not trained long enough"
PRINTED = ("report", "log")  # kinds of published numbers; the literature has other recipes


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


def table(rows: Mapping[str, str], records: Rows, published: pd.DataFrame) -> pd.DataFrame:
    """Published beside ours at the report's own budget: one line for each number of each row.

    The columns are row, title, metric (in words), published, at full, gap and source; then, for
    code, key (the metric), best (of the best test epoch, not the last) and logged (by the
    report's author, not printed). The cells are `Value`s, or empty text. A row stands here if it
    has a printed number or a record at the report's own budget: of all its epochs, on all of its
    real images. Other records are left out, for they must not stand beside a printed number.
    Between times there is no gap: they are of two machines.

    Args:
        rows: title of each row, by its id.
        records: the records of each row.
        published: lines of `published()`; those of the literature are left out.
    """
    published = published[published["kind"].isin(PRINTED)]
    lines = []
    for row, title in rows.items():
        ours = [record for record in records.get(row, ()) if budget(record) == FULL]
        printed = filter(_comparable, published[published["row"] == row].to_dict("records"))
        for line in list(printed) or [NOT_PRINTED] * bool(ours):
            lines.append([row, title, *_cells(line, _value(ours, line))])
    head = ["row", "title", "metric", "published", "at full", "gap", "source", *KEYS]
    return Table(lines, columns=head)


def planned(rows: Mapping[str, str], own: Rows, recorded: Rows) -> pd.DataFrame:
    """The rows that have not been run at the report's own budget: title, and what was seen of it.

    Args:
        rows: title of each row, by its id.
        own: the runs of this notebook, by row.
        recorded: those that are published with it, by row.
    """
    best = evidence(rows, own, recorded).rows
    short = {row for some in (own, recorded) for row in some if any(map(too_short, some[row]))}
    absent = {row: SHORT if row in short else "nothing yet" for row in rows}
    seen = {row: budget(best[row][0]) if row in best else absent[row] for row in rows}
    lines = {row: (rows[row], words) for row, words in seen.items() if words != FULL}
    index = pd.Index(lines, name="row")
    return Table(lines.values(), index=index, columns=["planned at full", "so far"])


def proof(rows: Mapping[str, str], own: Rows, recorded: Rows) -> pd.DataFrame:
    """That the code runs on this machine: images, epochs and time of what a notebook trained.

    On real images, test accuracy as well, and beside it that of the recorded runs at this preset.

    Args:
        rows: title of each row, by its id.
        own: the runs of this notebook, by row.
        recorded: those that are published with it, by row.
    """
    lines = {row: _proof(own[row], recorded.get(row, ())) for row in rows if own.get(row)}
    index = pd.Index([rows[row] for row in lines], name="trained here")
    return Table(pd.DataFrame(lines.values(), index=index)).fillna("")


def _proof(own: Sequence[Mapping[str, Any]], recorded: Sequence[Mapping[str, Any]]) -> dict:
    first = own[0]
    synthetic = first["data"]["synthetic"]
    kind = SYNTHETIC_IMAGES if synthetic else "images"
    line = {
        "trained on": f"{first['details']['train_images']:,} {kind}",
        "epochs": len(first["rows"]),
        "time": _mean("seconds", own),
    }
    if synthetic:
        return line
    alike = [r for r in recorded if r["preset"] == first["preset"] and budget(r) == budget(first)]
    there = _mean("test_top1", alike) if alike else ""
    return line | {"test top-1": _mean("test_top1", own), "recorded at this preset": there}


def _mean(metric: str, records: Sequence[Mapping[str, Any]]) -> Value:
    values = measured(records, metric)
    return Value(metric, *mean_and_spread(values), len(values))


def _comparable(line: Mapping[str, Any]) -> bool:
    """A result at the end of a run that a record holds too."""
    return line["selection"] != "during" and line["metric"] in COMPARABLE


def _cells(line: Mapping[str, Any], ours: Value | str) -> tuple[Any, ...]:
    metric, best = line["metric"], line["selection"] == "best"
    printed = "" if line["value"] is None else Value(metric, line["value"])
    words = label(metric) + " (best epoch)" * best
    gap = _distance(printed, ours.value) if printed and ours and metric not in MACHINE else ""
    return words, printed, ours, gap, _source(line), metric, best, line["kind"] == "log"


def _distance(printed: Value, value: float) -> str:
    """How far a value lies from the printed one, in the words of its metric."""
    if fraction(printed.metric):
        return f"{100 * (value - printed.value):+.1f} points"
    if printed.metric.endswith("loss"):
        return f"{value - printed.value:+.2f}"
    share = value / printed.value
    return "equal" if share == 1 else f"× {share:.3g}"


def _value(records: Sequence[Mapping[str, Any]], line: Mapping[str, Any]) -> Value | str:
    """Mean and spread of what the records have beside a line.

    Beside a score of the best test epoch stands ours of that kind, or nothing: a run that did not
    watch the test set has none.
    """
    metric = line["metric"]
    values = measured(records, f"best_{metric}" if line["selection"] == "best" else metric)
    if not values:
        return ""
    if metric in EXACT and len(set(values)) == 1:  # a count is the model's, not the run's
        return Value(metric, values[0])
    return Value(metric, *mean_and_spread(values), len(values))


def _source(line: Mapping[str, Any]) -> str:
    if line["value"] is None:
        return "not printed"
    return f"{line['kind']}, {line['table']}" if line["table"] else line["kind"]
