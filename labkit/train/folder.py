"""Where one run lives: its checkpoints, whole or absent, then its weights and its record."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import shutil
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from labkit import files, records
from labkit.data import Data
from labkit.errors import DataError, InputError
from labkit.recipe import Recipe
from labkit.records import Record

__all__ = ["History", "RunFolder", "weights_digest"]

History = list[dict[str, Any]]  # of one training, a row an epoch
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
ABANDONED = 3600.0  # seconds after which a temporary file has no writer any more


class RunFolder:
    """The folder of one run.

    `last.json` points at the newest checkpoint and carries its SHA-256; it is replaced last, so a
    checkpoint is either whole and named, or not there. `choice.json` holds the precision and the
    threads that the run was begun with. `weights.safetensors` and `record.json` are what remains
    of a finished run.

    Args:
        every: seconds between two checkpoints.
        recipe: what is trained, as plain values; a checkpoint of anything else is refused.
    """

    def __init__(self, path: Path, *, every: float = 10.0, recipe: Mapping[str, Any] = {}) -> None:
        self.path, self.every, self.recipe = path, every, recipe
        self.pointer, self.choice = path / "last.json", path / "choice.json"
        self.recorded, self.weights = path / "record.json", path / "weights.safetensors"
        self.resumed = 0  # how often the run went on from a checkpoint
        self.saved, self.cost = time.monotonic(), 0.0  # when, and seconds it took

    @classmethod
    def of(cls, recipe: Recipe, data: Data, *, every: float = 10.0) -> RunFolder:
        """The folder of the run of this recipe on these images by today's code."""
        path = files.runs_home() / records.run_key(recipe, data.sha256)
        return cls(path, every=every, recipe=recipe.to_json())

    def part(self, name: str, recipe: Recipe) -> RunFolder:
        """The folder of one model of a coarse-to-fine system; gone when the system is finished."""
        return RunFolder(self.path / name, every=self.every, recipe=recipe.to_json())

    @property
    def finished(self) -> bool:
        """Whether the run's record is here, and the weights that it names."""
        return self.recorded.exists() and self.weights.exists()

    def record(self, about: Mapping[str, str] = {}) -> Record:
        """The finished run's record, with the labels of who asks: equal recipes share a run.

        Raises:
            RecordError: it cannot be trusted.
        """
        return records.amend(records.read(self.recorded), about)

    def finish(self, record: Record, net: nn.Module, label: str) -> Record:
        """Claim the record, then keep its weights; of two racing runs the first one's stand."""
        if records.claim(record, self.recorded):
            self.save_weights(net)
        else:
            record = self.record()
            print(f"{label}: already recorded by another run of the same recipe", file=sys.stderr)
        self.forget()
        return record

    def prepare(self) -> None:
        """Make the folder, before anything is trained, and sweep out what a killed writer left.

        Raises:
            DataError: nothing can be written there.
        """
        now = files.probe(self.path, "set LABKIT_RUNS to a folder you may write to")
        self.path.mkdir(parents=True, exist_ok=True)
        for leftover in sorted(self.path.glob(".*.tmp")):
            with contextlib.suppress(FileNotFoundError):  # its writer was only slow
                if now - leftover.stat().st_mtime > ABANDONED:
                    leftover.unlink()

    def save(
        self, net: nn.Module, optimizer: Optimizer, history: History, *, force: bool = False
    ) -> None:
        """Write the state after the last epoch, unless one was written a moment ago.

        A checkpoint of a large net takes seconds: twenty times as long passes before the next.
        """
        started = time.monotonic()
        wait = max(self.every, 20 * self.cost) if self.every else 0.0
        if not force and started - self.saved < wait:
            return
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "rows": history}
        buffer = io.BytesIO()
        torch.save(state | {"recipe": self.recipe, "resumed": self.resumed}, buffer)
        name = f"epoch-{len(history):05}.pt"
        content = buffer.getvalue()
        files.write_atomic(self.path / name, content)
        pointer = {"file": name, "epoch": len(history), "sha256": files.sha256(content)}
        files.write_atomic(self.pointer, json.dumps(pointer))
        for old in sorted(self.path.glob("epoch-*.pt")):
            if old.name != name:
                old.unlink(missing_ok=True)
        self.saved = time.monotonic()
        self.cost = self.saved - started

    def restore(self, net: nn.Module, optimizer: Optimizer) -> History:
        """Load the newest checkpoint into both; the history so far, or [] for a fresh start.

        Raises:
            InputError: it is the checkpoint of another recipe.
        """
        content = self._verified() if self.pointer.exists() else b""
        if not content:
            return []
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        self._check_recipe(state.get("recipe", {}))
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        self.resumed = state["resumed"] + 1
        return state["rows"]

    def save_weights(self, net: nn.Module) -> None:
        """Keep the weights and running statistics of a finished run, in full precision."""
        files.write_pieces(self.weights, *_safetensors(net.state_dict()))

    def load_weights(self, net: nn.Module) -> None:
        """Put the finished run's weights into `net`, which may be on the meta device.

        Raises:
            DataError: they are missing, or not those that the record names. Such a file is set
                aside, and the run is trained again when it is asked for.
        """
        weights = OrderedDict(safetensors.torch.load(self._verified_weights()))
        # without its layers' versions PyTorch adds counts of batches, which ours do without
        weights._metadata = net.state_dict()._metadata
        net.load_state_dict(weights, assign=True)

    def _verified_weights(self) -> bytes:
        """The bytes of the weights, if they are the ones that the record names."""
        again = "the run is trained again when it is asked for"
        try:
            content = self.weights.read_bytes()
        except FileNotFoundError:
            raise DataError(f"{self.weights} is missing; {again}") from None
        if files.sha256(content) != self.record()["details"].get("weights"):
            self.weights.replace(self.path / "weights.bad")
            raise DataError(
                f"{self.weights} holds other weights than its record names; it was set aside as"
                f" weights.bad, and {again}"
            )
        return content

    def forget(self) -> None:
        """Remove the checkpoints of a finished run, and those of its parts."""
        for path in sorted(self.path.glob("[!.]*")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.match("epoch-*") or path.match("last.*") or path == self.choice:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything about this run."""
        self.forget()
        self.recorded.unlink(missing_ok=True)
        self.weights.unlink(missing_ok=True)

    def _check_recipe(self, theirs: dict[str, Any]) -> None:
        names = self.recipe.keys() | theirs.keys()
        differing = [name for name in names if self.recipe.get(name) != theirs.get(name)]
        if differing:
            raise InputError(
                f"the checkpoint in {self.path} is of another recipe, which differs in"
                f" {', '.join(sorted(differing))}; nothing was changed there. Move it away, or set"
                " LABKIT_RUNS to another folder"
            )

    def _verified(self) -> bytes:
        """The bytes of the newest checkpoint, if they are the ones that were written; else none."""
        known = files.read_json(self.pointer)
        path = self.path / Path(str(known.get("file", ""))).name
        aside = "it could not be set aside"
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            if files.sha256(content) == known.get("sha256"):
                return content
            path.replace(self.path / "last.bad")
            aside = "set aside as last.bad"
        self.pointer.unlink(missing_ok=True)
        print(
            f"the checkpoint in {self.path} is damaged; {aside}."
            " The run starts again from its first epoch",
            file=sys.stderr,
        )
        return b""


def weights_digest(net: nn.Module) -> str:
    """The SHA-256 that the file of these weights will have."""
    digest = hashlib.sha256()
    for piece in _safetensors(net.state_dict())[0]:
        digest.update(piece)
    return digest.hexdigest()


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
