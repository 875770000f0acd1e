"""Training: the loop, on one page, and what it calls. Stopped runs go on where they stopped."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labkit import cost, models, records
from labkit.checkpoint import Checkpoint
from labkit.data import Data, Split, load
from labkit.data.augment import passes
from labkit.data.batches import batches
from labkit.device import (
    derive,
    device_card,
    own_randomness,
    peak_memory,
    pick_device,
    release_memory,
    reset_peak_memory,
    reuse_memory,
    use_bf16,
)
from labkit.errors import DeviceError, InputError, OutOfTimeError, TrainingError
from labkit.evaluate import autocast, predict, score
from labkit.graph import CaptureError, Replay
from labkit.progress import Progress, clock
from labkit.recipe import Recipe
from labkit.records import Record

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# how PyTorch words what has no exception of its own
NO_MEMORY = re.compile(
    "DefaultCPUAllocator: can't allocate memory"
    "|unable to find an engine to execute"  # cuDNN, where no kernel's scratch memory fits
)
NO_KERNEL = "does not have a deterministic implementation"
GPU_FAILED = re.compile("CUDA error|CUBLAS_STATUS|CUDNN_STATUS|cuDNN error")
OPTIMIZERS = {
    "sgd": functools.partial(torch.optim.SGD, fused=True),
    "adam": functools.partial(torch.optim.Adam, fused=True),
    "radam": functools.partial(torch.optim.RAdam, foreach=True),
    "rmsprop": functools.partial(torch.optim.RMSprop, foreach=True),
    "adadelta": functools.partial(torch.optim.Adadelta, foreach=True),
}


@dataclass(frozen=True)
class Run:
    """A finished training: its record, and the folder that holds its weights."""

    record: Record
    folder: Path

    @property
    def history(self):
        """One line an epoch (pandas): epoch, lr, losses, accuracies as fractions, seconds."""
        return self.record.history

    @property
    def net(self) -> nn.Module:
        """The trained network, in evaluation mode, on the CPU."""
        with torch.device("meta"):  # where weights cost nothing until the trained ones are there
            net = self.untrained()
        Checkpoint(self.folder).load_weights(net)
        return net.eval()

    def untrained(self) -> nn.Module:
        """The network as it was before its first update, on the CPU."""
        data = self.record["data"]
        with own_randomness(torch.device("cpu"), deterministic=False):
            return build(self.record.recipe, len(data["classes"]), data["size"])


def fit(
    recipe: Recipe,
    data: Data | None = None,
    *,
    device: str = "auto",
    fresh: bool = False,
    about: Mapping[str, str] = {},
    deadline: float | None = None,
    checkpoint_every: float = 10.0,
) -> Run:
    """Train by a recipe, or recall the finished run of the same recipe, data and code.

    Args:
        recipe: everything that decides the numbers.
        data: the recipe's data set, if loaded already.
        device: "auto", "cpu" or "cuda".
        fresh: train again where a finished run exists; a stopped one goes on all the same.
        about: the labels row, report and preset of the record.
        deadline: a `time.monotonic()` after which to stop at the end of an epoch.
        checkpoint_every: seconds between two checkpoints (written at the end of an epoch).

    Raises:
        InputError: no such device, model, data set or option.
        TrainingError: the loss is not finite, memory ran out, or the GPU failed (DeviceError).
        OutOfTimeError: stopped at the deadline; the same call goes on.
    """
    if recipe.hierarchy:
        raise InputError("this recipe is of a coarse-to-fine system; use lk.fit_hierarchy")
    target = pick_device(device)
    data = data or load(recipe.dataset)
    folder = run_folder(recipe, data)
    finished = (folder / "record.json").exists()
    if finished and not fresh:
        return Run(recall(folder, about), folder)
    bf16 = use_bf16(recipe.precision, target)
    checkpoint = Checkpoint(folder, every=checkpoint_every, recipe=recipe.to_json())
    train, validation = data.holdout(recipe.validation, recipe.train_size, recipe.seed)
    with (
        watch_device(recipe, data, target),
        own_randomness(target, deterministic=recipe.deterministic),
    ):
        if finished:
            checkpoint.clear()
        checkpoint.prepare()
        test = test_split(recipe, data).to(target)
        net = build(recipe, len(data.classes), data.shape[-1])
        net.to(target, memory_format=torch.channels_last)
        rows = optimise(
            net,
            recipe,
            train.to(target),
            validation.to(target),
            normalise=statistics(recipe, data),
            checkpoint=checkpoint,
            bf16=bf16,
            label=about.get("row") or recipe.model,
            test=test if recipe.watch_test else None,
            deadline=deadline,
        )
        judge = functools.partial(predict, net, normalise=statistics(recipe, data), bf16=bf16)
        logits = judge(test)
        clean = (
            score(judge(train.to(target)), train.labels.to(target)) if recipe.score_train else None
        )
    record = records.seal(
        {
            **describe(recipe, data, rows, target, bf16, about),
            "test": score(logits, test.labels),
            "train_clean": clean,
            "resumed": checkpoint.resumed,
            "fingerprint": None,
            "parameters": count(net),
            "predictions": records.encode(logits.argmax(1).cpu().numpy()),
            "labels": records.encode(test.labels.cpu().numpy()),
            "details": {
                "train_images": len(train),
                "validation_images": len(validation),
                "multiply_adds": models.summary(net, data.shape).multiply_adds,
            },
        }
    )
    return finish(record, net, checkpoint, label=about.get("row") or recipe.model)


def optimise(
    net: nn.Module,
    recipe: Recipe,
    train: Split,
    validation: Split,
    *,
    normalise: tuple | None,
    checkpoint: Checkpoint,
    bf16: bool,
    label: str,
    test: Split | None = None,
    relabel: Callable[[int], Split] | None = None,
    deadline: float | None = None,
) -> list[dict[str, Any]]:
    """The loop: train `net` in place to the last epoch of its recipe; one row an epoch.

    `relabel` gives an epoch its own training split (report 000 redraws labels); `test` is only
    logged. All randomness of an epoch follows from (seed, epoch), so a resumed run ends with the
    same bits as one that was never stopped.
    """
    optimizer = make_optimizer(net, recipe)
    rows = checkpoint.restore(net, optimizer)
    update = make_update(net, optimizer, recipe, bf16)
    images = len(train) * len(passes(recipe.augment))
    if not recipe.steps(images):
        raise InputError(
            f"{images} training images are less than one batch of {recipe.batch}, and this recipe"
            f" drops what is less; set train_size to {recipe.batch} or more"
        )
    progress = Progress(label, done=len(rows) * images, total=recipe.epochs * images)
    while len(rows) < recipe.epochs and not stalled(rows, recipe.patience):
        epoch, started = len(rows), time.perf_counter()
        train = relabel(epoch) if relabel else train
        torch.manual_seed(derive(recipe.seed, "net", epoch))  # dropout
        generator = torch.Generator(train.images.device)
        generator.manual_seed(derive(recipe.seed, "data", epoch))
        net.train()
        total = torch.zeros(3, dtype=torch.float64, device=train.images.device)
        step = epoch * recipe.steps(images)
        for x, y in batches(
            train,
            recipe.batch,
            generator=generator,
            drop_last=recipe.drop_last,
            augment=recipe.augment,
            normalise=normalise,
        ):
            lr = recipe.lr_at(step, images)
            total += update(x, y, lr)
            step += 1
            progress.advance(len(x), functools.partial(_so_far, epoch + 1, recipe.epochs, total))
        loss, right, seen = total.tolist()
        row = {"epoch": epoch + 1, "lr": lr, "train_loss": loss / seen, "train_top1": right / seen}
        row |= {"images": int(seen), "train_seconds": time.perf_counter() - started}
        if isinstance(update, Replay):
            row["replayed"] = update.count()
        for name, split in (("val", validation), ("test", test)):
            if split is not None and len(split):
                result = score(predict(net, split, normalise=normalise, bf16=bf16), split.labels)
                row |= {f"{name}_loss": result["loss"], f"{name}_top1": result["top1"]}
        row["seconds"] = time.perf_counter() - started
        _check_finite(row, rows)
        rows.append(row)
        last = len(rows) == recipe.epochs or stalled(rows, recipe.patience)
        out_of_time = deadline is not None and time.monotonic() > deadline
        checkpoint.save(net, optimizer, rows, force=out_of_time)
        if out_of_time and not last:
            raise OutOfTimeError(
                f"{label}: stopped after epoch {len(rows)} of {recipe.epochs};"
                " run the same command again to go on from there"
            )
    progress.finish(_summary(rows))
    return rows


def make_update(
    net: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, bf16: bool
) -> Callable[[Tensor, Tensor, float], Tensor]:
    """`train_step` for images, labels and a learning rate: captured as a graph on a GPU.

    The environment variable LABKIT_GRAPH=0 leaves it as it is there, too.
    """

    def update(x: Tensor, y: Tensor, lr: float | Tensor) -> Tensor:
        return train_step(net, optimizer, x, y, lr, recipe.label_smoothing, bf16)

    device = next(net.parameters()).device
    for group in optimizer.param_groups:  # a checkpoint may come from another device
        if "capturable" in group:
            group["capturable"] = device.type == "cuda"
    for state in optimizer.state.values():
        if "step" in state and device.type == "cuda":  # a graph counts its steps on the GPU
            state["step"] = state["step"].to(device)
    captured = device.type == "cuda" and os.environ.get("LABKIT_GRAPH") != "0"
    return Replay(update, device) if captured else update


def train_step(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    lr: float | Tensor,
    label_smoothing: float,
    bf16: bool,
) -> Tensor:
    """One update; returns [summed loss, right answers, images] without waiting for the device."""
    optimizer.zero_grad(set_to_none=True)  # first: a step that failed may have left gradients
    for group in optimizer.param_groups:
        group["lr"] = lr
    with autocast(x.device, bf16):
        logits = net(x)
    logits = logits.float()
    loss = F.cross_entropy(logits, y, label_smoothing=label_smoothing)
    loss.backward()
    optimizer.step()
    total = loss.detach().double() * len(y)
    right = (logits.detach().argmax(1) == y).sum().double()
    # filled where it lies: a number that is copied to the GPU cannot be captured in a graph
    return torch.stack([total, right, torch.full_like(right, len(y))])


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters of `net`.

    Raises:
        InputError: it takes no such option.
    """
    try:
        make = OPTIMIZERS[recipe.optimizer]
        return make(net.parameters(), lr=recipe.lr, **recipe.optimizer_options)
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer {recipe.optimizer}: {error}") from error


