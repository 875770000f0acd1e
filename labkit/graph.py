"""A training step on a GPU, captured once as a CUDA graph and then replayed.

A small net spends most of a step waiting for Python to launch its next kernel; a replay launches
all of them at once. What is computed does not change: the same kernels run in the same order on
the same random numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # eager steps in which cuDNN chooses its kernels and the optimizer makes its state


class Replay:
    """`step(x, y, lr)` on a GPU, eager for the first few batches, then replayed.

    The batch and the learning rate are copied to where the graph reads them. A batch of another
    shape (the last of an epoch) and a step that cannot be captured run eagerly.

    Args:
        step: takes images, labels and the learning rate as a tensor of no dimensions; returns a
            tensor. All that it changes must stay where it is in memory.
    """

    def __init__(self, step: Callable[[Tensor, Tensor, Tensor], Tensor], device: torch.device):
        self.step, self.lr = step, torch.zeros((), device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.side = torch.cuda.Stream(device)
        self.eager = 0  # steps of the first batch's shape
        self.failed = False

    def __call__(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        """As `step`; the result is overwritten by the next call."""
        self.lr.fill_(lr)
        if self.eager == 0:
            self.x, self.y = torch.empty_like(x), torch.empty_like(y)
        if self.failed or x.shape != self.x.shape:
            return self.step(x, y, self.lr)
        self.x.copy_(x)
        self.y.copy_(y)
        if self.eager < WARM_UP:
            self.eager += 1
            return self._aside()
        if self.graph is None and not self._capture():
            return self.step(x, y, self.lr)
        self.graph.replay()
        return self.out

    def _aside(self) -> Tensor:
        """One step on another stream, as capturing asks of the steps before it."""
        here = torch.cuda.current_stream(self.lr.device)
        self.side.wait_stream(here)
        with torch.cuda.stream(self.side):
            out = self.step(self.x, self.y, self.lr)
        here.wait_stream(self.side)
        out.record_stream(here)
        return out

    def _capture(self) -> bool:
        """Write down one step without running it."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.side):
                self.out = self.step(self.x, self.y, self.lr)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.failed = True
            reason = str(error).partition("\n")[0]
            print(f"no CUDA graph of this step, going on without: {reason}", file=sys.stderr)
            return False
        self.graph = graph
        return True
