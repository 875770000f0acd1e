"""The `labkit` command. Imports are made where they are used: `labkit rows` needs no Jupyter."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import files
from labkit.classroom.commands import add_commands
from labkit.errors import FAILED, INTERRUPTED, OK, TERMINATED, InputError, LabkitError, unknown
from labkit.parameters import BY_HAND, PARAMETERS, Parameter

if TYPE_CHECKING:
    from labkit.models import Summary
    from labkit.reports import Report, Row
    from labkit.session import Session

__all__ = ["main", "number", "parser"]

TRACEBACK = "LABKIT_TRACEBACK"  # an environment variable, for who looks into labkit itself
ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
STOPPED = "the same command goes on from the last checkpoint"


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, raised where the program stands: it ends as tidily as after Ctrl-C."""


class Parser(argparse.ArgumentParser):
    """Takes no abbreviation: `--seed 3`, read as `--seeds 3`, would train three seeds."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code, which `labkit.errors` names."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a locale without UTF-8 turns no word into an error
            stream.reconfigure(errors="backslashreplace")
    arguments = _arguments(argv)
    try:
        with _tidy_ends():
            files.settle_homes()
            return arguments.do(arguments) or OK
    except LabkitError as error:
        return _say(error, error.exit_code)
    except OSError as error:
        return _say(error, FAILED)
    except Terminated:
        return _say(f"terminated; {STOPPED}", TERMINATED)
    except KeyboardInterrupt:
        return _say(f"interrupted; {STOPPED}", INTERRUPTED)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        kind = type(error).__name__
        return _say(f"unforeseen {kind}: {error} ({TRACEBACK}=1 shows where)", FAILED)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was asked for; the words that no option takes are the benchmarks' own, in `more`."""
    top = parser()
    arguments, arguments.more = top.parse_known_args(argv)
    if arguments.more and arguments.do is not run_bench:
        hint = "; a parameter is given as -p preset=lesson" if arguments.do is run_notebook else ""
        top.error(f"unrecognized arguments: {' '.join(arguments.more)}{hint}")
    return arguments


@contextlib.contextmanager
def _tidy_ends() -> Iterator[None]:
    """A scheduler's SIGTERM and a closed terminal's SIGHUP stop a command as Ctrl-C does.

    A notebook's runner sets its own. A SIGHUP that is ignored (nohup) stays ignored.
    """

    def stop(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ends = [end for end in ENDS if signal.getsignal(end) is not signal.SIG_IGN]
    before = {end: signal.signal(end, stop) for end in ends}
    try:
        yield
    finally:
        for end, handler in before.items():
            signal.signal(end, handler)


def _say(message: object, code: int) -> int:
    print(f"labkit: {message}", file=sys.stderr)
    return code


def parser() -> Parser:
    """The whole command line; each command is the function that runs it, told by its docstring."""
    top = Parser(prog="labkit", description="Five reports on CNN image classification, reproduced.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Callable, parent: Any = commands, **options: Any) -> Parser:
        new = parent.add_parser(name, help=do.__doc__, description=do.__doc__, **options)
        new.set_defaults(do=do)
        return new

    new = command("models", show_models)
    new.add_argument("name", nargs="?", help="a model, such as mbn")
    new.add_argument("--classes", type=number(1, 100_000), default=100, help="outputs (100)")
    text = "height and width of an image (its report's own)"
    new.add_argument("--size", type=number(1, 2048), help=text)
    text = "of an image (3; 1 at size 28, as MNIST has)"
    new.add_argument("--channels", type=number(1, 64), help=text)
    new.add_argument("--json", action="store_true", help="print a JSON list")

    new = command("rows", show_rows)
    new.add_argument("target", nargs="?", help="a report's name or number (002), or a row (002-M1)")
    new.add_argument("--json", action="store_true", help="print a JSON list")

    new = command("train", train_row)
    new.add_argument("row", help="a row, such as 002-M1")
    _add_parameters(new)
    new.add_argument("--out", type=Path, help="also write the record into this folder")

    new = command("sweep", sweep)
    new.add_argument("targets", nargs="*", help="reports or rows (default: all reports)")
    _add_parameters(new, preset="full")
    text = "stop at the end of an epoch after so long"
    new.add_argument("--minutes", type=number(0, 1e6, float), help=text)
    new.add_argument("--out", type=Path, help="folder of the records (default book/records)")
    new.add_argument("--dry-run", action="store_true", help="print what would be trained")
    new.add_argument("--optional", action="store_true", help="the controls and extra rows too")
    text = "train N rows side by side; their times are then a shared machine's"
    new.add_argument("-j", "--together", type=number(1, 256), default=1, metavar="N", help=text)

    new = command("run", run_notebook)
    new.add_argument("notebook", help="a notebook's path or name, or its report's (002)")
    text = "a parameter, such as -p preset=lesson"
    new.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", dest="values",
                     help=text)  # fmt: skip
    text = "the executed notebook (default build/runs/NAME.ipynb)"
    new.add_argument("-o", "--out", type=Path, help=text)
    text = "seconds a cell may take (7200)"
    new.add_argument("--timeout", type=number(1, 10**7), default=7200, help=text)

    new = command("book", make_book)
    new.add_argument("--preset", default="smoke", help="smoke (default), lesson or full")
    new.add_argument("--allow-stale", action="store_true", help="mark stale records, do not fail")

    new = command("check", check)
    new.add_argument("targets", nargs="*", help="of --bands: reports (default: all)")
    new.add_argument("--readme", action="store_true", help="and write the README's table from them")
    text = "train one more seed of each report's cheapest lesson, and hold it to the recorded ones"
    new.add_argument("--bands", action="store_true", help=text)

    command("bench", run_bench, add_help=False)

    new = commands.add_parser("class", help="Assignments for a class: hand out, check, grade.")
    add_commands(new.add_subparsers(required=True, metavar="COMMAND"),
                 lambda name, do, group: command(name, do, group))  # fmt: skip

    new = commands.add_parser("data", help="The data sets on this machine.")
    sets = new.add_subparsers(required=True, metavar="COMMAND")
    command("list", data_list, sets)
    command("verify", data_verify, sets)
    text = "cifar10, cifar100 or tiny_imagenet"
    command("get", data_get, sets).add_argument("name", help=text)
    new = command("add", data_add, sets)
    new.add_argument("name", help=text)
    new.add_argument("path", type=Path)
    return top


def number(low: float, high: float, kind: type = int) -> Callable[[str], float]:
    """Reads an option's number within limits, for argparse."""

    def read(text: str) -> float:
        try:
            return Parameter("it", kind, low=low, high=high).parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix("it=")) from error

    return read


