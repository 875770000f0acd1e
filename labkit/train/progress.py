"""How far a training run has come: a bar where somebody watches, a line now and then where not.

LABKIT_PROGRESS chooses: bar, lines or off. Unset: a bar in a terminal and in a notebook, lines
elsewhere. A notebook's bar is one plain-text output that rewrites itself, so an executed notebook
keeps a single line of it, needs no widget and no network.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

EVERY = {"bar": 0.5, "lines": 10.0}  # seconds between two signs of life


class Progress:
    """Counts images of one run; `details` is asked for only when something is printed.

    Reading a loss from a GPU waits for it, so the loop hands over a function, not a number.
    """

    def __init__(self, label: str, *, done: int, total: int) -> None:
        self.label, self.done, self.total, self.first = label, done, total, done
        self.style = style()
        self.started = self.last = time.perf_counter()
        self.write = _writer(self.style)

    def advance(self, images: int, details: Callable[[], str]) -> None:
        """Count so many more images, and print a sign of life if it is time for one."""
        self.done += images
        now = time.perf_counter()
        if self.style != "off" and now - self.last >= EVERY[self.style]:
            self.last = now
            self.write(self._line(details(), now - self.started), False)

    def finish(self, text: str) -> None:
        """Put `text` in the place of the bar."""
        if self.style != "off":
            self.write(f"{self.label}: {text}", True)

    def _line(self, details: str, seconds: float) -> str:
        share = self.done / max(1, self.total)
        speed = (self.done - self.first) / max(seconds, 1e-9)
        left = clock((self.total - self.done) / max(speed, 1e-9))
        bar = "#" * round(20 * share) + "." * (20 - round(20 * share))
        return f"{self.label} [{bar}] {details}  {speed:,.0f} images/s  {left} left"


def style() -> str:
    """bar, lines or off."""
    chosen = os.environ.get("LABKIT_PROGRESS", "")
    if chosen in ("bar", "lines", "off"):
        return chosen
    return "bar" if _in_kernel() or sys.stderr.isatty() else "lines"


def clock(seconds: float) -> str:
    """3725 -> '1:02:05'; from a hundred hours on, hours alone."""
    if seconds >= 360_000:
        return f"{seconds / 3600:,.0f} h"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _in_kernel() -> bool:
    app = sys.modules.get("ipykernel.kernelapp")  # some tools import ipykernel without being one
    return app is not None and app.IPKernelApp.initialized()


def _writer(chosen: str) -> Callable[[str, bool], None]:
    if chosen == "bar" and _in_kernel():
        return _notebook_writer()
    if chosen == "bar" and sys.stderr.isatty():
        return lambda text, last: print(f"\r{text:<110}", end="\n" if last else "", file=sys.stderr)
    return lambda text, last: print(text, file=sys.stderr, flush=True)


def _notebook_writer() -> Callable[[str, bool], None]:
    from IPython.display import display

    handle = display({"text/plain": "..."}, raw=True, display_id=True)
    return lambda text, last: handle.update({"text/plain": text}, raw=True)
