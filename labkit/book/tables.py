"""Records, reports and parameters as tables of the book, in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from labkit import compare, files, records
from labkit.compare.values import EXACT
from labkit.parameters import PARAMETERS
from labkit.records import Record
from labkit.reports import REPORTS, Report
from labkit.reports.hierarchical_cifar100 import RACES
from labkit.runner import document

__all__ = [
    "counted",
    "markdown",
    "parameter_table",
    "races",
    "report_list",
    "results",
    "summary",
    "update_readme",
]

MARKS = "<!-- made by labkit check --readme -->", "<!-- end -->"


def results(every: Iterable[Record], stale: Mapping[str, str], pages: Collection[str] = ()) -> str:
    """The results page's tables: each report against its records, its claims, the records.

    Args:
        every: the records of all reports.
        stale: path of each stale record, and why.
        pages: the notebooks that are pages of this book; they are linked to.
    """
    every, parts = list(every), []
    noise = compare.Noise(record for record in every if str(record.path) not in stale)
    for report in REPORTS.values():
        parts += [f"## Report {report.id}: {report.title}"]
        if report.notebook in pages:
            parts += [f"Its page is [{report.notebook}](../notebooks/{report.notebook}.ipynb)."]
        parts += _report(report, [r for r in every if r["report"] == report.name], stale, noise)
    return "\n\n".join(parts)


def summary(found: Iterable[Record], stale: Mapping[str, str] = {}) -> str:
    """What stands: the decided claims of all reports, then the rows with a record at full.

    Claims about sizes, which need no training, are counted and not listed.
    """
    found = [r for r in found if not r.synthetic and str(r.path) not in stale]
    noise, findings, rows, counts = compare.Noise(found), [], [], Counter()
    for report in REPORTS.values():
        own = records.by_row(r for r in found if r["report"] == report.name)
        for claim in report.claims:
            verdict = compare.judge(claim, own, noise)
            kind = "size" if claim.metric in EXACT else verdict.verdict
            counts[kind, verdict.verdict] += 1
            if kind not in ("size", "untested"):
                findings += [[report.id, claim.text, verdict, verdict.evidence]]
        rows += _full_rows(report, own)
    sizes = counted(counts["size", "holds"], "claim")
    return "\n\n".join([
        markdown(["report", "claim", "what stands", "how well founded"], findings),
        f"Besides, {sizes} about the sizes of networks hold and {counts['size', 'fails']} fail;"
        f" {counts['untested', 'untested']} claims are untested, for no run at the budget that they"
        " ask for has been made.",
        markdown(["row", "", "published", "where", "at full", "gap"], rows),
    ])  # fmt: skip


def _full_rows(report: Report, own: Mapping[str, list[Record]]) -> Iterator[list[Any]]:
    """A line for each row with a record at the report's own budget: its test accuracy.

    Of several published ones, the last epoch's before the best one's, and what the author logged
    before what the report prints, whose tables have numbers in wrong places (004's ablation).
    """
    titles = {row.id: row.title for row in report.rows}
    table = compare.table(titles, own, compare.published(report=report.id))
    table = table[(table["key"] == "test_top1") & (table["at full"] != "")]
    table = table.sort_values(["best", "logged"], ascending=[True, False], kind="stable")
    columns = ["row", "title", "published", "source", "at full", "gap"]
    yield from table.drop_duplicates("row").sort_index()[columns].itertuples(index=False)


def races(every: Iterable[Record], stale: Mapping[str, str] = {}) -> str:
    """Time to an accuracy on CIFAR-100: our recorded runs, and what others have published."""
    ours = records.by_row(r for r in every if r["preset"] == "full" and not r.synthetic)
    head = ["aim", "network", "epochs", "on", "time", "ends at", "source"]
    lines = []
    for row, (percent, epochs) in RACES.items():
        runs = [_own_race(record, percent / 100, stale) for record in ours.get(row, [])]
        absent = ["ResNet-18, labkit", epochs, "", "not run", "", f"row {row}"]
        races = [*(runs or [absent]), *_published_races(row)]
        lines += [[f"{percent} %", *race] for race in races]
    return markdown(head, lines, ["epochs", "time"])


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


def update_readme(every: Iterable[Record], root: Path = files.PACKAGE.parent) -> None:
    """Put the table of these records between the README's two marks."""
    path = root / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    files.write_atomic(path, f"{before}{MARKS[0]}\n{summary(every)}\n{MARKS[1]}{after}")


def markdown(head: list[str], rows: Iterable[Iterable[Any]], numbers: Collection[str] = ()) -> str:
    """A table; the columns named in `numbers` stand at the right."""
    lines = [head, ["-:" if name in numbers else "-" for name in head], *rows]
    return "\n".join("| " + " | ".join(_escape(str(c)) for c in line) + " |" for line in lines)


def counted(number: int, thing: str) -> str:
    """1, "thread" -> "1 thread"; 2 -> "2 threads"."""
    return f"{number} {thing}{'s' * (number != 1)}"


def _own_race(record: Record, aim: float, stale: Mapping[str, str]) -> list[Any]:
    time = compare.Value("seconds", record["seconds"])
    top1 = compare.Value("test_top1", record["test"]["top1"])
    end = f"{top1}{'' if top1.value >= aim else ', **below**'}"
    source = f"row {record['row']}{', **stale**' * (str(record.path) in stale)}"
    return ["ResNet-18, labkit", len(record["rows"]), _machine(record), time, end, source]


def _published_races(row: str) -> Iterator[list[Any]]:
    table = compare.published(row)
    scores = table[table["metric"] == "test_top1"].set_index("model")["value"]
    for line in table[table["metric"] == "seconds"].to_dict("records"):
        epochs = "" if pd.isna(line["epochs"]) else int(line["epochs"])
        time = compare.Value("seconds", line["value"])
        end = compare.Value("test_top1", scores[line["model"]])
        yield [line["model"], epochs, line["note"], time, end, _repository(line["source"])]


def _machine(record: Record) -> str:
    """Where a record was made, as far as its time depends on it."""
    device = record["device"]
    threads = f", {counted(device['threads'], 'thread')}" if device["type"] == "cpu" else ""
    others = device.get("together", 1) - 1
    company = f", beside {counted(others, 'other training')}" if others else ""
    return f"{device['name']}{threads}{company}"


def _repository(source: str) -> str:
    """A link to the repository that a source of published.csv begins with."""
    address = source.split()[0]
    return f"[{address.removeprefix('https://github.com/')}]({address})"


def _report(
    report: Report, found: list[Record], stale: Mapping[str, str], noise: compare.Noise
) -> list[str]:
    fresh = records.by_row(r for r in found if str(r.path) not in stale)  # stale ones are listed
    titles = {row.id: row.title for row in report.rows}
    table = compare.table(titles, fresh, compare.published(report=report.id))
    table = table.drop(columns=compare.KEYS)
    table.loc[table["row"].duplicated(), ["row", "title"]] = ""  # said once, above
    lessons = compare.lessons(report.claims, titles, {}, fresh, noise)
    planned = compare.planned(titles, {}, fresh).reset_index()
    verdicts = compare.verdicts(report.claims, fresh, noise)
    parts = {"": table, "Claims": verdicts, "Lessons": lessons, "Planned rows": planned}
    lines = []
    for name, one in parts.items():
        lines += [f"### {name} of report {report.id}"] * bool(name)
        lines += [_frame(one) if len(one) else "Nothing yet."]
    lines += [f"### Records of report {report.id}"]
    return [*lines, _record_table(found, stale) if found else "There are none yet."]


def _frame(table: pd.DataFrame) -> str:
    return markdown(list(table.columns), table.itertuples(index=False))


def _record_table(records: Iterable[Record], stale: Mapping[str, str]) -> str:
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
        for record in records
    ]
    return markdown(head, rows)


def _escape(text: str) -> str:
    """A table cell: no new column, no new line, and no HTML of a record's."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("|", "\\|").replace("\n", " ")
