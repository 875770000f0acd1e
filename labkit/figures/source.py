"""The source of a network as it stands in the library, so that a page cannot drift from it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Source", "source"]


@dataclass(frozen=True)
class Source:
    """Python code; as the last line of a notebook's cell it shows itself."""

    code: str

    def __repr__(self) -> str:
        return self.code

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.code}\n```"


def source(thing: Callable[..., Any], *others: str) -> Source:
    """The source of a function or class, without its docstrings.

    Args:
        thing: such as `lk.MODELS["mbn"].family`.
        others: names from the same file that belong to it, also of constants, shown after it.

    Raises:
        ValueError: the file has no such name.
    """
    return Source("\n\n\n".join([_code(thing), *(_neighbour(thing, name) for name in others)]))


def _neighbour(thing: Callable[..., Any], name: str) -> str:
    """The code of a name in the file where a function or class is from."""
    module = inspect.getmodule(thing)
    if not hasattr(module, name):
        raise ValueError(f"{module.__name__}, where {thing.__name__} is from, has no {name!r}")
    value = getattr(module, name)
    return _code(value) if callable(value) else _constant(inspect.getsource(module), name)


def _constant(text: str, name: str) -> str:
    """The lines of a file that give a constant its value."""
    lines = (node for node in ast.parse(text).body if isinstance(node, ast.Assign))
    (line,) = (node for node in lines if ast.unparse(node.targets[0]) == name)
    return ast.get_source_segment(text, line)


def _code(thing: Any) -> str:
    """The lines of a function or class, those of its docstrings left out."""
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    dropped: set[int] = set()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            text = node.body[0]
            after = text.end_lineno + (lines[text.end_lineno].strip() == "")
            dropped |= set(range(text.lineno, after + 1))
    kept = (line for number, line in enumerate(lines, start=1) if number not in dropped)
    return "\n".join(kept).rstrip()
