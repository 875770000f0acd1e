"""Claims about printed numbers, taken from published.csv: a score comes out again, one is ahead."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from labkit.compare import REPRODUCED, Claim, higher, within
from labkit.compare.published import published_lines
from labkit.compare.values import fraction, label
from labkit.compare.words import interval_words
from labkit.reports.rows import Row

__all__ = ["ahead", "printed", "quotient", "reproduced", "worded"]


def printed(row: str, metric: str = "test_top1") -> float:
    """The metric that a report prints of a row, the first where it prints several.

    Raises:
        ValueError: it prints none.
    """
    for line in published_lines(row):
        if (line["kind"], line["metric"]) == ("report", metric):
            return line["value"]
    raise ValueError(f"no report prints {metric} of {row}")


def quotient(a: str, b: str, metric: str) -> float:
    """The printed metric of a, divided by that of b."""
    return printed(a, metric) / printed(b, metric)


def ahead(a: str, b: str, *, metric: str = "test_top1", **named: str) -> Claim:
    """a has a higher accuracy than b, by the points between the two printed ones."""
    name = metric.removeprefix("best_")
    points = round(100 * (printed(a, name) - printed(b, name)), 2)
    return higher(a, b, metric=metric, points=points, **named)


def reproduced(
    rows: Iterable[Row], *, suffix: str = "", without: Collection[str] = ()
) -> tuple[Claim, ...]:
    """That each accuracy printed of these rows comes out again, give or take REPRODUCED.

    Args:
        suffix: the end of ids that other readings of the printed rows have, as in "000-A1T".
        without: rows of which no score is printed, but a limit.
    """
    return tuple(
        claim
        for row in rows
        if row.id not in without
        for claim in _scores(row, published_lines(row.id.removesuffix(suffix)))
    )


def worded(claims: Iterable[Claim], names: Mapping[str, str]) -> tuple[Claim, ...]:
    """The claims with names for the ids of rows in their texts."""
    return tuple(replace(claim, text=_worded(claim, names)) for claim in claims)


def _scores(row: Row, lines: Iterable[Mapping[str, Any]]) -> Iterator[Claim]:
    first: dict[str, Mapping[str, Any]] = {}  # what a conclusion rounds is no second claim
    for line in filter(_is_score, lines):
        best = "best_" if line["selection"] == "best" else ""
        first.setdefault(best + line["metric"], line)
    for metric, line in first.items():
        interval = interval_words(metric, line["value"], REPRODUCED)
        text = f"{_begin(row.title)}: a {label(metric)} of {interval}, as printed"
        yield within(row.id, line["value"], REPRODUCED, metric=metric, text=text,
                     id=f"printed: {row.id} ({metric})", sentence=line["sentence"])  # fmt: skip


def _is_score(line: Mapping[str, Any]) -> bool:
    """An accuracy that the report prints of a finished run."""
    finished = line["kind"] == "report" and line["selection"] != "during"
    return finished and fraction(line["metric"])


def _worded(claim: Claim, names: Mapping[str, str]) -> str:
    text = claim.text
    for row in sorted(claim.rows, key=len, reverse=True):  # 001-E10 before 001-E1
        text = text.replace(row, names.get(row, row))
    return _begin(text)


def _begin(text: str) -> str:
    return text[:1].upper() + text[1:]
