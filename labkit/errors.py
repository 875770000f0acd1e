"""What can go wrong: every exception of labkit, its exit code, and the sentence on a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "OK",
    "TERMINATED",
    "DataError",
    "DeviceError",
    "InputError",
    "LabkitError",
    "OutOfTimeError",
    "RecordError",
    "TrainingError",
    "exit_code",
    "nearest",
    "unknown",
]

MEANT = {"gpu": "cuda"}  # what people call what is known by another name
# exit codes of every command; those of the exceptions stand with them
OK, FAILED, INTERRUPTED, TERMINATED = 0, 1, 130, 143


class LabkitError(Exception):
    """What labkit itself raises: the message is a sentence for whoever asked."""

    exit_code = FAILED


class InputError(LabkitError, ValueError):
    """What was asked for cannot be done as asked: the message says what, why and what can."""

    exit_code = 2


class DataError(LabkitError, RuntimeError):
    """Data that is missing, damaged or not what it should be."""

    exit_code = 3


class RecordError(LabkitError, RuntimeError):
    """A record file that cannot be trusted; the message names the file and the reason."""


class TrainingError(LabkitError, RuntimeError):
    """Training cannot go on (a loss that is not finite, no memory left); no record is written."""


class DeviceError(TrainingError):
    """The GPU failed; this process can use it no more."""


class OutOfTimeError(LabkitError, RuntimeError):
    """The deadline passed at the end of an epoch; the same call goes on from there."""


def exit_code(exception: str) -> int:
    """The exit code of an exception of labkit, by its class name; FAILED for any other."""
    known = globals().get(exception)
    return known.exit_code if isinstance(known, type) and issubclass(known, LabkitError) else FAILED


def nearest(name: str, known: Iterable[str]) -> str:
    """A question: which of the known names a wrong one may have meant; empty if none is near."""
    plain: dict[str, str] = {}
    for each in known:
        plain.setdefault(_plain(each), each)
    wanted = MEANT.get(_plain(name[:100]), _plain(name[:100]))
    near = [wanted] if wanted in plain else []
    near = near or [each for each in plain if wanted and each.startswith(wanted)][:2]
    near = near or difflib.get_close_matches(wanted, list(plain), n=2, cutoff=0.5)
    return f"did you mean {' or '.join(plain[each] for each in near)}?" if near else ""


def _plain(name: str) -> str:
    """A name without what people write in different ways."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence on a wrong name: which of the known ones it may have meant, or all of them."""
    known = list(known)
    listing = f"known: {', '.join(known) or 'none'}"
    return f"no {kind} {name!r}; {nearest(name, known) or listing}"
