"""Coarse-to-fine systems (report 000): a router, then one fine model for each group of classes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from labkit import models, records, train
from labkit.checkpoint import Checkpoint
from labkit.data import Data, Split, load
from labkit.data.partitions import PARTITIONS
from labkit.device import derive, own_randomness, pick_device, use_bf16
from labkit.evaluate import predict, score
from labkit.parameters import InputError
from labkit.recipe import Recipe
from labkit.train import Run


class System(nn.Module):
    """A router over G groups and G fine models over the classes of their group.

    `groups` holds, for each group, the indices of its classes among all classes.
    """

    def __init__(self, coarse: nn.Module, fine: list[nn.Module], groups: list[Tensor]) -> None:
        super().__init__()
        self.coarse, self.fine, self.groups = coarse, nn.ModuleList(fine), groups

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities [B, classes] by hard routing; -inf outside the chosen group."""
        fine = [net(x).float().log_softmax(1) for net in self.fine]
        return hard(self.coarse(x).float(), fine, self.groups)


class SystemRun(Run):
    """A finished coarse-to-fine system; `net` is its `System`."""

    def untrained(self) -> System:
        recipe, data = self.record.recipe, self.record["data"]
        h, size = recipe.hierarchy, data["size"]
        groups = class_groups(h.groups, tuple(data["classes"]))
        coarse = models.build(recipe.model, classes=len(groups), size=size, **recipe.options)
        fine = [models.build(h.model, classes=len(g), size=size, **h.options) for g in groups]
        return System(coarse, fine, groups)


def hard(coarse: Tensor, fine: list[Tensor], groups: list[Tensor]) -> Tensor:
    """Each image goes to its most probable group only: log-probabilities [N, classes].

    coarse: logits [N, G]; fine: log-probabilities [N, classes of g] for each group g.
    """
    return route(coarse.argmax(1), fine, groups)


def route(group: Tensor, fine: list[Tensor], groups: list[Tensor]) -> Tensor:
    """Each image goes to the given group, int64 [N]: log-probabilities [N, classes]."""
    together = fine[0].new_full((len(group), sum(map(len, groups))), -torch.inf)
    for g, classes in enumerate(groups):
        chosen = (group == g).nonzero()[:, 0]
        together[chosen[:, None], classes.to(group.device)] = fine[g][chosen]
    return together


def soft(coarse: Tensor, fine: list[Tensor], groups: list[Tensor]) -> Tensor:
    """Every fine model votes, weighted by its group's probability (as HD-CNN, Yan et al. 2015)."""
    together = fine[0].new_empty((len(coarse), sum(map(len, groups))))
    weights = coarse.log_softmax(1)
    for g, classes in enumerate(groups):
        together[:, classes.to(coarse.device)] = fine[g] + weights[:, g : g + 1]
    return together


def class_groups(name: str, classes: tuple[str, ...]) -> list[Tensor]:
    """The class indices of every group of a partition, int64, in the partition's order.

    Raises:
        InputError: no such partition, or it does not divide these classes.
    """
    if name not in PARTITIONS:
        raise InputError(f"no partition {name!r}; known: {', '.join(PARTITIONS)}")
    number = {label: index for index, label in enumerate(classes)}
    groups = [list(members) for members in PARTITIONS[name].values()]
    if sorted(label for members in groups for label in members) != sorted(classes):
        raise InputError(
            f"partition {name!r} divides CIFAR-100's classes, not these {len(classes)}"
        )
    return [torch.tensor([number[label] for label in members]) for members in groups]


