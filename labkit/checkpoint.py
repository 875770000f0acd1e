"""Checkpoints of one run: at epoch ends, whole or absent, verified before they are used."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from labkit import files
from labkit.errors import DataError, InputError

_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
ABANDONED = 3600.0  # seconds after which a temporary file has no writer any more


class Checkpoint:
    """The folder of one run.

    `last.json` points at the newest checkpoint and carries its SHA-256; it is replaced last, so a
    checkpoint is either whole and named, or not there. `weights.safetensors` and `record.json`
    are what remains of a finished run.

    Args:
        every: seconds between two checkpoints.
        recipe: what is trained, as plain values; a checkpoint of anything else is refused.
    """

    def __init__(
        self, folder: Path, *, every: float = 10.0, recipe: dict[str, Any] | None = None
    ) -> None:
        self.folder, self.every, self.recipe = Path(folder), every, recipe or {}
        self.resumed = 0
        self.saved = time.monotonic()

    def prepare(self) -> None:
        """Make the folder, before anything is trained, and sweep out what a killed writer left.

        Raises:
            DataError: nothing can be written there.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                now = os.fstat(probe.fileno()).st_mtime
        except OSError as error:
            raise DataError(
                f"cannot write {self.folder}: {error.strerror}; set LABKIT_RUNS to a folder you may"
                " write to"
            ) from error
        for leftover in sorted(self.folder.glob(".*.tmp")):
            with contextlib.suppress(FileNotFoundError):  # its writer was only slow
                if now - leftover.stat().st_mtime > ABANDONED:
                    leftover.unlink()

    def save(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        rows: list[dict[str, Any]],
        *,
        force: bool = False,
    ) -> None:
        """Write the state after the last row, unless one was written a moment ago."""
        if not force and time.monotonic() - self.saved < self.every:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "rows": rows}
        buffer = io.BytesIO()
        torch.save(state | {"recipe": self.recipe, "resumed": self.resumed}, buffer)
        name = f"epoch-{len(rows):05}.pt"
        content = buffer.getvalue()
        files.write_atomic(self.folder / name, content)
        pointer = {"file": name, "epoch": len(rows), "sha256": files.sha256(content)}
        files.write_atomic(self.folder / "last.json", json.dumps(pointer))
        for old in sorted(self.folder.glob("epoch-*.pt*")):
            if old.name != name:
                old.unlink(missing_ok=True)
        self.saved = time.monotonic()

    def restore(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
        """Load the newest checkpoint into both; the rows so far, or [] for a fresh start.

        Raises:
            InputError: it is the checkpoint of another recipe.
        """
        content = self._verified()
        if content is None:
            return []
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        self._check_recipe(state.get("recipe", {}))
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        self.resumed = state["resumed"] + 1
        return state["rows"]

    def save_weights(self, net: nn.Module) -> None:
        """Keep the weights and running statistics of a finished run, in full precision."""
        files.write_pieces(self.folder / "weights.safetensors", *_safetensors(net.state_dict()))

    def load_weights(self, net: nn.Module) -> None:
        """Put the finished run's weights into `net`, which may be on the meta device.

        Raises:
            FileNotFoundError: the run was recorded elsewhere; only its record is here.
        """
        content = (self.folder / "weights.safetensors").read_bytes()
        net.load_state_dict(safetensors.torch.load(content), assign=True)

    def forget(self) -> None:
        """Remove the checkpoints of a finished run."""
        for path in [*sorted(self.folder.glob("epoch-*")), *sorted(self.folder.glob("last.*"))]:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything about this run."""
        self.forget()
        for name in ("record.json", "weights.safetensors"):
            (self.folder / name).unlink(missing_ok=True)

    def _check_recipe(self, theirs: dict[str, Any]) -> None:
        names = sorted(self.recipe.keys() | theirs.keys())
        differing = [name for name in names if self.recipe.get(name) != theirs.get(name)]
        if differing:
            raise InputError(
                f"the checkpoint in {self.folder} is of another recipe, which differs in"
                f" {', '.join(differing)}; nothing was changed there. Move it away, or set"
                " LABKIT_RUNS to another folder"
            )

    def _verified(self) -> bytes | None:
        """The bytes of the newest checkpoint, if they are the ones that were written."""
        pointer = self.folder / "last.json"
        if not pointer.exists():
            return None
        aside = "it could not be set aside"
        try:
            known = json.loads(pointer.read_text(encoding="utf-8"))
            path = self.folder / Path(known["file"]).name
            content = path.read_bytes()
            if files.sha256(content) == known["sha256"]:
                return content
            path.replace(self.folder / "last.bad")
            aside = "set aside as last.bad"
        except (OSError, ValueError, KeyError, TypeError):
            pass
        pointer.unlink(missing_ok=True)
        print(
            f"the checkpoint in {self.folder} is damaged; {aside}."
            " The run starts again from its first epoch",
            file=sys.stderr,
        )
        return None


def _safetensors(weights: dict[str, Tensor]) -> tuple[Iterator[bytes | memoryview], int]:
    """A file in the format of safetensors, tensor by tensor, and its length in bytes.

    https://github.com/huggingface/safetensors#format. The library's own `save` needs all weights
    twice more in memory: a system of report 000 took longer to write than to train at `smoke`.
    """
    header, end = {}, 0
    # the widest numbers first, so that each lies at a multiple of its own width
    ordered = sorted(weights.items(), key=lambda item: -item[1].itemsize)
    for name, tensor in ordered:
        start, end = end, end + tensor.nbytes
        about = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape)}
        header[name] = about | {"data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    tensors = (tensor.detach().cpu().reshape(-1) for _, tensor in ordered)
    pieces = (tensor.view(torch.uint8).numpy().data for tensor in tensors)
    return itertools.chain([head], pieces), len(head) + end
