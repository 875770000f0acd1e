"""The notebook parameter contract: which names there are, what they hold, how text becomes them.

A notebook's first code cell, tagged `parameters`, holds `name: type = literal` lines and nothing
else. One set of rules, `check`, serves that cell, `papermill -p/-y/-f`, `labkit run -p` and
`lk.report(...)`, so a value is accepted or refused alike wherever it comes from.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from labkit.errors import InputError, nearest

Value = str | int | float | bool
TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
INJECTED = "# Parameters"  # the first line of the cell that papermill, or our runner, injects


@dataclass(frozen=True)
class Parameter:
    """One parameter: its type, its default and the values it takes (choices, or low to high)."""

    name: str
    type: type
    default: Value
    help: str = ""
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None

    @property
    def allowed(self) -> str:
        """In words, as in "a whole number from 1 to 100"."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = {str: "text", int: "a whole number", float: "a finite number",
                 bool: "True or False"}[self.type]  # fmt: skip
        return words if self.high is None else f"{words} from {self.low:,} to {self.high:,}"

    def __str__(self) -> str:
        return f"{self.name}: {self.type.__name__} = {self.default!r}"


PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "preset",
            str,
            "smoke",
            "smoke (a minute, any machine), lesson (a class hour) or full (as the report)",
            choices=("smoke", "lesson", "full"),
        ),
        Parameter(
            "data",
            str,
            "auto",
            "auto takes the real set where it is present, else the synthetic stand-in",
            choices=("auto", "real", "synthetic"),
        ),
        Parameter("device", str, "auto", "where to train", choices=("auto", "cpu", "cuda")),
        Parameter("seeds", int, 1, "repeat every row with this many seeds", low=1, high=100),
        Parameter("epochs", int, 0, "0 keeps the preset's own number", low=0, high=10_000),
        Parameter(
            "train_size",
            int,
            0,
            "0 keeps the preset's own number of training images",
            low=0,
            high=1_000_000,
        ),
        Parameter("fresh", bool, False, "train again even where a finished record exists"),
    )
}


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
            checked[name] = _typed(value, known[name]) if name in known else _unknown(name, known)
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
            raise InputError(f"{_short(text)} is not NAME=VALUE; write it as in preset=lesson")
        if name in found:
            raise InputError(f"{_short(name)} is given twice; give it once")
        found[name] = value
    return found


def parameters(namespace: Mapping[str, Any]) -> dict[str, Value]:
    """The parameters of the running notebook, checked: `parameters(globals())`.

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


def declared(notebook: Path | str | Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters a notebook declares, in order, read without running or importing anything.

    Arguments:
        notebook: a path, or a notebook's JSON.

    Raises:
        InputError: not exactly one cell tagged `parameters`, it is not the first code cell, it
            holds anything but `name: type = literal` lines, or a shared name has another type.
    """
    content = read_notebook(notebook) if isinstance(notebook, (str, Path)) else notebook
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    tagged = [c for c in code if "parameters" in c.get("metadata", {}).get("tags", ())]
    if len(tagged) != 1 or tagged[0] is not code[0]:
        found = "it is not the first code cell" if len(tagged) == 1 else f"it has {len(tagged)}"
        raise InputError(
            f"a notebook needs one cell tagged 'parameters', its first code cell; {found}."
            " Set the tag in JupyterLab's property inspector"
        )
    return _declarations("".join(tagged[0]["source"]))


def read_notebook(path: Path | str) -> dict[str, Any]:
    """A notebook's JSON.

    Raises:
        InputError: the file is missing, or is not a notebook of format 4.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no notebook {path}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a notebook: {error}") from error
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list) or content.get("nbformat") != 4:
        raise InputError(f"{path} is not a notebook of format 4; open and save it in JupyterLab")
    return content


def _declarations(source: str) -> dict[str, Parameter]:
    try:
        lines = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(f"the parameters cell is not Python, line {error.lineno}") from error
    found: dict[str, Parameter] = {}
    for line in lines:
        parameter = _declaration(line)
        if parameter is None or parameter.name in found:
            raise InputError(
                f"the parameters cell may hold only 'name: type = literal' lines, one a name, with"
                f" a type of {', '.join(TYPES)}; got {_short(ast.unparse(line))}"
            )
        found[parameter.name] = parameter
    return found


def _declaration(line: ast.stmt) -> Parameter | None:
    match line:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id=kind), value=value):
            pass
        case _:
            return None
    try:
        default = ast.literal_eval(value) if value else None
    except ValueError:
        return None
    if type(default) is not TYPES.get(kind):
        return None
    shared = PARAMETERS.get(name)
    if shared is None:
        return Parameter(name, TYPES[kind], default)
    if shared.type is not TYPES[kind]:
        raise InputError(f"{name} is declared as {kind}; in every notebook it is {shared}")
    return Parameter(**{**vars(shared), "default": _typed(default, shared)})


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
                raise InputError(f"a parameter holds code: {_short(ast.unparse(line))}")
        try:
            values[name] = ast.literal_eval(value)
        except ValueError:
            text = _short(ast.unparse(value))
            raise InputError(f"{name}={text} is not a plain value; pass a literal") from None
    return values


def _typed(value: Any, parameter: Parameter) -> Value:
    """The value as the parameter's type, from that type or from its text."""
    typed = _CONVERT[parameter.type](value)
    if typed is None or not _within(typed, parameter):
        text = value[:100] if isinstance(value, str) else ""
        question = nearest(text, parameter.choices)
        raise InputError(
            f"{parameter.name}={_short(value)} is refused: it takes {parameter.allowed}"
            f"{question and '; '}{question}"
        )
    return typed


def _within(value: Value, parameter: Parameter) -> bool:
    if parameter.choices:
        return value in parameter.choices
    return parameter.high is None or parameter.low <= value <= parameter.high


def _as_str(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair cannot be written to a notebook
        return None
    return str(value)


def _as_int(value: Any) -> int | None:
    if isinstance(value, str):
        # 4300 digits is where Python itself stops; no number of ours is that long
        return int(value) if len(value) < 30 and INTEGER.fullmatch(value) else None
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def _as_float(value: Any) -> float | None:
    if isinstance(value, str):
        value = float(value) if DECIMAL.fullmatch(value) else None
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _as_bool(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "True": True, "false": False, "False": False}.get(value)
    return value if isinstance(value, bool) else None


_CONVERT = {str: _as_str, int: _as_int, float: _as_float, bool: _as_bool}


def _unknown(name: str, known: Mapping[str, Parameter]) -> Value:
    question = nearest(str(name), known)
    listing = ", ".join(str(parameter) for parameter in known.values())
    raise InputError(f"no parameter {_short(name)}; {question}{question and ' '}There is {listing}")


def _short(value: Any, width: int = 60) -> str:
    """A value for a message: one line, printable anywhere, not longer than `width`."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits
        text = f"a {type(value).__name__} too long to print"
    text = text.encode("utf-8", "backslashreplace").decode().replace("\n", " ")
    return text if len(text) <= width else text[: width - 3] + "..."