def fit_hierarchy(
    recipe: Recipe,
    data: Data | None = None,
    *,
    device: str = "auto",
    fresh: bool = False,
    about: Mapping[str, str] = {},
    deadline: float | None = None,
    checkpoint_every: float = 10.0,
) -> SystemRun:
    """Train a coarse-to-fine system, or recall it; arguments and errors as `lk.fit`.

    The record's test scores are those of hard routing. `details` adds what explains them: the
    router's accuracy, oracle and soft routing, accuracy by group, memory. A stopped system goes
    on inside the part where it stopped.
    """
    if recipe.hierarchy is None:
        raise InputError("this recipe has no hierarchy; use lk.fit")
    target = pick_device(device)
    data = data or load(recipe.dataset)
    folder = train.run_folder(recipe, data, fresh)
    if (folder / "record.json").exists():
        return SystemRun(records.read(folder / "record.json"), folder)
    groups = class_groups(recipe.hierarchy.groups, data.classes)
    label = about.get("row") or "hierarchy"
    part = functools.partial(
        _train_part,
        recipe=recipe,
        data=data,
        target=target,
        deadline=deadline,
        every=checkpoint_every,
    )
    images = data.holdout(recipe.validation, recipe.train_size, recipe.seed)[0].to(target)
    test = train.test_split(recipe, data).to(target)
    bf16 = use_bf16(recipe.precision, target)
    judge = functools.partial(predict, normalise=train.statistics(recipe, data), bf16=bf16)
    mark = train.fingerprint(recipe, data.shape, len(groups))
    with own_randomness(target, deterministic=recipe.deterministic):
        of_class = _group_of_class(groups).to(target)
        coarse_split = replace(images, labels=of_class[images.labels])
        coarse, rows, resumed = part(
            recipe.replace(hierarchy=None), coarse_split, len(groups), folder / "coarse",
            f"{label} router",
        )  # fmt: skip
        routed = judge(coarse, images).argmax(1)
        fine = []
        for g, classes in enumerate(groups):
            given = images.take(routed == g)
            net, more, again = part(
                fine_recipe(recipe, g), given, len(classes), folder / f"fine{g}",
                f"{label} fine model {g + 1} of {len(groups)}", relabel=Relabel(
                    given, classes.to(target), recipe.hierarchy.misrouted, recipe.seed, g
                ),
            )  # fmt: skip
            fine.append(net)
            rows, resumed = rows + more, resumed + again
        outputs = judge(coarse, test), [judge(net, test).log_softmax(1) for net in fine]
    logits = hard(*outputs, groups)
    system = System(coarse, fine, groups)
    details = (
        explain(*outputs, groups, test.labels)
        | {
            "train_images": len(images),
            "coarse_train_top1": (routed == of_class[images.labels]).double().mean().item(),
            "misrouted_train_images": int((routed != of_class[images.labels]).sum()),
            "routed_train_images": torch.bincount(routed, minlength=len(groups)).tolist(),
        }
        | memory(system)
    )
    record = records.seal(
        {
            **train.describe(recipe, data, rows, target, bf16, about),
            "test": score(logits, test.labels) | {"loss": None},  # infinite where misrouted
            "train_clean": None,
            "resumed": resumed,
            "fingerprint": mark,
            "parameters": train.count(system),
            "predictions": records.encode(logits.argmax(1).cpu().numpy()),
            "labels": records.encode(test.labels.cpu().numpy()),
            "details": details,
        }
    )
    run = train.finish(record, system, Checkpoint(folder), label)
    for name in ["coarse", *(f"fine{g}" for g in range(len(groups)))]:
        Checkpoint(folder / name).forget()
        (folder / name).rmdir()
    return SystemRun(run.record, run.folder)


