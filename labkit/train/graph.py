"""A training step on a GPU, captured once as a CUDA graph and then replayed.

A small net spends most of a step waiting for Python to launch its next kernel; a replay launches
all of them at once. What is computed does not change: the same kernels run in the same order on
the same random numbers.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from labkit.train.device import kernel_search

__all__ = ["CaptureError", "Replay"]

WARM_UP = 3  # eager steps in which cuDNN chooses its kernels and the optimizer makes its state
WAITS = "called a synchronizing CUDA operation"
# PyTorch's own, at the first use of its debug mode in a process
PROTOTYPE = "Synchronization debug mode is a prototype feature"


class CaptureError(RuntimeError):
    """CUDA gave up in the middle of a capture; this process can use the GPU no more."""


class Replay:
    """`step(x, y, lr)` on a GPU, eager for the first few batches, then replayed.

    The batch and the learning rate are copied to where the graph reads them. A batch of another
    shape (the last of an epoch) runs eagerly, and so do all where a step waits for the GPU: no
    graph can hold that, and to try would leave CUDA unusable.

    Args:
        step: takes images, labels and the learning rate as a tensor of no dimensions; returns a
            tensor. All that it changes must stay where it is in memory.
    """

    def __init__(self, step: Callable[[Tensor, Tensor, Tensor], Tensor], device: torch.device):
        self.step, self.lr = step, torch.zeros((), device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.side, self.failed = _side_stream(device), False
        self.eager = 0  # steps of the first batch's shape

    def __call__(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        """As `step`; the result is overwritten by the next call."""
        self.lr.fill_(lr)
        if self.eager == 0:
            self.x, self.y = torch.empty_like(x), torch.empty_like(y)
        usual = x.shape == self.x.shape
        if self.failed or not usual:
            with kernel_search(usual):
                return self.step(x, y, self.lr)
        self.x.copy_(x)
        self.y.copy_(y)
        if self.eager < WARM_UP:
            return self._warm_up()
        if self.graph is None:
            self.graph = self._capture()
        self.graph.replay()
        return self.out

    def close(self) -> None:
        """Give the graph's memory back; let go of what lies there, such as gradients, before."""
        self.graph = self.out = self.x = self.y = None

    def _warm_up(self) -> Tensor:
        """An eager step; the last one shows whether the step can be captured."""
        self.eager += 1
        if self.eager < WARM_UP:  # PyTorch may wait in these to set itself up
            return self._aside()
        with _notes_waiting() as waits:
            out = self._aside()
        if waits:
            self.failed = True
            text = "no CUDA graph of this step, going on without: it waits for the GPU"
            print(text, file=sys.stderr)
        return out

    def _aside(self) -> Tensor:
        """One step on another stream, as capturing asks of the steps before it."""
        here = torch.cuda.current_stream(self.lr.device)
        self.side.wait_stream(here)
        with torch.cuda.stream(self.side):
            out = self.step(self.x, self.y, self.lr)
        here.wait_stream(self.side)
        out.record_stream(here)
        return out

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Write down one step without running it."""
        graph, here = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.lr.device)
        try:
            # what other threads do on the GPU meanwhile does not break the capture
            with torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local"):
                self.out = self.step(self.x, self.y, self.lr)
        except RuntimeError as error:
            torch.cuda.set_stream(here)  # PyTorch does not, if the capture cannot even be ended
            cause = error.__context__ or error
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from None
            reason = str(cause).partition("\n")[0]
            raise CaptureError(f"the GPU failed: no CUDA graph of this step: {reason}") from error
        return graph


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all networks: cuBLAS takes memory for every stream and keeps it."""
    return torch.cuda.Stream(device)


@contextlib.contextmanager
def _notes_waiting() -> Iterator[list[warnings.WarningMessage]]:
    """What makes Python wait for the GPU inside; other warnings go on to whoever wants them."""
    waits: list[warnings.WarningMessage] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode(before)
    waits += [each for each in caught if WAITS in str(each.message)]
    for each in caught:
        if each not in waits and not str(each.message).startswith(PROTOTYPE):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
