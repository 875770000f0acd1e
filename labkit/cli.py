"""The `labkit` command. Imports are made where they are used: `labkit rows` needs no Jupyter."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labkit import files
from labkit.errors import FAILED, INTERRUPTED, OK, TERMINATED, InputError, LabkitError
from labkit.parameters import PARAMETERS

STOPPED = "the same command goes on from the last checkpoint"


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where the program stands, so that it ends as tidily as after Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 all verified, 1 a run failed, 2 bad input, 3 data missing or wrong,
    130 interrupted, 143 terminated."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a locale without UTF-8 turns no word into an error
            stream.reconfigure(errors="backslashreplace")
    top = parser()
    arguments, arguments.more = top.parse_known_args(argv)
    if arguments.more and arguments.do is not run_bench:
        top.error(f"unrecognized arguments: {' '.join(arguments.more)}")
    try:
        with _raise_on_sigterm():
            return arguments.do(arguments) or OK
    except LabkitError as error:
        return _say(error, error.exit_code)
    except OSError as error:
        return _say(error, FAILED)
    except Terminated:
        return _say(f"terminated; {STOPPED}", TERMINATED)
    except KeyboardInterrupt:
        return _say(f"interrupted; {STOPPED}", INTERRUPTED)


@contextlib.contextmanager
def _raise_on_sigterm() -> Iterator[None]:
    """A scheduler's SIGTERM stops a command as Ctrl-C does; a notebook's runner sets its own."""

    def stop(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="labkit",
        description="Five reports on CNN image classification, reproduced.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do, text: str, parent=commands) -> argparse.ArgumentParser:
        made = parent.add_parser(name, help=text, description=text)
        made.set_defaults(do=do)
        return made

    new = command("models", show_models, "list the architectures, or show one layer by layer")
    new.add_argument("name", nargs="?", help="a model, such as mbn")
    new.add_argument("--classes", type=int, default=100, help="outputs (default 100)")
    new.add_argument("--size", type=int, help="height and width of an image (its report's own)")
    new.add_argument("--channels", type=int, help="of an image (3; 1 at size 28, as MNIST has)")
    new.add_argument("--json", action="store_true", help="print a JSON list")

    new = command("rows", show_rows, "list the experiments of the reports")
    new.add_argument("report", nargs="?", help="a report's name or number, such as 002")
    new.add_argument("--json", action="store_true", help="print a JSON list")

    new = command("train", train_row, "train one row of a report, or go on with it")
    new.add_argument("row", help="a row, such as 002-M1")
    _add_parameters(new)
    new.add_argument("--out", type=Path, help="also write the record into this folder")

    new = command(
        "sweep", sweep, "train every missing record of reports or rows, one after another"
    )
    new.add_argument("targets", nargs="*", help="reports or rows (default: all reports)")
    _add_parameters(new, preset="full")
    new.add_argument("--minutes", type=float, help="stop at the end of an epoch after so long")
    new.add_argument("--out", type=Path, help="folder of the records (default book/records)")
    new.add_argument("--dry-run", action="store_true", help="print what would be trained")
    new.add_argument("--optional", action="store_true", help="the controls and extra rows too")
    text = "train N rows side by side; their times are then a shared machine's"
    new.add_argument("-j", "--together", type=int, default=1, metavar="N", help=text)

    new = command("run", run_notebook, "run a notebook headless with papermill, and verify it")
    new.add_argument("notebook", help="a notebook's path or name, such as 03_keras_vs_mbn")
    new.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", dest="values",
                     help="a parameter, such as -p preset=lesson")  # fmt: skip
    new.add_argument("-o", "--out", help="the executed notebook (default build/runs/NAME.ipynb)")
    new.add_argument("--timeout", type=int, default=7200, help="seconds a cell may take (7200)")

    new = command("book", make_book, "run every notebook headless, then build the site")
    new.add_argument("--preset", default="smoke", help="smoke (default), lesson or full")
    new.add_argument("--allow-stale", action="store_true", help="mark stale records, do not fail")

    new = command("check", check, "verify the committed records against today's code")
    new.add_argument("--readme", action="store_true", help="and write the README's table from them")

    text = "time training against a student's loop, Keras, and the bare network"
    commands.add_parser("bench", help=text, add_help=False).set_defaults(do=run_bench)

    data = commands.add_parser("data", help="the data sets on this machine").add_subparsers(
        required=True, metavar="COMMAND"
    )
    command("list", data_list, "what is here, and where it came from", data)
    for name, text in (
        ("get", "download and verify the official archive"),
        ("add", "add a local copy: a folder or an archive, in any usual layout"),
        ("verify", "check the prepared sets against their digests"),
    ):
        new = command(name, globals()[f"data_{name}"], text, data)
        if name != "verify":
            new.add_argument("name", help="cifar10, cifar100 or tiny_imagenet")
        if name == "add":
            new.add_argument("path", type=Path)
    return top


def _add_parameters(new: argparse.ArgumentParser, **defaults: Any) -> None:
    """The notebooks' parameters as options; `lk.report` checks them."""
    for name, parameter in PARAMETERS.items():
        default = defaults.get(name, parameter.default)
        flag = f"--{name.replace('_', '-')}"
        if parameter.type is bool:
            new.add_argument(flag, action="store_true", help=parameter.help)
        else:
            text = f"{parameter.help} ({default})"
            new.add_argument(flag, default=default, help=text, metavar=name.upper())


def _session(name: str, arguments: argparse.Namespace):
    from labkit.session import Session

    return Session(name, **{key: getattr(arguments, key) for key in PARAMETERS})


