"""The five reports as data: each row with its recipes, each claim with the rows it needs."""

from __future__ import annotations

from collections.abc import Iterable

from labkit.errors import InputError, unknown
from labkit.reports import (
    hierarchical_cifar100,
    keras_vs_mbn,
    residual_attention,
    simplenet_resnext_wrn,
    tiny_imagenet_survey,
)
from labkit.reports.rows import PRESETS, Report, Row

_MODULES = (
    hierarchical_cifar100,
    tiny_imagenet_survey,
    keras_vs_mbn,
    simplenet_resnext_wrn,
    residual_attention,
)
REPORTS: dict[str, Report] = {report.REPORT.name: report.REPORT for report in _MODULES}

__all__ = ["PRESETS", "REPORTS", "Report", "Row", "find_report", "find_row", "find_rows"]


def find_report(name: str) -> Report:
    """A report by its name, its number or its notebook's name.

    Raises:
        InputError: no such report; the message names the nearest.
    """
    for report in REPORTS.values():
        if name in (report.name, report.id, report.notebook):
            return report
    names = [name for report in REPORTS.values() for name in (report.id, report.name)]
    raise InputError(unknown("report", name, names))


def find_rows(targets: Iterable[str] = (), *, optional: bool = False) -> list[tuple[Report, Row]]:
    """The rows that targets name, each with its report, in the order of the targets.

    A target is a row, or a report by name, number or notebook; none are all reports. Of a report
    the printed rows are meant, with `optional` its controls and extra rows as well.

    Raises:
        InputError: no such report or row; the message names the nearest.
    """
    rows: dict[str, tuple[Report, Row]] = {}
    for target in targets or REPORTS:
        if "-" in target:
            rows.setdefault(target, find_row(target))
            continue
        report = find_report(target)
        for row in report.rows:
            if optional or not row.optional:
                rows.setdefault(row.id, (report, row))
    return list(rows.values())


def find_row(name: str) -> tuple[Report, Row]:
    """A row, and its report, by an id such as 002-M1.

    Raises:
        InputError: no such row; the message names the nearest.
    """
    rows = {row.id: (report, row) for report in REPORTS.values() for row in report.rows}
    if name not in rows:
        raise InputError(unknown("row", name, list(rows)))
    return rows[name]
