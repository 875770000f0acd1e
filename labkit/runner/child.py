"""The process that papermill runs in: `python -m labkit.runner.child IN OUT FOLDER`.

It is a process of its own so that whatever a notebook does, to memory, signals or the kernel, its
parent is left to judge the result. It says on stdout which cell it starts, and ends with an exit
code that tells a dead kernel from a failed cell.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from nbclient.exceptions import DeadKernelError
from papermill import execute_notebook
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from labkit.errors import OK
from labkit.runner.verify import DEAD_KERNEL, FAILED_CELL, NO_KERNEL

__all__ = ["main"]

TEXT_LIMIT = 1_000_000  # characters of printed text kept of one cell


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
        cls, nb_man: Any, kernel_name: str, start_timeout: int = 60, **_: Any
    ) -> Any:
        # all outputs are here when the kernel ends, and letting it tear torch down takes seconds
        client = Client(
            nb_man,
            kernel_name=kernel_name,
            startup_timeout=start_timeout,
            shutdown_kernel="immediate",
        )
        return client.execute()


def main(notebook: str, out: str, folder: str) -> int:
    """Run a notebook's cells; papermill keeps `out` up to date after each. Returns the exit code.

    Args:
        notebook: a plain name in the working directory, as `out`: papermill formats braces in
            paths.
        folder: the cells' working directory.
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
        )
    except PapermillExecutionError:
        return FAILED_CELL
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
