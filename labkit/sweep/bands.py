"""Does today's code still train as well as the records? One more seed of a cheap row tells.

A fingerprint holds the first steps of a training; the band holds its end. It is the interval in
which one more run of a row lies in 99 of 100 cases, by its recorded seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from labkit import compare, records
from labkit.errors import FAILED, OK, InputError
from labkit.records import Record
from labkit.reports import REPORTS, Report, find_report
from labkit.session import Session

__all__ = ["LEAST", "cheapest", "check_bands"]

LEAST = 3  # recorded seeds from which a row has a band


def check_bands(targets: Sequence[str] = ()) -> int:
    """Train one more seed of each report's cheapest lesson row and hold it to the row's band.

    Prints a line a report. The exit code is OK when every run lies in its band.

    Args:
        targets: reports by name, number or notebook; none are all.

    Raises:
        InputError: no such report, one whose lessons have too few recorded seeds, or one whose
            real images are not here.
    """
    every = [record for record in records.recorded() if not record.synthetic]
    noise, outside = compare.Noise(every), 0
    for report in map(find_report, targets or REPORTS):
        runs = cheapest(report, every)
        session = Session(report.name, preset="lesson")
        if session.synthetic:
            raise InputError(
                f"the images of {report.dataset} are not here; labkit data get {report.dataset}"
            )
        outside += not _inside(session, runs, noise)
    print(f"{outside} outside" if outside else "all inside", file=sys.stderr)
    return FAILED if outside else OK


def cheapest(report: Report, every: Iterable[Record]) -> list[Record]:
    """The recorded lessons of the row that took the least time, among those with a band.

    Raises:
        InputError: no row has enough seeds.
    """
    lessons = {row.id: row.at("lesson") for row in report.rows}
    current = [
        record for record in every
        if record["preset"] == "lesson" and lessons.get(record["row"])
        and lessons[record["row"]].replace(seed=record["recipe"]["seed"]).digest == record["digest"]
    ]  # fmt: skip
    groups = [runs for runs in records.by_row(current).values() if len(runs) >= LEAST]
    if not groups:
        raise InputError(f"report {report.id} has no lesson with {LEAST} recorded seeds")
    return min(groups, key=lambda runs: compare.mean_and_spread([r["seconds"] for r in runs])[0])


def _inside(session: Session, runs: Sequence[Record], noise: compare.Noise) -> bool:
    """Train the next seed, say where it ends, and whether that is within the band."""
    row, metric = runs[0]["row"], "test_top1"
    scores = compare.measured(runs, metric)
    low, high = compare.band(scores, noise.pool(session.report.name, "lesson", metric))
    run = session.train(row, 1 + max(record["recipe"]["seed"] for record in runs))
    top1 = run.record["test"]["top1"]
    inside = low <= top1 <= high
    recorded = ", ".join(f"{100 * score:.1f}" for score in scores)
    print(
        f"{'inside ' if inside else 'OUTSIDE'} {row} seed {run.record['recipe']['seed']}:"
        f" {100 * top1:.1f} % (recorded {recorded} %; band {100 * low:.1f} to {100 * high:.1f} %)",
        flush=True,
    )
    return inside
