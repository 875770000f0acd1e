"""How far a training run has come: a bar where somebody watches, a line now and then where not.

LABKIT_PROGRESS chooses: bar, lines or off. Unset: a bar in a terminal and in a notebook, lines
elsewhere. A notebook's bar is one plain-text output that rewrites itself, so an executed notebook
keeps a single line of it. tqdm words the line; its bars would read the wall clock from a thread.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable

from tqdm import tqdm

__all__ = ["Progress", "clock"]

EVERY = {"bar": 0.5, "lines": 10.0, "off": float("inf")}  # seconds between two signs of life
LINE = "{desc} [{bar:20}] {details}  {rate_noinv:,.0f} images/s  {remaining} left"


class Progress:
    """Counts images of one run; `details` is asked for only when something is printed.

    Reading a loss from a GPU waits for it, so the loop hands over a function, not a number.
    """

    def __init__(self, label: str, *, done: int, total: int) -> None:
        self.label, self.initial, self.done, self.total = label, done, done, total
        self.started = self.last = time.perf_counter()
        style = _style()
        self.every, self.write = EVERY[style], _writer(style)

    def advance(self, images: int, details: Callable[[], str]) -> None:
        """Count so many more images, and print a sign of life if it is time for one."""
        self.done += images
        now = time.perf_counter()
        if now - self.last >= self.every:
            self.last = now
            self.write(tqdm.format_meter(
                self.done, self.total, now - self.started, initial=self.initial,
                prefix=self.label, details=details(), bar_format=LINE, ascii=".#",
            ), "")  # fmt: skip

    def finish(self, text: str) -> None:
        """Put `text` in the place of the bar."""
        self.write(f"{self.label}: {text}", "\n")


def clock(seconds: float) -> str:
    """3725 -> '1:02:05'; from a hundred hours on, hours alone."""
    if seconds >= 360_000:
        return f"{seconds / 3600:,.0f} h"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _style() -> str:
    choice = os.environ.get("LABKIT_PROGRESS")
    return choice if choice in EVERY else "bar" if _in_kernel() or sys.stderr.isatty() else "lines"


def _in_kernel() -> bool:
    app = sys.modules.get("ipykernel.kernelapp")  # some tools import ipykernel without being one
    return app is not None and app.IPKernelApp.initialized()


def _writer(style: str) -> Callable[[str, str], None]:
    """What prints a text and the end of its line, which a bar has only at the last."""
    if style == "off":
        return lambda text, end: None
    if style == "bar" and _in_kernel():
        from IPython.display import display

        handle = display({"text/plain": "..."}, raw=True, display_id=True)
        return lambda text, end: handle.update({"text/plain": text}, raw=True)
    if style == "bar" and sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1  # a longer line cannot be written over
        return lambda text, end: print(
            f"\r{text if end else text[:width]:<{width}}", end=end, file=sys.stderr
        )
    return lambda text, end: print(text, file=sys.stderr, flush=True)
