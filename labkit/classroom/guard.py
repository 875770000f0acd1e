"""What tests rely on, compared before each of them with what it was before a submission ran.

It runs in the submission's own kernel, so it notices a bent tool and stops no determined attacker:
the teacher's guide says so. It is also what a student's own check uses, so that a name taken by
accident is found before anything is handed in.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Iterable
from typing import Any

__all__ = ["MODULES", "arm", "changed", "verify"]

MODULES = ("math", "statistics", "random", "numpy", "numpy.testing", "torch", "torch.testing",
           "torch.nn.functional", "pandas.testing")  # fmt: skip
HOOKS = ("input_transformers_cleanup", "input_transformers_post", "ast_transformers",
         "custom_exceptions")  # fmt: skip
EVENTS = ("pre_execute", "pre_run_cell", "post_execute", "post_run_cell")
_before: dict[str, Any] = {}


def arm(modules: Iterable[str] = ()) -> None:
    """Note what tests rely on. Called before the first cell.

    Args:
        modules: those of `MODULES` that the notebook uses.
    """
    _before.clear()
    for name in modules:
        importlib.import_module(name)
    _before.update(_tools(modules))


def changed(names: Iterable[str] = ()) -> list[str]:
    """What was replaced since `arm`, as names.

    Args:
        names: global names of the notebook, of which none may hide a built-in one.
    """
    modules = [name for name in MODULES if name in sys.modules]
    now = _tools(modules)
    bent = [name for name, value in _before.items() if now.get(name) is not value
            and now.get(name) != value]  # fmt: skip
    return sorted([*bent, *(set(names) & _builtin_names())])


def verify(names: Iterable[str] = ()) -> None:
    """Refuse to test with tools that were replaced.

    Raises:
        RuntimeError: it names them.
    """
    if bent := changed(names):
        raise RuntimeError(
            f"the tests cannot run: this notebook replaced {', '.join(bent[:5])}; use other names"
        )


def _builtin_names() -> set[str]:
    return {name for name in vars(builtins) if not name.startswith("_")} - {
        "display",
        "get_ipython",
    }


def _tools(modules: Iterable[str]) -> dict[str, Any]:
    """Everything callable in the modules, and the hooks of Python and IPython, by name."""
    tools = {f"builtins.{name}": value for name, value in vars(builtins).items() if name[:1] != "_"}
    for module in modules:
        names = vars(sys.modules[module]).items()
        tools |= {f"{module}.{name}": value for name, value in names if callable(value)}
    if "torch" in modules:
        names = vars(sys.modules["torch"].Tensor).items()
        tools |= {f"torch.Tensor.{name}": value for name, value in names if callable(value)}
    return tools | {"sys.settrace": sys.gettrace(), "sys.setprofile": sys.getprofile()} | _hooks()


def _hooks() -> dict[str, Any]:
    shell = getattr(builtins, "get_ipython", lambda: None)()
    if shell is None:
        return {}
    hooks = {f"IPython's {name}": tuple(getattr(shell, name)) for name in HOOKS}
    calls = {f"IPython's {name}": tuple(shell.events.callbacks[name]) for name in EVENTS}
    own = ("run_cell", "run_cell_async", "run_code", "run_ast_nodes", "showtraceback")
    return hooks | calls | {f"IPython's {name}": vars(shell).get(name) for name in own}
