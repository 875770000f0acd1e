"""A papermill process and the kernel it starts, watched from outside until both are gone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from labkit.errors import InputError
from labkit.runner import document
from labkit.runner.document import Notebook
from labkit.runner.limits import SOCKETS, Limits, scrubbed
from labkit.runner.verify import Execution

__all__ = ["execute"]

START_LIMIT = 300.0  # seconds until the first cell: imports and the kernel, on a busy machine
GRACE = 10.0  # seconds that a notebook gets to end by itself after an interrupt
OWN_MEMORY_MB, OWN_PROCESSES = 600, 4  # of what runs papermill, the cage and the kernel itself
MARK = "LABKIT_RUNNER"  # in the environment of every process that a run starts
# Lines that every healthy kernel writes; they look like errors and are none.
NOISE = ("Kernel is running over TCP without encryption", "KeyboardInterrupt caught in kernel")


def execute(
    content: Notebook,
    source: Path,
    *,
    timeout: float,
    environment: Mapping[str, str] = {},
    progress: bool = True,
    limits: Limits | None = None,
) -> Execution:
    """Execute a notebook's cells in the folder of `source`, and leave no process or file behind.

    Ctrl-C and SIGTERM stop the execution, not the caller.

    Args:
        content: what is executed; `source` says only where, and what it is called.
        timeout: seconds that one cell may take; not used with limits, which have their own.
        environment: variables that the notebook sees beside those of this process.
        progress: print each cell as it starts.
        limits: what the kernel may use. It then sees no more of this process's environment than
            it needs, and goes on past a cell that fails or takes too long.
    """
    temporary = tempfile.TemporaryDirectory(prefix="labkit-run-", ignore_cleanup_errors=True)
    sockets = _short_folder() if limits else contextlib.nullcontext("")
    with temporary as name, sockets as short, signals() as received:
        folder = Path(name)
        document.write(folder / "in.ipynb", content)
        watch = Watch(
            content=content, timeout=limits.seconds if limits else timeout, source=source,
            environment=environment, progress=progress, folder=folder, received=received,
            limits=limits, sockets=short,
        )  # fmt: skip
        watch.wait()
        watch.notebook = _executed(folder / "out.ipynb", content)
    return watch


@dataclass(kw_only=True)
class Watch(Execution):
    """One papermill process, watched until it has ended."""

    source: Path
    environment: Mapping[str, str]
    progress: bool
    folder: Path  # where it runs, and what it leaves
    received: list[int]  # the signals of this process, oldest first
    limits: Limits | None
    sockets: str  # the folder of a limited kernel's sockets

    def wait(self) -> None:
        """Start the process, see it end, and leave none of its processes behind."""
        start, mark = time.perf_counter(), uuid.uuid4().hex
        child = self._start(mark)
        try:
            self._watch(child)
        finally:
            _reap(mark)
            child.wait()
        self._follow()
        self.code = child.returncode
        self.seconds = time.perf_counter() - start
        lines = self._printed("stderr")
        self.log = [line for line in lines if not any(noise in line for noise in NOISE)]

    def _start(self, mark: str) -> subprocess.Popen:
        with (
            (self.folder / "stdout").open("wb") as stdout,
            (self.folder / "stderr").open("wb") as stderr,
        ):
            return subprocess.Popen(
                [sys.executable, "-m", "labkit.runner.child", "in.ipynb", "out.ipynb",
                 str(self.source.parent), *([self.limits.to_json()] if self.limits else [])],
                cwd=self.folder, env=self._environment(mark),
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            )  # fmt: skip

    def _environment(self, mark: str) -> dict[str, str]:
        own = {**_environment(self.folder, mark), **self.environment}
        if not self.limits:
            return {**os.environ, **own}
        home = str(self.source.parent)
        places = {"HOME": home, "IPYTHONDIR": f"{home}/.ipython", SOCKETS: self.sockets}
        return {**scrubbed(os.environ), **own, **places}

    def _watch(self, child: subprocess.Popen) -> None:
        process = psutil.Process(child.pid)
        self.start, self.cell_start = (time.perf_counter(),) * 2
        interrupt, measurement = 0.0, 0.0
        while child.poll() is None:
            now = time.perf_counter()
            if now - measurement > (0.1 if self.limits else 0.5):
                memory, processes = _use(process)
                self.peak_memory_mb = max(self.peak_memory_mb, memory)
                measurement = now
                self._hold(memory, processes)
            self._follow()
            if not interrupt and self._should_stop(now):
                if self.limits:
                    return  # a cage passes no interrupt on, and the cells had theirs
                interrupt = now
                _interrupt(process)
            elif interrupt and (now - interrupt > GRACE or len(self.received) > 1):
                return
            time.sleep(0.05)

    def _hold(self, memory: float, processes: int) -> None:
        """Stop what takes more than it may; papermill and its kernel are allowed for."""
        if self.limits and memory > self.limits.memory_mb + OWN_MEMORY_MB:
            self.stop = "took too much memory"
        elif self.limits and processes > self.limits.processes + OWN_PROCESSES:
            self.stop = "started too many processes"

    def _should_stop(self, now: float) -> bool:
        since = self.start if self.limits else self.cell_start
        if self.received:
            self.stop = "interrupted" if self.received[0] == signal.SIGINT else "terminated"
        elif now - since > (self.timeout if self.cell >= 0 else START_LIMIT):
            self.stop = "timed out"
        return bool(self.stop)

    def _follow(self) -> None:
        """Take note of the cell that the process has come to."""
        lines = self._printed("stdout")
        cells = [int(line[5:]) for line in lines if re.fullmatch(r"cell [0-9]+", line)]
        if cells and cells[-1] != self.cell:
            self.cell, self.cell_start = cells[-1], time.perf_counter()
            if self.progress:
                print(f"{self.source.stem}: {self.place}", flush=True)

    def _printed(self, stream: str) -> list[str]:
        text = (self.folder / stream).read_text(encoding="utf-8", errors="replace")
        return text.splitlines()


def _environment(folder: Path, mark: str) -> dict[str, str]:
    """UTF-8 whatever the locale; no windows, no bars; the user's Jupyter state is left alone."""
    return {
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


def _short_folder() -> tempfile.TemporaryDirectory:
    """A folder whose path leaves room for a socket's name: the system allows some 100 bytes."""
    long = len(tempfile.gettempdir()) > 60 and os.path.isdir("/tmp")
    folder = "/tmp" if long else None
    return tempfile.TemporaryDirectory(prefix="labkit-k-", dir=folder, ignore_cleanup_errors=True)


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying from them, so that the kernel can end first."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, lambda number, _: received.append(number)) for each in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
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


def _use(process: psutil.Process) -> tuple[float, int]:
    """Resident memory in MB of a process and all it started, now, and how many they are."""
    total = 0
    try:
        family = (process, *process.children(recursive=True))
        for each in family:
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    except psutil.Error:
        return 0.0, 0
    return total / 1e6, len(family)


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


def _executed(path: Path, content: Notebook) -> Notebook:
    """Papermill's file; what was put in where papermill was killed before, or while, it wrote."""
    try:
        return document.read_notebook(path)
    except InputError:
        return content
