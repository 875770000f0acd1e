"""The five reports as data: each row with its recipes, each claim with the rows it needs."""

from __future__ import annotations

from labkit.errors import InputError, unknown
from labkit.reports import (
    hierarchical_cifar100,
    keras_vs_mbn,
    residual_attention,
    simplenet_resnext_wrn,
    tiny_imagenet_survey,
)
from labkit.reports.rows import PRESETS, Row, Study

_STUDIES = (
    hierarchical_cifar100,
    tiny_imagenet_survey,
    keras_vs_mbn,
    simplenet_resnext_wrn,
    residual_attention,
)
REPORTS: dict[str, Study] = {study.STUDY.name: study.STUDY for study in _STUDIES}

__all__ = ["PRESETS", "REPORTS", "Row", "Study", "find_row", "find_study"]


def find_study(name: str) -> Study:
    """A report by its name, its number or its notebook's name.

    Raises:
        InputError: no such report; the message names the nearest.
    """
    for study in REPORTS.values():
        if name in (study.name, study.id, study.notebook):
            return study
    raise InputError(unknown("report", name, list(REPORTS)))


def find_row(name: str) -> tuple[Study, Row]:
    """A row, and its report, by an id such as 002-M1.

    Raises:
        InputError: no such row; the message names the nearest.
    """
    rows = {row.id: (study, row) for study in REPORTS.values() for row in study.rows}
    if name not in rows:
        raise InputError(unknown("row", name, list(rows)))
    return rows[name]
