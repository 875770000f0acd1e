"""The loop, on one page, and what it calls. A stopped training goes on where it stopped."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from labkit import models
from labkit.data import Split
from labkit.data.batches import batches
from labkit.errors import InputError, OutOfTimeError, TrainingError
from labkit.recipe import Recipe
from labkit.train.cast import cast_together
from labkit.train.device import derive
from labkit.train.evaluate import Numerics, score
from labkit.train.folder import History, RunFolder
from labkit.train.graph import Replay
from labkit.train.progress import Progress, clock

__all__ = ["OPTIMIZERS", "build", "make_optimizer", "make_update", "optimise", "train_step"]

Update = Callable[[Tensor, Tensor, float], Tensor]  # images, labels, lr -> sums of `train_step`
OPTIMIZERS = {
    "sgd": functools.partial(torch.optim.SGD, fused=True),
    "adam": functools.partial(torch.optim.Adam, fused=True),
    "radam": functools.partial(torch.optim.RAdam, foreach=True),
    "rmsprop": functools.partial(torch.optim.RMSprop, foreach=True),
    "adadelta": functools.partial(torch.optim.Adadelta, foreach=True),
}


def optimise(
    net: nn.Module,
    recipe: Recipe,
    train: Split,
    *,
    numerics: Numerics,
    folder: RunFolder,
    label: str,
    watched: Mapping[str, Split] = {},
    relabel: Callable[[int], Split] | None = None,
    deadline: float | None = None,
) -> History:
    """Train `net` in place to the last epoch of its recipe; its history, one row an epoch.

    All randomness of an epoch follows from (seed, epoch), so a resumed training ends with the same
    bits as one that was never stopped.

    Args:
        folder: where checkpoints lie; a training that was stopped there goes on.
        watched: scored after each epoch: "val", which may stop the training early, and "test".
        relabel: gives an epoch its own training split (report 000 redraws labels).
        deadline: a `time.monotonic()` after which to stop at the end of an epoch.

    Raises:
        InputError: less than one batch of images, or the checkpoint is another recipe's.
        TrainingError: the loss is not finite.
        OutOfTimeError: stopped at the deadline.
    """
    images = len(train) * recipe.passes
    if not recipe.steps(images):
        raise InputError(
            f"{images} training images are less than one batch of {recipe.batch}, and this recipe"
            f" drops what is less; set train_size to {recipe.batch} or more"
        )
    optimizer = make_optimizer(net, recipe)
    history = folder.restore(net, optimizer)
    progress = Progress(label, done=len(history) * images, total=recipe.epochs * images)
    with make_update(net, optimizer, recipe, numerics.bf16) as update:
        while not _finished(history, recipe):
            started, epoch = time.perf_counter(), len(history)
            train = relabel(epoch) if relabel else train
            net.train()
            row = _train_epoch(update, recipe, train, numerics, epoch, progress)
            for name, split in watched.items():
                scores = score(numerics.judge(net, split), split.labels)
                row |= {f"{name}_loss": scores["loss"], f"{name}_top1": scores["top1"]}
            row["seconds"] = time.perf_counter() - started
            _check_finite(row, history)
            history.append(row)
            out_of_time = deadline is not None and time.monotonic() > deadline
            folder.save(net, optimizer, history, force=out_of_time)
            if out_of_time and not _finished(history, recipe):
                raise OutOfTimeError(
                    f"{label}: stopped after epoch {len(history)} of {recipe.epochs};"
                    " run the same command again to go on from there"
                )
    progress.finish(_summary(history))
    return history


def _train_epoch(
    update: Update, recipe: Recipe, train: Split, numerics: Numerics, epoch: int, progress: Progress
) -> dict[str, Any]:
    """Show every image once under each pipeline; what the epoch's row says of training."""
    started, device = time.perf_counter(), train.images.device
    torch.manual_seed(derive(recipe.seed, "net", epoch))  # dropout
    generator = torch.Generator(device).manual_seed(derive(recipe.seed, "data", epoch))
    images = len(train) * recipe.passes
    total = torch.zeros(3, dtype=torch.float64, device=device)

    def line() -> str:
        loss, right, seen = total.tolist()
        now = f"epoch {epoch + 1}/{recipe.epochs}"
        return f"{now}  loss {loss / seen:.3f}  top1 {100 * right / seen:.1f} %"

    stream = batches(
        train, recipe.batch, generator=generator, drop_last=recipe.drop_last,
        augment=recipe.augment, normalise=numerics.normalise,
    )  # fmt: skip
    for step, (x, y) in enumerate(stream, epoch * recipe.steps(images)):
        lr = recipe.lr_at(step, images)
        total += update(x, y, lr)
        progress.advance(len(x), line)
    loss, right, seen = total.tolist()
    row = {"epoch": epoch + 1, "lr": lr, "train_loss": loss / seen, "train_top1": right / seen}
    return row | {"images": int(seen), "train_seconds": time.perf_counter() - started}