def _add_parameters(new: Parser, **defaults: Any) -> None:
    """The notebooks' parameters as options; `lk.report` checks them."""
    for name, parameter in PARAMETERS.items():
        default = defaults.get(name, parameter.default)
        flag = f"--{name.replace('_', '-')}"
        if parameter.type is bool:
            new.add_argument(flag, action="store_true", help=parameter.help)
        else:
            text = f"{parameter.help} ({default})"
            new.add_argument(flag, default=default, help=text, metavar=name.upper())
    for name, parameter in BY_HAND.items():
        text = f"{parameter.help} ({parameter.default}; or {parameter.name})"
        new.add_argument(f"--{name}", help=text, metavar=name.upper())


def _session(name: str, arguments: argparse.Namespace) -> Session:
    from labkit.session import Session

    for option, parameter in BY_HAND.items():
        if (value := getattr(arguments, option)) is not None:
            os.environ[parameter.name] = str(parameter.parse(value))
    return Session(name, **{key: getattr(arguments, key) for key in PARAMETERS})


def show_models(arguments: argparse.Namespace) -> None:
    """List the architectures, or show one layer by layer."""
    from labkit.models import MODELS

    sizes = {name: arguments.size or model.size for name, model in MODELS.items()
             if arguments.name in (None, name)}  # fmt: skip
    if not sizes:
        raise InputError(unknown("model", arguments.name, MODELS))
    tables = {name: _layer_table(name, size, arguments) for name, size in sizes.items()}
    if arguments.name and not arguments.json:
        print(tables[arguments.name])
        return
    keys = ("parameters", "trainable", "multiply_adds")
    listing = [
        {"name": name, "classes": arguments.classes, "size": sizes[name]}
        | {key: getattr(table, key) for key in keys}
        for name, table in tables.items()
    ]
    if arguments.json:
        print(json.dumps(listing, indent=1))
        return
    print(f"{'model':<24} {'parameters':>12} {'trainable':>12} {'multiply-adds':>16}")
    for row in listing:
        print(f"{row['name']:<24} {row['parameters']:>12,} {row['trainable']:>12,}"
              f" {row['multiply_adds']:>16,}")  # fmt: skip


def _layer_table(name: str, size: int, arguments: argparse.Namespace) -> Summary:
    """Of a network that takes no memory for its weights."""
    import torch

    from labkit import models

    channels = arguments.channels or (1 if size == 28 else 3)
    with torch.device("meta"):
        net = models.build(name, classes=arguments.classes, size=size, channels=channels)
    return models.summary(net, (channels, size, size))