def show_models(arguments: argparse.Namespace) -> None:
    from labkit.models import MODELS

    names = [arguments.name] if arguments.name else list(MODELS)
    if arguments.name and not arguments.json:
        print(_layer_table(arguments.name, arguments)[1])
        return
    listing = []
    for name in names:
        size, table = _layer_table(name, arguments)
        numbers = ("parameters", "trainable", "multiply_adds")
        listing.append(
            {"name": name, "classes": arguments.classes, "size": size}
            | {key: getattr(table, key) for key in numbers}
        )
    if arguments.json:
        print(json.dumps(listing, indent=1))
        return
    print(f"{'model':<24} {'parameters':>12} {'trainable':>12} {'multiply-adds':>16}")
    for row in listing:
        print(f"{row['name']:<24} {row['parameters']:>12,} {row['trainable']:>12,}"
              f" {row['multiply_adds']:>16,}")  # fmt: skip


def _layer_table(name: str, arguments: argparse.Namespace):
    """The size of an image, and the table of a network without memory for its weights."""
    import torch

    from labkit import models

    known = models.MODELS.get(name)
    size = arguments.size or (known.size if known else 32)
    channels = arguments.channels or (1 if size == 28 else 3)
    with torch.device("meta"):
        net = models.build(name, classes=arguments.classes, size=size, channels=channels)
    return size, models.summary(net, (channels, size, size))


def show_rows(arguments: argparse.Namespace) -> None:
    from labkit import compare
    from labkit.reports import PRESETS, REPORTS, find_report

    reports = [find_report(arguments.report)] if arguments.report else list(REPORTS.values())
    listing = [
        {
            "id": row.id,
            "report": report.name,
            "title": row.title,
            "homework": row.long,
            "recipe": {p: r.to_json() for p in PRESETS if (r := row.at(p))},
            "published": _published(compare.published(row.id)),
        }
        for report in reports
        for row in report.rows
    ]
    if arguments.json:
        print(json.dumps(listing, indent=1))
        return
    for row in listing:
        presets = ", ".join(row["recipe"])
        if row["homework"]:
            presets = presets.replace("lesson", "lesson beyond the class hour")
        print(f"{row['id']:<12} {row['report']:<24} {row['title']}  ({presets})")


def _published(table) -> list[dict[str, Any]]:
    columns = ["metric", "value", "unit", "selection", "kind", "table", "source"]
    return json.loads(table[columns].to_json(orient="records"))


def train_row(arguments: argparse.Namespace) -> None:
    from labkit import records
    from labkit.reports import find_row

    report, _ = find_row(arguments.row)
    session = _session(report.name, arguments)
    for run in session.runs(arguments.row):
        print(run.record)
        if arguments.out:
            records.claim(run.record, arguments.out / records.file_name(run.record))


def sweep(arguments: argparse.Namespace) -> int:
    from labkit.sweep.local import run_sweep

    if arguments.together < 1:
        raise InputError(f"--together is {arguments.together}; it must be at least 1")
    deadline = None if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    return run_sweep(
        arguments.targets,
        lambda name: _session(name, arguments),
        out=arguments.out,
        deadline=deadline,
        dry_run=arguments.dry_run,
        optional=arguments.optional,
        together=arguments.together,
    )


def run_notebook(arguments: argparse.Namespace) -> int:

    from labkit.runner.run import find, main_run

    notebook, out = find(arguments.notebook), arguments.out and Path(arguments.out)
    return main_run(notebook, arguments.values, out, timeout=arguments.timeout)


def make_book(arguments: argparse.Namespace) -> int:
    from labkit.book import site

    return site.book(preset=arguments.preset, allow_stale=arguments.allow_stale)


def check(arguments: argparse.Namespace) -> int:
    from labkit.book.stale import check_records

    code, records = check_records()
    if arguments.readme:
        from labkit.book.tables import update_readme

        update_readme(records)
    return code


def run_bench(arguments: argparse.Namespace) -> int:
    """The benchmarks belong to the checkout, not to the library, and read their own options."""
    folder = files.PACKAGE.parent / "benchmarks"
    if not folder.is_dir():
        raise InputError("the benchmarks are part of a checkout; this labkit was installed alone")
    sys.path.insert(0, str(folder))
    words = [word for word in arguments.more if word != "--rows"]
    script = importlib.import_module("speed" if words == arguments.more else "rows")
    return script.main(words)


def data_list(arguments: argparse.Namespace) -> None:
    from labkit import data

    rows = data.listing()
    for row in rows:
        counts = f"{row['train']:,} + {row['test']:,}" if row["train"] else ""
        print(f"{row['name']:<24} {row['state']:<10} {counts:<18} {row['source']}")


def data_get(arguments: argparse.Namespace) -> None:
    from labkit import data

    _print_set(data.load(arguments.name).card())


def data_add(arguments: argparse.Namespace) -> None:
    from labkit import data

    _print_set(data.add(arguments.name, arguments.path).card())


def _print_set(card: dict[str, Any]) -> None:
    whole = "complete" if card["complete"] else f"a subset of {card['published_train']:,}"
    print(
        f"{card['name']}: {card['train']:,} training images ({whole}), {card['test']:,} test images"
    )


def data_verify(arguments: argparse.Namespace) -> None:
    from labkit import data

    for line in data.verify():
        print(line)


def _say(message: object, code: int) -> int:
    print(f"labkit: {message}", file=sys.stderr)
    return code