def build(recipe: Recipe, classes: int, size: int) -> nn.Module:
    """The recipe's network with its initial weights, which follow from the seed alone."""
    torch.manual_seed(derive(recipe.seed, "weights"))
    try:
        return models.build(recipe.model, classes=classes, size=size, **recipe.options)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error


def statistics(recipe: Recipe, data: Data) -> tuple | None:
    """(mean, std) that the recipe normalises by; None leaves pixels in [0, 1]."""
    known = {"unit": None, "imagenet": IMAGENET, "standard": (data.mean, data.std)}
    return known[recipe.normalise]


def test_split(recipe: Recipe, data: Data) -> Split:
    """The test images, or the first class-balanced `test_size` of them.

    A `test_size` below the number of classes keeps one image of each of the first so many.
    """
    size, labels = recipe.test_size, data.test.labels
    if not size or size >= len(data.test):
        return data.test
    onehot = F.one_hot(labels, len(data.classes))
    rank = onehot.cumsum(0).gather(1, labels[:, None])[:, 0]  # 1 for a class's first
    chosen = rank <= max(1, size // len(data.classes))
    if size < len(data.classes):
        chosen &= labels < size
    return data.test.take(chosen.nonzero()[:, 0])


def run_folder(recipe: Recipe, data: Data) -> Path:
    """Where this run lives: its checkpoint until it is finished, then its record and weights."""
    return records.runs_home() / records.run_key(recipe, data.sha256)


def recall(folder: Path, about: Mapping[str, str]) -> Record:
    """The finished record in a folder, with the labels of who asks: equal recipes share a run."""
    return records.amend(records.read(folder / "record.json"), about)


def describe(
    recipe: Recipe,
    data: Data,
    rows: list[dict[str, Any]],
    device: torch.device,
    bf16: bool,
    about: Mapping[str, str],
) -> dict[str, Any]:
    """The part of a record that follows from its inputs and its rows."""
    best = max(rows, key=lambda row: row["test_top1"]) if recipe.watch_test else None
    images = sum(row["images"] for row in rows)
    return {
        "row": about.get("row", ""),
        "report": about.get("report", ""),
        "preset": about.get("preset", ""),
        "recipe": recipe.to_json(),
        "digest": recipe.digest,
        "rows": rows,
        "best_test": best and {"epoch": best["epoch"], "top1": best["test_top1"]},
        "seconds": sum(row["seconds"] for row in rows),
        "images_per_second": images / sum(row["train_seconds"] for row in rows),
        "peak_memory_mb": peak_memory(device),
        "device": device_card(device, bf16),
        "versions": records.versions(),
        "data": {**data.card(), "size": data.shape[-1]},
        "code": records.code_digests(),
    }


def finish(record: Record, net: nn.Module, checkpoint: Checkpoint, label: str) -> Run:
    """Keep weights, then claim the record; of two racing runs the first one's stands."""
    path = checkpoint.folder / "record.json"
    if not path.exists():
        checkpoint.save_weights(net)
    if not records.claim(record, path):
        record = records.read(path)
        print(f"{label}: already recorded by another run of the same recipe", file=sys.stderr)
    checkpoint.forget()
    return Run(record, checkpoint.folder)


def count(net: nn.Module) -> dict[str, int]:
    """Parameters as Keras counts them: trainable, and with BN running statistics in the total."""
    trainable = sum(p.numel() for p in net.parameters())
    buffers = [b for name, b in net.named_buffers() if not name.endswith("num_batches_tracked")]
    return {"total": trainable + sum(b.numel() for b in buffers), "trainable": trainable}


@contextlib.contextmanager
def watch_device(recipe: Recipe, data: Data, device: torch.device) -> Iterator[None]:
    """Refuse a run that would not fit before it starts, and count its peak from here.

    What a device cannot do becomes a sentence that holds no tensors alive: too little memory, an
    operation that it has no deterministic kernel for, a failure of the GPU itself.
    """
    reuse_memory()
    need = cost.memory(recipe, data, device)
    if cost.free_memory(device) < need:
        release_memory()
    free = cost.free_memory(device)
    if need > free:
        raise TrainingError(
            f"this run needs about {need:,.0f} MB of memory and {free:,.0f} MB are free on the"
            f" {device.type}: {recipe.model} at batch {recipe.batch} on {recipe.dataset}; try a"
            " smaller batch (another recipe, another record)"
        )
    reset_peak_memory(device)
    try:
        yield
    except RuntimeError as error:
        found = _device_trouble(error, recipe, device)
        if not found:
            raise
        error.__traceback__ = None
    else:
        return
    raise found


def _device_trouble(error: RuntimeError, recipe: Recipe, device: torch.device) -> Exception | None:
    """The error to raise in place of PyTorch's; None where the device is not to blame."""
    what = str(error)
    if isinstance(error, torch.OutOfMemoryError) or NO_MEMORY.search(what):
        return TrainingError(
            f"out of memory on the {device.type}: {recipe.model} at batch {recipe.batch} on"
            f" {recipe.dataset}, {cost.free_memory(device):,.0f} MB free; try a smaller batch"
            " (another recipe, another record)"
        )
    if NO_KERNEL in what:
        return InputError(
            f"{recipe.model} cannot be trained deterministically on this {device.type}:"
            f" {what.partition('.')[0]}; leave deterministic=False, or use device=cpu"
        )
    if isinstance(error, CaptureError):
        return DeviceError(
            f"{what}; with LABKIT_GRAPH=0 in the environment the same command goes on without one"
            " from the last checkpoint"
        )
    if isinstance(error, torch.AcceleratorError) or GPU_FAILED.search(what):
        first = what.partition("\n")[0]
        return DeviceError(
            f"the GPU failed: {first}; the same command goes on from the last checkpoint"
        )
    return None


def stalled(rows: list[dict[str, Any]], patience: int) -> bool:
    """True when the validation loss has not improved for `patience` epochs (0: never)."""
    if not patience or len(rows) <= patience:
        return False
    losses = [row["val_loss"] for row in rows]
    return len(rows) - 1 - losses.index(min(losses)) >= patience


def _check_finite(row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    if all(math.isfinite(value) for value in row.values()):
        return
    before = f"{rows[-1]['train_loss']:.4g} the epoch before" if rows else "there was none before"
    raise TrainingError(
        f"the loss is not finite after epoch {row['epoch']} (last finite loss: {before});"
        f" learning rate {row['lr']:.4g}: try a lower lr. No record was written"
    )


def _so_far(epoch: int, epochs: int, total: Tensor) -> str:
    loss, right, seen = total.tolist()
    return f"epoch {epoch}/{epochs}  loss {loss / seen:.3f}  top1 {100 * right / seen:.1f} %"


def _summary(rows: list[dict[str, Any]]) -> str:
    row, seconds = rows[-1], sum(row["seconds"] for row in rows)
    text = f"{len(rows)} epochs in {clock(seconds)}, train top1 {100 * row['train_top1']:.1f} %"
    return text + (f", validation {100 * row['val_top1']:.1f} %" if "val_top1" in row else "")
