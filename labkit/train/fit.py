"""One way to train whatever a recipe describes, and what a finished training is."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import nn

from labkit import models, records
from labkit.data import Data, load
from labkit.errors import DataError
from labkit.recipe import Recipe
from labkit.records import Record
from labkit.train import loop, system
from labkit.train.choice import choose
from labkit.train.device import device_card, own_randomness, peak_memory, pick_device, thread_count
from labkit.train.evaluate import Numerics, Outcome, score
from labkit.train.folder import RunFolder, weights_digest
from labkit.train.trouble import watch_device

__all__ = ["Run", "fit", "parameter_counts"]


@dataclass(frozen=True)
class Run:
    """A finished training: its record, and the folder that holds its weights."""

    record: Record
    folder: RunFolder

    @property
    def history(self) -> pd.DataFrame:
        """One line an epoch: epoch, lr, losses, accuracies as fractions, seconds."""
        return self.record.history

    @property
    def net(self) -> nn.Module:
        """The trained network, or `System` of networks, in evaluation mode, on the CPU."""
        with torch.device("meta"):  # where weights cost nothing until the trained ones are there
            net = self.untrained()
        self.folder.load_weights(net)
        return net.eval()

    def untrained(self) -> nn.Module:
        """The network as it was before its first update, on the CPU."""
        recipe, data = self.record.recipe, self.record["data"]
        with own_randomness(torch.device("cpu"), deterministic=False):
            if recipe.hierarchy:
                return system.build_system(recipe, tuple(data["classes"]), data["size"])
            return loop.build(recipe, len(data["classes"]), data["size"])


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

    A recipe with a `Hierarchy` trains a coarse-to-fine system (see `labkit.train.system`); its
    router is a run of its own, which all systems with the same router share.

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
    target = pick_device(device)
    data = data or load(recipe.dataset)
    folder = RunFolder.of(recipe, data, every=checkpoint_every)
    finished = folder.recorded.exists()
    if folder.finished and not fresh:
        return Run(folder.record(about), folder)
    label = about.get("row") or ("system" if recipe.hierarchy else recipe.model)
    train = _fit_network
    if recipe.hierarchy:
        same = {"device": device, "deadline": deadline, "checkpoint_every": checkpoint_every}
        coarse = system.router_recipe(recipe), system.router_data(recipe, data)
        router, net = _router(
            *coarse, fresh=fresh and finished, about={"row": f"{label} router"}, **same
        )
        train = functools.partial(system.fit_system, net, router.record)
    with (
        watch_device(recipe, data, target),
        own_randomness(target, deterministic=recipe.deterministic),
    ):
        if finished:
            folder.clear()
        folder.prepare()
        numerics = choose(recipe, data, target, folder)
        options = {"folder": folder, "label": label, "deadline": deadline}
        with thread_count(numerics.threads):
            outcome = train(recipe, data, target, numerics, **options)
            account = _account(recipe, outcome)
    peak = router.record["peak_memory_mb"] if recipe.hierarchy else 0.0
    values = account | {
        **{name: about.get(name, "") for name in ("row", "report", "preset")},
        "peak_memory_mb": max(peak_memory(target), peak),
        "device": device_card(target, numerics.bf16, numerics.threads, numerics.rates),
        "versions": records.versions(),
        "data": {**data.card(), "size": data.shape[-1]},
        "code": records.code_digests(),
        "resumed": folder.resumed,
        "fingerprint": None,
    }
    return Run(folder.finish(records.seal(values), outcome.net, label), folder)


def _router(*coarse: Any, fresh: bool, **same: Any) -> tuple[Run, nn.Module]:
    """The router's run and its network; trained again if its weights are not its record's."""
    run = fit(*coarse, fresh=fresh, **same)
    try:
        return run, run.net
    except DataError as error:
        print(f"{error}", file=sys.stderr)
        run = fit(*coarse, **same)
        return run, run.net


def _fit_network(
    recipe: Recipe, data: Data, target: torch.device, numerics: Numerics, **options: Any
) -> Outcome:
    splits = data.holdout(recipe.validation, recipe.train_size, recipe.seed)
    train, validation = (split.to(target) for split in splits)
    test = data.test_subset(recipe.test_size).to(target)
    net = loop.build(recipe, len(data.classes), data.shape[-1])
    net.to(target, memory_format=torch.channels_last)
    watched = {"val": validation} if recipe.validation else {}
    watched |= {"test": test} if recipe.watch_test else {}
    history = loop.optimise(net, recipe, train, numerics=numerics, watched=watched, **options)
    logits = numerics.judge(net, test)
    clean = score(numerics.judge(net, train), train.labels) if recipe.score_train else None
    details = {"train_images": len(train), "validation_images": len(validation)}
    details["multiply_adds"] = models.summary(net, data.shape).multiply_adds
    return Outcome(net, history, logits, test.labels, details, clean)


def _account(recipe: Recipe, outcome: Outcome) -> dict[str, Any]:
    """What a record says of the training and its scores."""
    history, logits, labels = outcome.history, outcome.logits, outcome.labels
    best = max(history, key=lambda row: row["test_top1"]) if recipe.watch_test else None
    # a system gives a misrouted image probability 0
    test = score(logits, labels) | ({"loss": None} if recipe.hierarchy else {})
    images = sum(row["images"] for row in history)
    return {
        "recipe": recipe.to_json(),
        "digest": recipe.digest,
        "rows": history,
        "test": test,
        "best_test": best and {"epoch": best["epoch"], "top1": best["test_top1"]},
        "train_clean": outcome.train_clean,
        "seconds": sum(row["seconds"] for row in history),
        "images_per_second": images / sum(row["train_seconds"] for row in history),
        "parameters": parameter_counts(outcome.net),
        "predictions": records.encode(logits.argmax(1).cpu().numpy()),
        "labels": records.encode(labels.cpu().numpy()),
        "details": outcome.details | {"weights": weights_digest(outcome.net)},
    }


def parameter_counts(net: nn.Module) -> dict[str, int]:
    """Parameters as Keras counts them: trainable, and with BN running statistics in the total."""
    trainable = sum(p.numel() for p in net.parameters())
    buffers = [b for name, b in net.named_buffers() if not name.endswith("num_batches_tracked")]
    return {"total": trainable + sum(b.numel() for b in buffers), "trainable": trainable}
