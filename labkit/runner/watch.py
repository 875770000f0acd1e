"""A papermill process and the kernel it starts, watched from outside until both are gone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from labkit.runner import document
from labkit.runner.document import Notebook

START_LIMIT = 300.0  # seconds until the first cell: imports and the kernel, on a busy machine
GRACE = 10.0  # seconds that a notebook gets to end by itself once it is told to
MARK = "LABKIT_RUNNER"  # in the environment of every process that a run starts
FAILED_CELL, DEAD_KERNEL, NO_KERNEL = 1, 9, 10  # exit codes of `execute`
# Lines that every healthy kernel writes; they look like errors and are none.
NOISE = ("Kernel is running over TCP without encryption", "KeyboardInterrupt caught in kernel")


@dataclass
class Watch:
    """One papermill process, watched until it has ended."""

    folder: Path
    source: Path
    content: Notebook
    timeout: float
    progress: bool
    asked: list[int]  # signals that this process received, oldest first
    reason: str = ""  # why the run was told to stop: timeout, interrupted or terminated
    cell: int = -1  # index in content["cells"] of the cell that started last
    code: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    log: list[str] = field(default_factory=list)

    def wait(self) -> None:
        """Start the process, see it end, and leave none of its processes behind."""
        started = time.perf_counter()
        mark = uuid.uuid4().hex
        with (
            (self.folder / "stdout").open("wb") as stdout,
            (self.folder / "stderr").open("wb") as stderr,
        ):
            child = subprocess.Popen(
                [sys.executable, "-m", "labkit.runner.child", "in.ipynb", "out.ipynb",
                 str(self.source.parent)],
                cwd=self.folder, env=_environment(self.folder, mark), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            )  # fmt: skip
        try:
            self._watch(child)
        finally:
            _reap(mark)
            child.wait()
        self._follow()
        self.code = child.returncode
        self.seconds = time.perf_counter() - started
        text = (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")
        self.log = [line for line in text.splitlines() if not any(n in line for n in NOISE)]

    def _watch(self, child: subprocess.Popen) -> None:
        process = psutil.Process(child.pid)
        self.cell_started, told, measured = time.perf_counter(), 0.0, 0.0
        while child.poll() is None:
            now = time.perf_counter()
            if now - measured > 0.5:
                self.peak_mb = max(self.peak_mb, _memory_mb(process))
                measured = now
            self._follow()
            if not told and self._should_stop(now):
                told = now
                _interrupt(process)
            elif told and (now - told > GRACE or len(self.asked) > 1):
                return
            time.sleep(0.05)

    def _should_stop(self, now: float) -> bool:
        if self.asked:
            self.reason = "interrupted" if self.asked[0] == signal.SIGINT else "terminated"
        elif now - self.cell_started > (self.timeout if self.cell >= 0 else START_LIMIT):
            self.reason = "timed out"
        return bool(self.reason)

    def _follow(self) -> None:
        """Take note of the cell that the process has come to."""
        text = (self.folder / "stdout").read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines()
        reached = [int(line[5:]) for line in lines if re.fullmatch(r"cell [0-9]+", line)]
        if reached and reached[-1] != self.cell:
            self.cell, self.cell_started = reached[-1], time.perf_counter()
            if self.progress:
                print(f"{self.source.stem}: {self.where()}", flush=True)

    def where(self) -> str:
        """As in `cell 4 of 9 (net = build())`."""
        return document.where(self.content, self.cell)


def _environment(folder: Path, mark: str) -> dict[str, str]:
    """UTF-8 whatever the locale; no windows, no bars; the user's Jupyter state is left alone."""
    return os.environ | {
        MARK: mark,
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "LABKIT_PROGRESS": "off",
        "MPLBACKEND": "agg",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONUTF8": "1",
        "TQDM_DISABLE": "1",
    }


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying from them, so that the kernel can end first."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    caught = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda got, _: received.append(got)) for number in caught]
    try:
        yield received
    finally:
        for number, handler in zip(caught, before, strict=True):
            signal.signal(number, handler)


def _interrupt(process: psutil.Process) -> None:
    """Pass an interrupt on to the kernel, once; without a kernel yet, end the process."""
    try:
        kernels = [p for p in process.children() if "ipykernel_launcher" in " ".join(p.cmdline())]
        for kernel in kernels:
            kernel.send_signal(signal.SIGINT)
        if not kernels:
            process.terminate()
    except psutil.Error:  # it ended by itself in the meantime
        return


def _memory_mb(process: psutil.Process) -> float:
    """Resident memory of a process and all it started, now."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    except psutil.Error:
        return 0.0
    return total / 1e6


def _reap(mark: str) -> None:
    """Kill every process that carries this run's mark: a kernel has a session of its own."""

    def marked() -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == mark:
                    yield process

    for _ in range(3):  # a process may start another while the list is read
        left = list(marked())
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if not left:
            return
        psutil.wait_procs(left, timeout=2)
