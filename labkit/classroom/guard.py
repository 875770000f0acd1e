"""What tests rely on, compared before each of them with what it was before a submission ran.

It runs in the submission's own kernel, so it notices a bent tool and stops no determined attacker:
the teacher's guide says so. It is also what a student's own check uses, so that a name taken by
accident is found before anything is handed in.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["MODULES", "arm", "changed", "verify"]

MODULES = ("math", "statistics", "random", "numpy", "numpy.testing", "torch", "torch.testing",
           "torch.nn.functional", "pandas.testing")  # fmt: skip
HOOKS = ("input_transformers_cleanup", "input_transformers_post", "ast_transformers",
         "custom_exceptions")  # fmt: skip
EVENTS = ("pre_execute", "pre_run_cell", "post_execute", "post_run_cell")
_before: dict[str, Any] = {}
_names: dict[str, Any] = {}


def arm(modules: Iterable[str] = (), names: Mapping[str, Any] = {}) -> None:
    """Note what tests rely on. Called before the first cell.

    Args:
        modules: those of `MODULES` that the notebook uses.
        names: the notebook's globals, in which IPython has an `open` of its own.
    """
    for name in modules:
        importlib.import_module(name)
    for noted, now in ((_before, _tools(modules)), (_names, names)):
        noted.clear()
        noted.update(now)


def changed(names: Mapping[str, Any] = {}) -> list[str]:
    """What was replaced since `arm`, as names.

    Args:
        names: the notebook's globals, of which none may hide a built-in one.
    """
    now = _tools(name for name in MODULES if name in sys.modules)
    bent = [name for name, tool in _before.items() if not _is_still(tool, now.get(name))]
    hidden = [name for name, value in names.items() if hasattr(builtins, name)
              and name[:1] != "_" and value is not _names.get(name)]  # fmt: skip
    return sorted({*bent, *(name for name in hidden if names[name] is not vars(builtins)[name])})


def verify(names: Mapping[str, Any] = {}, token: str = "") -> None:
    """Refuse to test with tools that were replaced; else print the token, as a sign of having run.

    Args:
        names: the notebook's globals.
        token: what is printed.

    Raises:
        RuntimeError: it says which.
    """
    if bent := changed(names):
        raise RuntimeError(
            f"the tests cannot run: this notebook replaced {', '.join(bent[:5])}; use other names"
        )
    print(token)


def _is_still(tool: Any, now: Any) -> bool:
    """The same, or wrapped by its own package: torch does that to a few of its functions."""
    if now is tool or now == tool:
        return True
    package = str(getattr(tool, "__module__", None)).partition(".")[0]
    same_name = getattr(now, "__name__", 1) == getattr(tool, "__name__", 2)
    return same_name and str(getattr(now, "__module__", "")).partition(".")[0] == package


def _tools(modules: Iterable[str]) -> dict[str, Any]:
    """Everything callable in the modules, and the hooks of Python and IPython, by name."""
    modules = list(modules)
    tools = {f"builtins.{name}": value for name, value in vars(builtins).items() if name[:1] != "_"}
    for module in modules:
        names = vars(sys.modules[module]).items()
        tools |= {f"{module}.{name}": value for name, value in names if callable(value)}
    if "torch" in modules:
        tensor = sys.modules["torch"].Tensor
        names = {name: inspect.getattr_static(tensor, name) for name in dir(tensor)}.items()
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
