"""What every figure shares: its style, its alternative text, and how a notebook shows it."""

from __future__ import annotations

import contextlib
import functools
import io
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkit.compare.evidence import FULL, Evidence, budget, caption
from labkit.reports import REPORTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS", "HATCHES", "INK", "LINES", "SOFT", "alt", "as_records", "heading", "in_words",
    "libraries", "marker", "name", "names", "of_records", "percent", "plain_digits", "png",
    "row_title", "show", "span", "sub", "theme", "titled", "with_alt", "word",
]  # fmt: skip

SHORTEST = 30  # characters of an alternative text
DPI = 120
INK, SOFT, PAPER = "#222222", "#6b6b6b", "#ffffff"
# Okabe and Ito (2008), safe for every common colour blindness; yellow is left out on white
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#222222")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "xx")
STYLE = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "savefig.transparent": False,
    "figure.constrained_layout.use": True,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "grid.color": "#e3e3e3",
}


def libraries() -> tuple[Any, Any]:
    """matplotlib.pyplot and seaborn, imported when the first figure is drawn.

    Raises:
        ImportError: one of them is missing; the message names the extra that brings them.
    """
    try:
        import matplotlib.pyplot as plt
        import seaborn as sns
    except ImportError as error:
        raise ImportError(
            f"figures need seaborn, which is not installed ({error});"
            " install it with: pip install 'labkit[book]'"
        ) from error
    return plt, sns


@contextlib.contextmanager
def theme() -> Iterator[Any]:
    """Draw in the book's style; matplotlib's own settings are back afterwards. Yields pyplot."""
    plt, sns = libraries()
    base = {**sns.axes_style("whitegrid"), **sns.plotting_context("notebook")}
    with plt.rc_context({**base, **STYLE}):
        yield plt


def with_alt(figure: Figure, text: str) -> Figure:
    """The figure with its alternative text.

    Raises:
        ValueError: the text is shorter than 30 characters.
    """
    text = " ".join(text.split())
    if len(text) < SHORTEST:
        raise ValueError(f"the alternative text {text!r} is too short; say what the figure shows")
    figure.set_label(text)
    plt, _ = libraries()
    plt.close(figure)  # else an inline backend would draw it once more, without its text
    return figure


def alt(figure: Figure) -> str:
    """The alternative text of a figure of this room."""
    return figure.get_label()


def png(figure: Figure) -> bytes:
    """The figure as PNG on opaque white."""
    buffer = io.BytesIO()
    with theme():  # ticks are made when the figure is drawn, in the style of that moment
        figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def show(figure: Figure) -> None:
    """Display the figure in a notebook, its alternative text in the output's metadata."""
    from IPython.display import display

    data = {"image/png": png(figure), "text/plain": alt(figure)}
    display(data, raw=True, metadata={"image/png": {"alt": alt(figure)}})


def of_records(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """A figure of records; where the evidence has none, it says so in words."""

    @functools.wraps(draw)
    def figure(records: Any, *args: Any, **options: Any) -> Figure:
        if isinstance(records, Evidence) and not records:
            rows = ", ".join(map(row_title, records.untested)) or "any row"
            return in_words(f"No record yet of {rows}")
        return draw(records, *args, **options)

    return figure


def in_words(text: str) -> Figure:
    """A figure that says in words that there is nothing to draw."""
    with theme() as plt:
        figure, axes = plt.subplots(figsize=(8.0, 1.2))
        axes.axis("off")
        axes.set_title(textwrap.fill(text, 85), fontsize=12, loc="left")
    return with_alt(figure, f"{text}: nothing is drawn.")


def as_records(records: Any) -> list[Mapping[str, Any]]:
    """One record or run, or several, as a list of records.

    Raises:
        ValueError: there is none.
    """
    several = isinstance(records, Sequence) and not isinstance(records, Mapping)
    records = [getattr(each, "record", each) for each in (records if several else [records])]
    if not records:
        raise ValueError("there is no record to draw; train a row first")
    return records


def name(record: Mapping[str, Any]) -> str:
    """What a legend calls a record: its row's title, or the model of a run that has no row."""
    return row_title(record["row"]) or record["recipe"]["model"]


def names(records: Sequence[Mapping[str, Any]], *, seeds: bool = True) -> list[str]:
    """Legend names; what was not run at the report's own budget says so, unless nothing was.

    Args:
        records: what the legend is of.
        seeds: whether the seed is told where a row occurs twice.
    """
    plain, budgets = [name(record) for record in records], [budget(record) for record in records]
    if len(set(budgets)) > 1:
        marks = ["" if kind == FULL else f" ({kind})" for kind in budgets]
        plain = [one + mark for one, mark in zip(plain, marks, strict=True)]
    return [
        f"{one}, seed {record['recipe']['seed']}" if seeds and plain.count(one) > 1 else one
        for one, record in zip(plain, records, strict=True)
    ]


def titled(text: str, records: Sequence[Mapping[str, Any]]) -> str:
    """A figure's name with what its records are, as its alternative text begins."""
    return f"{text}, {caption(records)}"


def sub(text: str, records: Sequence[Mapping[str, Any]], inches: float) -> str:
    """A title, and below it what the records are, in lines that fit a figure of this width."""
    lines = (textwrap.fill(part, round(9.5 * inches)) for part in (text, caption(records)))
    return "\n".join(lines)


def span(shares: Sequence[float]) -> str:
    """One share, or the lowest and the highest of several: "61.2 %" or "60.1 % to 62.3 %"."""
    ends = list(dict.fromkeys(map(percent, (min(shares), max(shares)))))
    return " to ".join(ends)


def row_title(row: str) -> str:
    """The title of a row of the reports; any other name as it is."""
    return _titles().get(row, row)


@functools.cache
def _titles() -> dict[str, str]:
    return {row.id: row.title for report in REPORTS.values() for row in report.rows}


def heading(text: str, synthetic: bool) -> str:
    """A title that says so where the data are synthetic."""
    return f"{text} (synthetic data)" if synthetic else text


def marker(index: int) -> str:
    """A marker that, with the colour of the same index, does not come again for 49 lines."""
    return MARKERS[(index + index // 7) % 7]


def percent(share: float) -> str:
    """A share in percent with one decimal: "61.2 %"."""
    return f"{100 * share:.1f} %"


def word(name: str) -> str:
    """A class as a reader knows it: "willow tree"."""
    return str(name).replace("_", " ")


def plain_digits(axes: Axes, *, log: bool) -> None:
    """An x axis in plain digits, or in k, M and G; a log one at 1, 2 and 5."""
    from matplotlib import ticker

    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.minorticks_off()
    millions = max(axes.get_xlim()) >= 1e6
    plain = ticker.EngFormatter() if millions else ticker.StrMethodFormatter("{x:,.6g}")
    axes.xaxis.set_major_formatter(plain)
    axes.tick_params(axis="x", rotation=30)
