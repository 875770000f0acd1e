"""From notebooks to a site: execute what changed, check the records, build strictly, then swap.

Everything is made below book/_build: `executed` keeps the verified notebooks, each with the key of
what it was made from; `source` is what the builder reads; `html` is the site, replaced only by one
that was built whole. The builder itself executes nothing.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkit import files, parameters
from labkit.book import keys, page, tables
from labkit.book.builder import alone, build_site, repository, restore, stage, swap
from labkit.errors import FAILED, INTERRUPTED, OK, TERMINATED, InputError
from labkit.records import Record, recorded
from labkit.runner import contract, document
from labkit.runner.run import RunResult, run

__all__ = ["ROOT", "book"]

ROOT = files.PACKAGE.parent
LIMITS = {"smoke": 600.0, "lesson": 3600.0, "full": 86_400.0}  # seconds for one cell


def book(preset: str = "smoke", allow_stale: bool = False, root: Path = ROOT) -> int:
    """`labkit book`: run every notebook whose inputs changed, then build the site.

    Returns an exit code: that of the first notebook that failed; FAILED for a stale record or a
    warning of the builder. The site stays as it was unless everything went well.

    Raises:
        InputError: an unknown preset, or no notebooks.
    """
    parameters.check({"preset": preset})
    sources = sorted((root / "notebooks").glob("*.ipynb"))
    if not sources:
        raise InputError(f"there is no notebook in {root / 'notebooks'}; run this in a checkout")
    build = root / "book" / "_build"
    with alone(build):
        restore(build / "html")
        return _book(sources, build, root, preset, allow_stale)


def _book(sources: Sequence[Path], build: Path, root: Path, preset: str, allow_stale: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="labkit-smoke-") as runs:
        # smoke's runs are worth nothing once its page is made
        environment = {"LABKIT_RUNS": runs} if preset == "smoke" else {}
        results = dict(_execute(sources, build / "executed", preset, root, environment))
    code = next((result.exit_code for result in results.values() if not result.ok), OK)
    code = code or _publish(sources, build, root, allow_stale)
    _print_table(results)
    if code:
        print("the site was not replaced", file=sys.stderr)
    else:
        print(f"open {build / 'html' / 'index.html'}")
    return code


def _execute(
    sources: Iterable[Path],
    folder: Path,
    preset: str,
    root: Path,
    environment: Mapping[str, str] = {},
) -> Iterator[tuple[str, RunResult]]:
    """Run what has to be run, by the notebook's name, and stop at an interrupt."""
    shared = keys.environment_key(root)
    for source in sources:
        out = folder / source.name
        try:
            result = _result(source, out, preset, shared, environment)
        except InputError as error:
            print(f"{source.name}: {error}", file=sys.stderr)
            result = RunResult("bad input", error.exit_code, str(error), 0.0, 0.0, out)
        yield source.stem, result
        if result.exit_code in (INTERRUPTED, TERMINATED):
            return


def _result(
    source: Path, out: Path, preset: str, shared: str, environment: Mapping[str, str]
) -> RunResult:
    """Run one notebook, unless it was run with the same code, parameters and surroundings."""
    values = {"preset": preset} if "preset" in contract.declared(source) else {}
    key, note = keys.notebook_key(source, values, shared), out.with_suffix(".json")
    earlier = _note(note, out)
    if earlier.get("key") == key:
        cost = earlier["seconds"], earlier["peak_memory_mb"]
        return RunResult("unchanged", OK, "unchanged", *cost, out)
    limit = LIMITS[preset]
    result = run(source, out, values, timeout=limit, environment=environment, expect=page.complaint)
    if result.ok:
        cost = {"seconds": result.seconds, "peak_memory_mb": result.peak_memory_mb}
        files.write_atomic(note, json.dumps({"key": key, **cost}))
    return result


def _publish(sources: Sequence[Path], build: Path, root: Path, allow_stale: bool) -> int:
    """Build the site, unless the last one was built from the same."""
    key = keys.site_key(sources, build, root, str(allow_stale), repository(root))
    html, mark = build / "html", build / "site.key"
    if (html / "index.html").is_file() and keys.holds(mark, key):
        return OK
    records = recorded(folder=root / "book" / "records")
    stale = _stale(records, build)
    for path, reason in stale.items():
        print(f"stale record {Path(path).name}: {reason}", file=sys.stderr)
    if stale and not allow_stale:
        print("train those rows again, or publish them marked: --allow-stale", file=sys.stderr)
        return FAILED
    made = {
        "results": tables.results(records, stale, [source.stem for source in sources]),
        "races": tables.races(records, stale),
        "summary": tables.summary(records, stale),
    }
    stage(sources, build, root, made)
    new = build_site(build)
    if new is None:
        return FAILED
    mark.unlink(missing_ok=True)
    swap(new, html)
    shutil.rmtree(build / "site")
    files.write_atomic(mark, key)
    return OK


def _stale(records: Sequence[Record], build: Path) -> dict[str, str]:
    """Path of each stale record with its reason; known until a record or the training changes."""
    key, cache = keys.stale_key(record.path for record in records), build / "stale.json"
    verdicts = files.read_json(cache)
    if verdicts.get("key") != key:
        from labkit.book.stale import stale_records  # needs torch, and seconds

        verdicts = {"key": key, "stale": stale_records(records)}
        files.write_atomic(cache, json.dumps(verdicts))
    return verdicts["stale"]


def _print_table(results: Mapping[str, RunResult]) -> None:
    width = max(map(len, ("notebook", *results)))
    print(f"\n{'notebook':<{width}}  {'status':<12} {'seconds':>8}  {'peak memory':>11}")
    for name, result in results.items():
        memory = f"{result.peak_memory_mb:,.0f} MB"
        print(f"{name:<{width}}  {result.status:<12} {result.seconds:>8.1f}  {memory:>11}")


def _note(note: Path, out: Path) -> dict[str, Any]:
    """What was noted of an executed notebook; nothing when either file is missing or damaged."""
    try:
        document.read_notebook(out)
    except InputError:
        return {}
    return files.read_json(note)
