"""The parameters that a notebook declares, read without running or importing anything.

A notebook's first code cell, tagged `parameters`, holds `name: type = literal` lines, nothing else.
"""

from __future__ import annotations

import ast
from pathlib import Path

from labkit.errors import InputError
from labkit.parameters import PARAMETERS, TYPES, Parameter, short
from labkit.runner.document import Notebook, read_notebook

__all__ = ["declared"]


def declared(notebook: Path | str | Notebook) -> dict[str, Parameter]:
    """The parameters that a notebook declares, by name, in their order.

    Args:
        notebook: a path, or a notebook's JSON.

    Raises:
        InputError: not exactly one cell tagged `parameters`, it is not the first code cell, it
            holds anything but `name: type = literal` lines, or a shared name has another type.
    """
    content = read_notebook(notebook) if isinstance(notebook, (str, Path)) else notebook
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    tagged = [c for c in code if "parameters" in c.get("metadata", {}).get("tags", ())]
    if len(tagged) != 1 or tagged[0] is not code[0]:
        fault = "it is not the first code cell" if len(tagged) == 1 else f"it has {len(tagged)}"
        raise InputError(
            f"a notebook needs one cell tagged 'parameters', its first code cell; {fault}."
            " Set the tag in JupyterLab's property inspector"
        )
    return _declarations("".join(tagged[0]["source"]))


def _declarations(source: str) -> dict[str, Parameter]:
    try:
        lines = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(f"the parameters cell is not Python, line {error.lineno}") from error
    parameters: dict[str, Parameter] = {}
    for line in lines:
        parameter = _declaration(line)
        if parameter is None or parameter.name in parameters:
            raise InputError(
                f"the parameters cell may hold only 'name: type = literal' lines, one a name, with"
                f" a type of {', '.join(TYPES)}; got {short(ast.unparse(line))}"
            )
        parameters[parameter.name] = parameter
    return parameters


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
    return Parameter(**{**vars(shared), "default": shared.accept(default)})
