"""The process that papermill runs in: `python -m labkit.runner.child IN OUT FOLDER [LIMITS]`.

It is a process of its own so that whatever a notebook does, to memory, signals or the kernel, its
parent is left to judge the result. It says on stdout which cell it starts, and ends with an exit
code that tells a dead kernel from a failed cell. With limits it goes on past a cell that fails or
takes too long, and starts the kernel through `labkit.runner.cage`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill import execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from labkit.errors import OK
from labkit.runner.limits import SOCKETS, visible
from labkit.runner.verify import DEAD_KERNEL, FAILED_CELL, NO_KERNEL, TOO_SLOW

__all__ = ["main"]

TEXT_LIMIT = 1_000_000  # characters of printed text kept of one cell
SLOW = {"ename": TOO_SLOW, "evalue": "the cell took longer than it may", "traceback": [TOO_SLOW]}


class Client(PapermillNotebookClient):
    """Papermill's client, which says where it is and keeps a flood of output small."""

    def execute_cell(self, cell: Any, cell_index: int, **kwargs: Any) -> Any:
        self.printed = 0
        if cell.cell_type == "code":
            print(f"cell {cell_index}", flush=True)
        return super().execute_cell(cell, cell_index, **kwargs)

    def output(self, outs: list, msg: dict, display_id: str, cell_index: int) -> Any:
        if msg["msg_type"] != "stream":
            return super().output(outs, msg, display_id, cell_index)
        before, content = self.printed, msg["content"]
        self.printed += len(content["text"])
        if before > TEXT_LIMIT:
            return None
        if self.printed > TEXT_LIMIT:
            kept = content["text"][: TEXT_LIMIT - before]
            content["text"] = f"{kept}\n[labkit: this cell printed more; the rest is left out]\n"
        return super().output(outs, msg, display_id, cell_index)


class Engine(NBClientEngine):
    """Papermill's engine with our client."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        start_timeout: int = 60,
        spec: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        # all outputs are here when the kernel ends, and letting it tear torch down takes seconds
        client = Client(
            nb_man,
            kernel_name=kernel_name,
            startup_timeout=start_timeout,
            shutdown_kernel="immediate",
            **(_limited(spec) if spec else {}),
        )
        return client.execute()


class LimitedKernels(AsyncKernelManager):
    """Starts kernels through `labkit.runner.cage`, as `spec` says."""

    spec: ClassVar[dict[str, Any]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.spec["cage"]:  # there is no loopback between a cage and the outside
            self.transport = "ipc"
            self.connection_file = f"{self.spec['sockets']}/k.json"

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        cage = [sys.executable, "-m", "labkit.runner.cage", json.dumps(self.spec)]
        return [*cage, *super().format_kernel_cmd(extra_arguments)]


def _specify(limits: str, work: str) -> dict[str, Any]:
    """What `labkit.runner.cage` is told, for a kernel that works in the folder `work`."""
    return json.loads(limits) | {
        "root": tempfile.mkdtemp(prefix="root-", dir=Path.cwd()),
        "work": work,
        "sockets": os.environ[SOCKETS],
        "visible": visible(),
    }


def _limited(spec: dict[str, Any]) -> dict[str, Any]:
    """Options of a client that goes on, for a kernel that is held within limits."""
    return {
        "allow_errors": True,
        "timeout": spec["cell_seconds"],
        "interrupt_on_timeout": True,
        "error_on_timeout": SLOW,
        "raise_on_iopub_timeout": False,
        "on_cell_executed": _mark_error,
        "kernel_manager_class": type("Kernels", (LimitedKernels,), {"spec": spec}),
    }


def _mark_error(cell: Any, cell_index: int, execute_reply: dict) -> None:
    """Show the error that a kernel replied with, where it did not come among the outputs.

    That is so for a cell that took too long, and where a notebook silences its errors.
    """
    reply = execute_reply["content"]
    shown = [output.ename for output in cell.outputs if output.output_type == "error"]
    if reply["status"] == "error" and reply["ename"] not in shown:
        error = {name: reply[name] for name in ("ename", "evalue", "traceback")}
        cell.outputs.append(NotebookNode(output_type="error", **error))


def main(notebook: str, out: str, folder: str, limits: str = "") -> int:
    """Run a notebook's cells; papermill keeps `out` up to date after each. Returns the exit code.

    Args:
        notebook: a plain name in the working directory, as `out`: papermill formats braces in
            paths.
        folder: the cells' working directory.
        limits: `Limits.to_json` of what the kernel may use; empty for none.
    """
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    papermill_engines.register("labkit", Engine)
    try:
        execute_notebook(
            notebook,
            out,
            engine_name="labkit",
            kernel_name="python3",
            cwd=folder,
            progress_bar=False,
            autosave_cell_every=0,
            **({"spec": _specify(limits, folder)} if limits else {}),
        )
    except PapermillExecutionError:
        return OK if limits else FAILED_CELL
    except DeadKernelError:
        return DEAD_KERNEL
    except RuntimeError as error:  # nbclient's word for a kernel that did not come up
        print(error, file=sys.stderr)
        return NO_KERNEL
    return OK


def _follow(parent: int) -> None:
    """End with the parent, even with one that was killed: a kernel stops when its parent does."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(FAILED_CELL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