def show_rows(arguments: argparse.Namespace) -> None:
    """List the experiments of the reports, of one report, or one experiment."""
    from labkit.reports import find_rows

    pairs = find_rows([arguments.target] if arguments.target else [], optional=True)
    if arguments.json:
        print(json.dumps([_row(*pair) for pair in pairs], indent=1))
        return
    for report, row in pairs:
        presets = ", ".join(_recipes(row))
        if row.long:
            presets = presets.replace("lesson", "lesson beyond the class hour")
        print(f"{row.id:<12} {report.name:<24} {row.title}  ({presets})")


def _row(report: Report, row: Row) -> dict[str, Any]:
    from labkit import compare

    columns = ["metric", "value", "unit", "selection", "kind", "table", "source"]
    published = compare.published(row.id)[columns].to_json(orient="records")
    return {
        "id": row.id,
        "report": report.name,
        "title": row.title,
        "homework": row.long,
        "recipe": _recipes(row),
        "published": json.loads(published),
    }


def _recipes(row: Row) -> dict[str, Any]:
    from labkit.reports import PRESETS

    return {preset: recipe.to_json() for preset in PRESETS if (recipe := row.at(preset))}


def train_row(arguments: argparse.Namespace) -> None:
    """Train one row of a report, or go on with it."""
    from labkit import records
    from labkit.reports import find_row

    report, _ = find_row(arguments.row)
    if arguments.out:
        files.probe(arguments.out, "give another folder as --out")
    for run in _session(report.name, arguments).runs(arguments.row):
        print(run.record)
        if arguments.out:
            records.claim(run.record, arguments.out / records.file_name(run.record))


def sweep(arguments: argparse.Namespace) -> int:
    """Train every missing record of reports or rows, one after another."""
    from labkit.sweep.local import run_sweep

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
    """Run a notebook headless with papermill, and verify it."""
    from labkit.reports import REPORTS
    from labkit.runner.run import find, main_run

    aliases = {name: report.notebook for report in REPORTS.values()
               for name in (report.id, report.name)}  # fmt: skip
    notebook = find(arguments.notebook, aliases)
    return main_run(notebook, arguments.values, arguments.out, timeout=arguments.timeout)


def make_book(arguments: argparse.Namespace) -> int:
    """Run every notebook headless, then build the site."""
    from labkit.book import site

    return site.book(preset=arguments.preset, allow_stale=arguments.allow_stale)


def check(arguments: argparse.Namespace) -> int:
    """Verify the committed records against today's code, or today's training against them."""
    from labkit.book.stale import check_records

    if arguments.bands:
        from labkit.sweep.bands import check_bands

        return check_bands(arguments.targets)
    if arguments.targets:
        raise InputError("check looks at every record; only --bands takes reports")
    code, records = check_records()
    if arguments.readme:
        from labkit.book.tables import update_readme

        update_readme(records)
    return code


def run_bench(arguments: argparse.Namespace) -> int:
    """Time training against a student's loop, Keras, and the bare network."""
    # they belong to the checkout, not to the library, and read their own options
    folder = files.PACKAGE.parent / "benchmarks"
    if not folder.is_dir():
        raise InputError("the benchmarks are part of a checkout; this labkit was installed alone")
    sys.path.insert(0, str(folder))
    words = [word for word in arguments.more if word != "--rows"]
    script = importlib.import_module("speed" if words == arguments.more else "rows")
    return script.main(words)


def data_list(arguments: argparse.Namespace) -> None:
    """List what is here, and where it came from."""
    from labkit import data

    for row in data.listing():
        counts = f"{row['train']:,} + {row['test']:,}" if row["train"] else ""
        print(f"{row['name']:<24} {row['state']:<10} {counts:<18} {row['source']}")


def data_get(arguments: argparse.Namespace) -> None:
    """Download and verify the official archive."""
    from labkit import data

    _print_set(data.load(arguments.name).card())


def data_add(arguments: argparse.Namespace) -> None:
    """Add a local copy: a folder or an archive, in any usual layout."""
    from labkit import data

    _print_set(data.add(arguments.name, arguments.path).card())


def _print_set(card: dict[str, Any]) -> None:
    whole = "complete" if card["complete"] else f"a subset of {card['published_train']:,}"
    counts = f"{card['train']:,} training images ({whole}), {card['test']:,} test images"
    print(f"{card['name']}: {counts}")


def data_verify(arguments: argparse.Namespace) -> None:
    """Check the prepared sets against their digests."""
    from labkit import data

    for line in data.verify():
        print(line)
