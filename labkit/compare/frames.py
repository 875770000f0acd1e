"""A data frame that a notebook shows whole."""

from __future__ import annotations

import pandas as pd


class Table(pd.DataFrame):
    """A data frame with every row and every word shown; pandas cuts cells after 50 characters."""

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def _repr_html_(self) -> str | None:
        with pd.option_context("display.max_colwidth", None, "display.max_rows", None):
            return super()._repr_html_()
