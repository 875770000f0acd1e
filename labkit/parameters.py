"""Values by name: what each may be, how text becomes one, and what refuses it, in one place.

A `Parameter` checks one value. The notebook parameters are a table of them, `PARAMETERS`, which
serves a notebook's first code cell, `papermill -p/-y/-f`, `labkit run -p` and `lk.report(...)`
alike; the fields of a recipe and the options of a model are checked by `Parameter`s of their own.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from labkit.errors import InputError, nearest

__all__ = [
    "BY_HAND",
    "INJECTED",
    "PARAMETERS",
    "TYPES",
    "Parameter",
    "Value",
    "check",
    "checked_parameters",
    "pairs",
    "short",
]

Value = str | int | float | bool
TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
WORDS = {
    str: "text", int: "a whole number", float: "a finite number", bool: "True or False",
    dict: "a dict of plain values", tuple: "a list of numbers",
}  # fmt: skip
INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
INJECTED = "# Parameters"  # the first line of the cell that papermill, or our runner, injects


@dataclass(frozen=True)
class Parameter:
    """One parameter: its type, its default and the values it takes (choices, or low to high)."""

    name: str
    type: type
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def allowed(self) -> str:
        """In words, as in "a whole number from 1 to 100"."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.high is None:
            return WORDS[self.type]
        return f"{WORDS[self.type]} from {self.low:,} to {self.high:,}"

    def __str__(self) -> str:
        return f"{self.name}: {self.type.__name__} = {self.default!r}"

    def accept(self, value: Any) -> Any:
        """The value, typed, if the parameter takes it; a whole number is a float, too.

        Raises:
            InputError: it does not.
        """
        typed = CONVERT[self.type](value)
        if typed is None or not self._within(typed):
            question = nearest(value, self.choices) if isinstance(value, str) else ""
            raise InputError(
                f"{self.name}={short(value)} is refused: it takes {self.allowed}"
                f"{question and '; '}{question}"
            )
        return typed

    def parse(self, value: Any) -> Any:
        """As `accept`, also from the text of a value.

        Raises:
            InputError: the parameter does not take it.
        """
        read = READ.get(self.type)
        typed = read(value) if read and isinstance(value, str) else None
        return self.accept(value if typed is None else typed)

    def _within(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        return self.high is None or self.low <= value <= self.high


PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter("preset", str, "smoke",
                  "smoke (a minute, any machine), lesson (a class hour) or full (as the report)",
                  choices=("smoke", "lesson", "full")),
        Parameter("data", str, "auto",
                  "auto takes the real set where it is present, else the synthetic stand-in",
                  choices=("auto", "real", "synthetic")),
        Parameter("device", str, "auto", "where to train", choices=("auto", "cpu", "cuda")),
        Parameter("seeds", int, 1, "repeat every row with this many seeds", low=1, high=100),
        Parameter("epochs", int, 0, "0 keeps the preset's own number", low=0, high=10_000),
        Parameter("train_size", int, 0, "0 keeps the preset's own number of training images",
                  low=0, high=1_000_000),
        Parameter("fresh", bool, False, "train again even where a finished record exists"),
    )
}  # fmt: skip


# how a machine trains, by hand: environment variables, and options of `labkit train` and `sweep`
BY_HAND: dict[str, Parameter] = {
    "precision": Parameter("LABKIT_PRECISION", str, "auto",
                           "precision of training; auto takes what is faster on a CPU",
                           choices=("auto", "fp32", "bf16")),
    "threads": Parameter("LABKIT_THREADS", int, 0, "threads of a CPU; 0 takes what is fastest",
                         low=0, high=1024),
}  # fmt: skip


