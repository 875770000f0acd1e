"""What `labkit bench` has measured as tables of the book, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from labkit.book.tables import counted, markdown
from labkit.train.progress import clock

__all__ = ["measurements", "row_times", "speeds"]

WAYS = (
    "student", "keras", "labkit", "bare", "bare fp32", "bare bf16", "eager", "deterministic",
    "compiled",
)  # fmt: skip
SPEEDS = (
    "Images a second: medians of {rounds} rounds on {date} with torch {torch}. The peak is what one"
    " large matrix product reaches in the same process: {peak:.2f} TFLOP/s."
)
RATIOS = (
    "How many times as fast labkit is, and how many times as fast the bare network is: on the same"
    " kernels no loop can go beyond that."
)
TIMES = (
    "Extrapolated from a few timed steps of each network on {date} with torch {torch}: training"
    " alone, without scoring, one row after another and one seed each. The rows that the reports"
    " print come to {time}."
)


def measurements(folder: Path) -> str:
    """The last measurements on each kind of device, from the benchmarks' files in `folder`."""
    paths = sorted(folder.glob("*.json"))
    contents = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    parts = [speeds(each) if "cases" in each else row_times(each) for each in contents]
    return "\n\n".join(parts) or "Nothing has been measured yet."


def speeds(measurement: Mapping[str, Any]) -> str:
    """The networks' speeds on one device, and the ratios between the ways of training them."""
    cases = measurement["cases"]
    ways = [way for way in WAYS if any(way in case["median"] for case in cases)]
    if "bare fp32" in ways:  # `bare` is the faster of the two
        ways.remove("bare")
    head = ["network", "batch", *ways, "TFLOP/s", "of peak"]
    ratios = ["network", "as", "ratio", "target", "", "bare"]
    text = SPEEDS.format(
        rounds=measurement["rounds"], peak=measurement["peak_flops"] / 1e12, **_date(measurement)
    )
    return "\n\n".join(
        [
            f"## {_device(measurement['device'])}",
            text,
            markdown(head, (_speed(case, ways) for case in cases), head[1:]),
            RATIOS,
            markdown(ratios, _ratios(cases), ["ratio", "target", "bare"]),
        ]
    )


def row_times(measurement: Mapping[str, Any]) -> str:
    """The time of every row at a preset on one device, as `labkit bench --rows` extrapolates it."""
    rows, preset = measurement["rows"], measurement["preset"]
    sums: dict[str, float] = {}
    for row in rows:
        sums[row["report"]] = sums.get(row["report"], 0) + row["seconds"]
    totals = [(report, clock(seconds)) for report, seconds in sums.items()]
    head = ["row", "", "images", "images a second", "TFLOP/s", "time"]
    return "\n\n".join(
        [
            f"## Every row at preset {preset} on {_device(measurement['device'])}",
            TIMES.format(time=clock(60 * measurement["minutes"]), **_date(measurement)),
            markdown(["report", "all its rows"], totals, ["all its rows"]),
            markdown(head, map(_row, rows), head[2:]),
        ]
    )


def _speed(case: Mapping[str, Any], ways: Iterable[str]) -> list[str]:
    median = case["median"]
    return [
        f"`{case['model']}`",
        case["batch"],
        *(f"{median[way]:,.0f}" if way in median else "" for way in ways),
        f"{case['flops'] / 1e12:.2f}",
        f"{100 * case['share_of_peak']:.0f} %",
    ]


def _ratios(cases: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Each way's ratio to labkit beside its target and beside the bare network's."""
    for case in cases:
        median = case["median"]
        for way, target in case["targets"].items():
            ratio = case["ratios"][way]
            verdict = "met" if ratio >= target else "**missed**"
            bare = f"{median['bare'] / median[way]:.2f}" if way in median else ""
            yield [f"`{case['model']}`", way, f"{ratio:.2f}", f"{target:.2f}", verdict, bare]


def _row(row: Mapping[str, Any]) -> list[str]:
    images, seconds = row["images"], row["seconds"]
    speed, work = f"{images / seconds:,.0f}", f"{row['flop'] / seconds / 1e12:.2f}"
    return [row["row"], row["title"], f"{images:,}", speed, work, clock(seconds)]


def _date(measurement: Mapping[str, Any]) -> dict[str, str]:
    return {"date": measurement["created"][:10], "torch": measurement["versions"]["torch"]}


def _device(device: Mapping[str, Any]) -> str:
    threads = f"{counted(device['threads'], 'thread')}, " if device["type"] == "cpu" else ""
    return f"{device['name']}, {threads}{device['precision']}"