class Relabel:
    """The training split of one fine model, epoch by epoch.

    An image whose class is not in the group was misrouted. It gets a random label of the group,
    drawn once or anew each epoch, or it is dropped.
    """

    def __init__(
        self, given: Split, classes: Tensor, misrouted: str, seed: int, group: int
    ) -> None:
        place = torch.full((int(max(given.labels.max(), classes.max())) + 1,), -1)
        place = place.to(classes.device).index_copy(
            0, classes, torch.arange(len(classes), device=classes.device)
        )
        labels = place[given.labels]
        keep = labels >= 0 if misrouted == "drop" else torch.ones_like(labels, dtype=torch.bool)
        self.split = Split(given.images[keep], labels[keep])
        self.classes, self.misrouted, self.seed, self.group = len(classes), misrouted, seed, group

    def __len__(self) -> int:
        return len(self.split)

    def __call__(self, epoch: int) -> Split:
        drawn = epoch if self.misrouted == "epoch" else 0
        generator = torch.Generator().manual_seed(derive(self.seed, "misrouted", self.group, drawn))
        labels = self.split.labels
        random = torch.randint(self.classes, (len(labels),), generator=generator)
        return Split(self.split.images, torch.where(labels < 0, random.to(labels.device), labels))


def fine_recipe(recipe: Recipe, group: int) -> Recipe:
    """What the fine model of a group trains by: the router's recipe with its own net and epochs."""
    h = recipe.hierarchy
    return recipe.replace(
        hierarchy=None, model=h.model, options=h.options, epochs=h.epochs,
        seed=derive(recipe.seed, "fine", group) % 2**31,
    )  # fmt: skip


def explain(
    coarse: Tensor, fine: list[Tensor], groups: list[Tensor], labels: Tensor
) -> dict[str, Any]:
    """Where a system's accuracy comes from: router, fine models, and what other routing gives."""
    true_group = _group_of_class(groups).to(labels.device)[labels]
    routed = coarse.argmax(1) == true_group
    oracle = route(true_group, fine, groups)
    by_group = [oracle[true_group == g].argmax(1) for g in range(len(groups))]
    right = [(p == labels[true_group == g]).double() for g, p in enumerate(by_group)]
    mixed = score(soft(coarse, fine, groups), labels)
    confusion = torch.bincount(
        true_group * len(groups) + coarse.argmax(1), minlength=len(groups) ** 2
    )
    return {
        "coarse_top1": routed.double().mean().item(),
        "oracle_top1": (oracle.argmax(1) == labels).double().mean().item(),
        "soft_top1": mixed["top1"],
        "soft_top3": mixed["top3"],
        "soft_loss": mixed["loss"],
        "fine_top1_by_group": [r.mean().item() if len(r) else None for r in right],
        "router_confusion": confusion.reshape(len(groups), -1).tolist(),
    }


def memory(net: nn.Module) -> dict[str, float]:
    """The size of all parameters, in MB and in the report's unit (KiB / 1000; section 1.4)."""
    size = 4 * sum(p.numel() for p in net.parameters())
    return {"memory_mb": size / 1e6, "memory_report_unit": size / 1024 / 1000}


def _train_part(
    part: Recipe,
    split: Split,
    classes: int,
    folder,
    label: str,
    *,
    recipe: Recipe,
    data: Data,
    target: torch.device,
    deadline: float | None,
    every: float,
    relabel: Relabel | None = None,
) -> tuple[nn.Module, list[dict[str, Any]], int]:
    """Train the router or one fine model; the net, its rows, and how often it was resumed."""
    checkpoint = Checkpoint(folder, every=every)
    net = train.build(part, classes, data.shape[-1])
    net.to(target, memory_format=torch.channels_last)
    rows = train.optimise(
        net,
        part,
        relabel.split if relabel else split,
        split.take(torch.zeros(0, dtype=torch.int64, device=target)),
        normalise=train.statistics(recipe, data),
        checkpoint=checkpoint,
        bf16=use_bf16(recipe.precision, target),
        label=label,
        relabel=relabel,
        deadline=deadline,
    )
    return net, [row | {"part": folder.name} for row in rows], checkpoint.resumed


def _group_of_class(groups: list[Tensor]) -> Tensor:
    """int64 [classes]: the group that each class belongs to."""
    of_class = torch.empty(sum(map(len, groups)), dtype=torch.int64)
    for g, classes in enumerate(groups):
        of_class[classes] = g
    return of_class
