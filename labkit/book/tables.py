"""Records, benchmarks and parameters as tables of the book, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from labkit import compare, records
from labkit.parameters import PARAMETERS
from labkit.records import Record
from labkit.reports import REPORTS, Report
from labkit.reports.hierarchical_cifar100 import RACES
from labkit.runner import document
from labkit.train.progress import clock

__all__ = [
    "benchmarks",
    "markdown",
    "parameter_table",
    "races",
    "report_list",
    "results",
    "summary",
]

LESSON = "recorded at lesson"


def results(found: Iterable[Record], stale: Mapping[str, str], shown: Collection[str] = ()) -> str:
    """The results page's tables: each report against its records, its claims, the records.

    Arguments:
        stale: path of each stale record, and why.
        shown: the notebooks that are pages of this book; they are linked to.
    """
    found = list(found)
    parts = []
    for report in REPORTS.values():
        parts += [f"## Report {report.id}: {report.title}"]
        if report.notebook in shown:
            parts += [f"Its page is [{report.notebook}](../notebooks/{report.notebook}.ipynb)."]
        parts += _report(report, [r for r in found if r["report"] == report.name], stale)
    return "\n\n".join(parts)


def summary(found: Iterable[Record]) -> str:
    """The README's table: each printed row that has a record, and its test accuracy.

    One number a row: its last epoch's where there is one, and the author's log before the report,
    whose tables have numbers in wrong places (report 004's ablation).
    """
    found, rows = list(found), []
    for report in REPORTS.values():
        full, lesson = (
            records.by_row(r for r in found if (r["report"], r["preset"]) == (report.name, preset))
            for preset in ("full", "lesson")
        )
        shown = [r for r in report.rows if not r.optional and r.id in {*full, *lesson}]
        titles = {row.id: row.title for row in shown}
        printed = compare.published(report=report.id)
        table = compare.table(titles, lesson, full, printed, ours=LESSON)
        table = table[table["key"] == "test_top1"]
        # the last epoch's rather than the best one's, what was logged rather than what was typed
        table = table.sort_values(["best", "logged"], ascending=[True, False], kind="stable")
        columns = ["row", "title", "published", "source", "recorded at full", LESSON]
        shown = table.drop_duplicates("row").sort_index()[columns]
        rows += shown.itertuples(index=False)
    head = ["row", "", "published", "where", "recorded at full", LESSON]
    return markdown(head, rows)


def races(found: Iterable[Record], stale: Mapping[str, str] = {}) -> str:
    """Time to an accuracy on CIFAR-100: our recorded runs, and what others have published."""
    ours = records.by_row(r for r in found if r["preset"] == "full" and not r.synthetic)
    head = ["aim", "network", "epochs", "on", "time", "ends at", "source"]
    lines = []
    for row, (percent, epochs) in RACES.items():
        aim = f"{percent} %"
        for record in ours.get(row, []):
            reached = "" if record["test"]["top1"] >= percent / 100 else ", **below**"
            mark = ", **stale**" * (str(record.path) in stale)
            lines.append(
                [aim, "ResNet-18, labkit", len(record["rows"]), _machine(record),
                 compare.Value("seconds", record["seconds"]),
                 f"{compare.Value('test_top1', record['test']['top1'])}{reached}",
                 f"row {row}{mark}"]
            )  # fmt: skip
        if row not in ours:
            lines.append([aim, "ResNet-18, labkit", epochs, "", "not run", "", f"row {row}"])
        table = compare.published(row)
        score = table[table["metric"] == "test_top1"].set_index("model")["value"]
        for line in table[table["metric"] == "seconds"].to_dict("records"):
            ran = "" if pd.isna(line["epochs"]) else int(line["epochs"])
            lines.append(
                [aim, line["model"], ran, line["note"], compare.Value("seconds", line["value"]),
                 compare.Value("test_top1", score[line["model"]]), _repository(line["source"])]
            )  # fmt: skip
    return markdown(head, lines, ["epochs", "time"])


def benchmarks(folder: Path) -> str:
    """What `labkit bench` last measured on each kind of device, from its files in `folder`."""
    paths = sorted(folder.glob("*.json"))
    measured = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    parts = [_benchmark(m) if "cases" in m else _row_times(m) for m in measured]
    return "\n\n".join(parts) or "Nothing has been measured yet."


def parameter_table() -> str:
    """The notebook parameters as a Markdown table, from the contract itself."""
    rows = [
        [f"`{p.name}`", p.type.__name__, f"`{p.default!r}`", p.allowed, p.help]
        for p in PARAMETERS.values()
    ]
    return markdown(["name", "type", "default", "takes", "meaning"], rows)


def report_list(sources: Iterable[Path]) -> str:
    """A link to each notebook's page, by the notebook's own title."""
    lines = []
    for source in sources:
        title = "".join(document.read_notebook(source)["cells"][0]["source"]).splitlines()[0]
        lines.append(f"- [{title.removeprefix('# ')}](../notebooks/{source.name})")
    return "\n".join(lines)


def markdown(head: list[str], rows: Iterable[Iterable[Any]], numbers: Collection[str] = ()) -> str:
    """A table; the columns named in `numbers` stand at the right."""
    lines = [head, ["-:" if name in numbers else "-" for name in head], *rows]
    return "\n".join("| " + " | ".join(_escape(str(c)) for c in line) + " |" for line in lines)


def _machine(record: Record) -> str:
    """Where a record was made, as far as its time depends on it."""
    device = record["device"]
    threads = f", {_counted(device['threads'], 'thread')}" if device["type"] == "cpu" else ""
    others = device.get("together", 1) - 1
    shared = f", beside {_counted(others, 'other training')}" if others else ""
    return f"{device['name']}{threads}{shared}"


def _repository(source: str) -> str:
    """A link to the repository that a source of published.csv begins with."""
    address = source.split()[0]
    return f"[{address.removeprefix('https://github.com/')}]({address})"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _benchmark(measured: Mapping[str, Any]) -> str:
    device, versions = measured["device"], measured["versions"]
    ways = [w for w in ("student", "keras", "labkit", "bare", "eager", "deterministic")
            if any(w in case["median"] for case in measured["cases"])]  # fmt: skip
    head = ["network", "batch", *ways, "TFLOP/s", "of peak"]
    speeds = [
        [
            f"`{case['model']}`", case["batch"],
            *(f"{case['median'][way]:,.0f}" if way in case["median"] else "" for way in ways),
            f"{case['flops'] / 1e12:.2f}", f"{100 * case['share_of_peak']:.0f} %",
        ]
        for case in measured["cases"]
    ]  # fmt: skip
    targets = [
        [
            f"`{case['model']}`", way, f"{case['ratios'][way]:.2f}", f"{target:.2f}",
            "met" if case["ratios"][way] >= target else "**missed**",
            f"{case['median']['bare'] / case['median'][way]:.2f}" if way in case["median"] else "",
        ]
        for case in measured["cases"]
        for way, target in case["targets"].items()
    ]  # fmt: skip
    return "\n\n".join(
        [
            f"## {device['name']}, {_engine(device)}",
            f"Images a second: medians of {measured['rounds']} rounds on"
            f" {measured['created'][:10]} with torch"
            f" {versions['torch']}. The peak is what one large matrix product reaches in the same"
            f" process: {measured['peak_flops'] / 1e12:.2f} TFLOP/s.",
            markdown(head, speeds, head[1:]),
            "How many times as fast labkit is, and how many times as fast the bare network is:"
            " on the same kernels no loop can go beyond that.",
            markdown(
                ["network", "as", "ratio", "target", "", "bare"],
                targets,
                ["ratio", "target", "bare"],
            ),
        ]
    )


def _row_times(measured: Mapping[str, Any]) -> str:
    """Times of every row at a preset, as `labkit bench --rows` found them."""
    device = measured["device"]
    sums: dict[str, float] = {}
    for line in measured["rows"]:
        sums[line["report"]] = sums.get(line["report"], 0) + line["seconds"]
    head = ["row", "", "images", "images a second", "TFLOP/s", "time"]
    lines = [
        [
            line["row"], line["title"], f"{line['images']:,}",
            f"{line['images'] / line['seconds']:,.0f}",
            f"{line['flop'] / line['seconds'] / 1e12:.2f}", clock(line["seconds"]),
        ]
        for line in measured["rows"]
    ]  # fmt: skip
    return "\n\n".join(
        [
            f"## Every row at preset {measured['preset']} on {device['name']}, {_engine(device)}",
            f"Extrapolated from a few timed steps of each network on {measured['created'][:10]}"
            f" with torch {measured['versions']['torch']}: training alone, without scoring, one"
            " row after another and one seed each. The rows that the reports print come to"
            f" {clock(60 * measured['minutes'])}.",
            markdown(["report", "all its rows"], ((t, clock(s)) for t, s in sums.items()),
                     ["all its rows"]),
            markdown(head, lines, head[2:]),
        ]
    )  # fmt: skip


def _engine(device: Mapping[str, Any]) -> str:
    threads = f"{_counted(device['threads'], 'thread')}, " if device["type"] == "cpu" else ""
    return f"{threads}{device['precision']}"


def _report(report: Report, found: list[Record], stale: Mapping[str, str]) -> list[str]:
    fresh = [r for r in found if str(r.path) not in stale]  # the others are in the list alone
    full = records.by_row(r for r in fresh if r["preset"] == "full")
    lesson = records.by_row(r for r in fresh if r["preset"] == "lesson")
    titles = {row.id: row.title for row in report.rows}
    printed = compare.published(report=report.id)
    table = compare.table(titles, lesson, full, printed, ours=LESSON)
    table = table.drop(columns=compare.KEYS)
    table.loc[table["row"].duplicated(), ["row", "title"]] = ""  # said once, above

    def verdict(claim: compare.Claim) -> pd.DataFrame:
        used = full if set(claim.rows) <= set(full) else lesson
        return compare.verdicts([claim], used, report.shares(used))

    verdicts = pd.concat(map(verdict, report.claims))
    return [
        markdown(list(table.columns), table.itertuples(index=False)),
        f"### Claims of report {report.id}",
        markdown(list(verdicts.columns), verdicts.itertuples(index=False)),
        f"### Records of report {report.id}",
        _record_table(found, stale) if found else "There are none yet.",
    ]


def _record_table(found: list[Record], stale: Mapping[str, str]) -> str:
    head = ["row", "preset", "seed", "test top-1", "training images", "epochs", "device", "torch",
            "made", "state"]  # fmt: skip
    rows = [
        [
            record["row"],
            record["preset"],
            record["recipe"]["seed"],
            f"{100 * record['test']['top1']:.2f} %",
            f"{record['details']['train_images']:,}",
            len(record["rows"]),
            record["device"]["name"],
            record["versions"]["torch"],
            record["created"][:10],
            "SYNTHETIC" if record.synthetic else stale.get(str(record.path)) or "fresh",
        ]
        for record in found
    ]
    return markdown(head, rows)


def _escape(text: str) -> str:
    """A table cell: no new column, no new line."""
    return text.replace("|", "\\|").replace("\n", " ")