@contextlib.contextmanager
def make_update(
    net: nn.Module, optimizer: Optimizer, recipe: Recipe, bf16: bool
) -> Iterator[Update]:
    """`train_step` for images, labels and a learning rate: on a GPU a graph, unless LABKIT_GRAPH=0.

    Gradients, and the memory of the graph where they lie, are given back at the end.
    """
    device = next(net.parameters()).device
    gpu = device.type == "cuda"
    forward = cast_together(net) if gpu and bf16 else net

    def update(x: Tensor, y: Tensor, lr: float | Tensor) -> Tensor:
        return train_step(forward, optimizer, x, y, lr, recipe.label_smoothing, bf16)

    for group in optimizer.param_groups:  # a checkpoint may come from another device
        if "capturable" in group:
            group["capturable"] = gpu
    for state in optimizer.state.values():
        if "step" in state and gpu:  # a graph counts its steps on the GPU
            state["step"] = state["step"].to(device)
    replay = Replay(update, device) if gpu and os.environ.get("LABKIT_GRAPH") != "0" else None
    try:
        yield replay or update
    finally:
        optimizer.zero_grad(set_to_none=True)
        if replay:
            replay.close()


def train_step(
    net: Callable[[Tensor], Tensor],
    optimizer: Optimizer,
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
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        logits = net(x)
    logits = logits.float()
    loss = F.cross_entropy(logits, y, label_smoothing=label_smoothing)
    loss.backward()
    optimizer.step()
    total = loss.detach().double() * len(y)
    right = (logits.detach().argmax(1) == y).sum().double()
    # filled where it lies: a number that is copied to the GPU cannot be captured in a graph
    return torch.stack([total, right, torch.full_like(right, len(y))])


def make_optimizer(net: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over all parameters of `net`.

    Raises:
        InputError: it takes no such option.
    """
    make = OPTIMIZERS[recipe.optimizer]
    try:
        return make(net.parameters(), lr=recipe.lr, **recipe.optimizer_options)
    except (TypeError, ValueError) as error:
        raise InputError(f"optimizer {recipe.optimizer}: {error}") from error


def build(recipe: Recipe, classes: int, size: int) -> nn.Module:
    """The recipe's network with its initial weights, which follow from the seed alone.

    Raises:
        InputError: no such model or option.
    """
    torch.manual_seed(derive(recipe.seed, "weights"))
    net = models.build(recipe.model, classes=classes, size=size, **recipe.options)
    for layer in net.modules():
        # only an average over all batches needs their count, which is a kernel a layer and step
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)) and layer.momentum is not None:
            layer.num_batches_tracked = None
    return net


def _finished(history: History, recipe: Recipe) -> bool:
    return len(history) == recipe.epochs or stalled(history, recipe.patience)


def stalled(history: History, patience: int) -> bool:
    """True when the validation loss has not improved for `patience` epochs (0: never)."""
    losses = [row["val_loss"] for row in history] if patience else []
    return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= patience


def _check_finite(row: dict[str, Any], history: History) -> None:
    if not all(map(math.isfinite, row.values())):
        before = f"{history[-1]['train_loss']:.4g}" if history else "there was none"
        raise TrainingError(
            f"the loss is not finite after epoch {row['epoch']} (the epoch before: {before});"
            f" learning rate {row['lr']:.4g}: try a lower lr. No record was written"
        )


def _summary(history: History) -> str:
    row, seconds = history[-1], sum(row["seconds"] for row in history)
    text = f"{len(history)} epochs in {clock(seconds)}, train top1 {100 * row['train_top1']:.1f} %"
    return text + (f", validation {100 * row['val_top1']:.1f} %" if "val_top1" in row else "")