def check(
    values: Mapping[str, Any], known: Mapping[str, Parameter] = PARAMETERS
) -> dict[str, Value]:
    """Every parameter with its value, typed; the default where none is given.

    Raises:
        InputError: a name that is not known, or a value that its parameter does not take; one line
            for each.
    """
    problems, checked = [], {name: parameter.default for name, parameter in known.items()}
    for name, value in values.items():
        try:
            checked[name] = known[name].parse(value) if name in known else _unknown(name, known)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return checked


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """`["preset=lesson"]` -> `{"preset": "lesson"}`, as given to `labkit run -p`.

    Raises:
        InputError: a text without `=`, or a name given twice.
    """
    found: dict[str, str] = {}
    for given in texts:
        # in a locale without UTF-8, Python hands over the bytes of an argument as half surrogates
        try:
            text = given.encode("utf-8", "surrogateescape").decode("utf-8")
        except UnicodeError:  # no text at all; whatever takes the value refuses it
            text = given
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{short(text)} is not NAME=VALUE; write it as in preset=lesson")
        if name in found:
            raise InputError(f"{short(name)} is given twice; give it once")
        found[name] = value
    return found


def checked_parameters(namespace: Mapping[str, Any]) -> dict[str, Value]:
    """The parameters of the running notebook, checked: `checked_parameters(globals())`.

    A name that papermill injected although the notebook does not know it is refused here: papermill
    itself only warns. It is found in the kernel's input history, in the last injected cell, so a
    cell run again in JupyterLab is judged by what stands there now.

    Raises:
        InputError: as `check`, or the injected cell holds anything but `name = literal` lines.
    """
    given = {name: namespace[name] for name in PARAMETERS if name in namespace}
    own = given.keys() | namespace.get("__annotations__", {}).keys()  # a notebook may have more
    injected = [cell for cell in namespace.get("In", ()) if str(cell).startswith(INJECTED)]
    strangers = _literals(injected[-1]) if injected else {}
    return check(given | {name: v for name, v in strangers.items() if name not in own})


def _literals(source: str) -> dict[str, Any]:
    """What an injected cell assigns."""
    values: dict[str, Any] = {}
    try:
        lines = ast.parse(source).body
    except SyntaxError:  # the kernel refused the cell as well: it set nothing
        return values
    for line in lines:
        match line:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case _:
                raise InputError(f"a parameter holds code: {short(ast.unparse(line))}")
        try:
            values[name] = ast.literal_eval(value)
        except ValueError:
            text = short(ast.unparse(value))
            raise InputError(f"{name}={text} is not a plain value; pass a literal") from None
    return values


def _as_str(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair cannot be written to a notebook
        return None
    return str(value)


def _as_int(value: Any) -> int | None:
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def _as_float(value: Any) -> float | None:
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _as_bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _as_dict(value: Any) -> dict[str, Any] | None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _as_tuple(value: Any) -> tuple[float, ...] | None:
    if not isinstance(value, (tuple, list)) or any(_as_float(each) is None for each in value):
        return None
    return tuple(value)


CONVERT = {
    str: _as_str, int: _as_int, float: _as_float, bool: _as_bool, dict: _as_dict, tuple: _as_tuple,
}  # fmt: skip
# 4300 digits is where Python itself stops reading integers; no number of ours is that long
READ = {
    int: lambda text: int(text) if len(text) < 30 and INTEGER.fullmatch(text) else None,
    float: lambda text: float(text) if DECIMAL.fullmatch(text) else None,
    bool: {"true": True, "True": True, "false": False, "False": False}.get,
}


def _unknown(name: str, known: Mapping[str, Parameter]) -> Value:
    question = nearest(str(name), known)
    listing = ", ".join(str(parameter) for parameter in known.values())
    raise InputError(f"no parameter {short(name)}; {question}{question and ' '}There is {listing}")


def short(value: Any, width: int = 60) -> str:
    """A value for a message: one line, printable anywhere, not longer than `width`."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits
        text = f"a {type(value).__name__} too long to print"
    text = text.encode("utf-8", "backslashreplace").decode().replace("\n", " ")
    return text if len(text) <= width else text[: width - 3] + "..."
