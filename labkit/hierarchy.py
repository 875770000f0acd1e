"""Coarse-to-fine systems (report 000): a router, then one fine model for each group of classes."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from labkit import files, models, records, train
from labkit.checkpoint import Checkpoint
from labkit.data import Data, Split, load
from labkit.data.partitions import PARTITIONS
from labkit.device import derive, own_randomness, pick_device, use_bf16
from labkit.errors import InputError
from labkit.evaluate import predict, score
from labkit.recipe import Recipe
from labkit.train import Run


class System(nn.Module):
    """A router over G groups and G fine models over the classes of their group.

    `groups` holds, for each group, the indices of its classes among all classes.
    """

    def __init__(self, router: nn.Module, fine: list[nn.Module], groups: list[Tensor]) -> None:
        super().__init__()
        self.router, self.fine, self.groups = router, nn.ModuleList(fine), groups

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities [B, classes] by hard routing; -inf outside the chosen group."""
        fine = [net(x).float().log_softmax(1) for net in self.fine]
        return route(self.router(x).argmax(1), fine, self.groups)


class SystemRun(Run):
    """A finished coarse-to-fine system; `net` is its `System`."""

    def untrained(self) -> System:
        recipe, data = self.record.recipe, self.record["data"]
        size, groups = data["size"], class_groups(recipe.hierarchy.groups, tuple(data["classes"]))
        parts = [(router_recipe(recipe), len(groups))]
        parts += [(fine_recipe(recipe, g), len(classes)) for g, classes in enumerate(groups)]
        with own_randomness(torch.device("cpu"), deterministic=False):
            router, *fine = (train.build(part, classes, size) for part, classes in parts)
        return System(router, fine, groups)


def route(group: Tensor, fine: list[Tensor], groups: list[Tensor]) -> Tensor:
    """Each image goes to one group, int64 [N], only: log-probabilities [N, classes].

    fine: log-probabilities [N, classes of g] for each group g. Classes outside the group of an
    image get -inf.
    """
    together = fine[0].new_full((len(group), sum(map(len, groups))), -torch.inf)
    for g, classes in enumerate(groups):
        chosen = (group == g).nonzero()[:, 0]
        together[chosen[:, None], classes.to(group.device)] = fine[g][chosen]
    return together


def soft(router: Tensor, fine: list[Tensor], groups: list[Tensor]) -> Tensor:
    """Every fine model votes, weighted by its group's probability: log-probabilities [N, classes].

    The routing of HD-CNN (Yan et al. 2015, arXiv:1410.0736). router: logits [N, G]; fine as in
    `route`.
    """
    together = fine[0].new_empty((len(router), sum(map(len, groups))))
    weights = router.log_softmax(1)
    for g, classes in enumerate(groups):
        together[:, classes.to(router.device)] = fine[g] + weights[:, g : g + 1]
    return together


def class_groups(name: str, classes: tuple[str, ...]) -> list[Tensor]:
    """The class indices of every group of a partition, int64, in the partition's order.

    Raises:
        InputError: no such partition, or it does not divide these classes.
    """
    if name not in PARTITIONS:
        raise InputError(f"no partition {name!r}; known: {', '.join(PARTITIONS)}")
    number = {label: index for index, label in enumerate(classes)}
    groups = PARTITIONS[name].values()
    if sorted(label for members in groups for label in members) != sorted(classes):
        raise InputError(
            f"partition {name!r} divides the 100 classes of CIFAR-100, not these {len(classes)};"
            " use dataset cifar100 or synthetic_cifar100"
        )
    # wherever networks are built just now, these have values
    return [torch.tensor([number[c] for c in members], device="cpu") for members in groups]


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

    The router is a run of its own, which all systems with the same router share. The record's
    test scores are those of hard routing; its loss is None, because a misrouted image has
    probability 0. `details` adds what explains them (see `explain`), and the multiply-adds of an
    image, which passes the router and one fine model. `seconds` are those of all models, the
    router's from the run that trained it. A stopped system goes on inside the model where it
    stopped.
    """
    _check(recipe)
    target = pick_device(device)
    data = data or load(recipe.dataset)
    folder = train.run_folder(recipe, data)
    finished = (folder / "record.json").exists()
    if finished and not fresh:
        return SystemRun(train.recall(folder, about), folder)
    groups = class_groups(recipe.hierarchy.groups, data.classes)
    label = about.get("row") or "system"
    bf16 = use_bf16(recipe.precision, target)
    limits = {"deadline": deadline, "checkpoint_every": checkpoint_every}
    small = _subset(recipe, data)
    router = train.fit(
        router_recipe(recipe), coarse_data(small, recipe.hierarchy.groups), device=device,
        fresh=finished, about={"row": f"{label} router"}, **limits,
    )  # fmt: skip
    judge = functools.partial(predict, normalise=train.statistics(recipe, data), bf16=bf16)
    with (
        train.watch_device(recipe, data, target),
        own_randomness(target, deterministic=recipe.deterministic),
    ):
        if finished:  # and wanted fresh: with its router, which has just been trained again
            Checkpoint(folder).clear()
        images, test = small.train.to(target), small.test.to(target)
        net = router.net.to(target, memory_format=torch.channels_last)
        routed = judge(net, images).argmax(1)
        fine, rows, resumed = [], router.record["rows"], router.record["resumed"]
        rows = [row | {"part": "router"} for row in rows]
        for g, classes in enumerate(groups):
            expert_recipe = fine_recipe(recipe, g)
            checkpoint = Checkpoint(
                folder / f"fine{g}", every=checkpoint_every, recipe=expert_recipe.to_json()
            )
            expert, more = _fit_fine(
                expert_recipe, images.take(routed == g), classes.to(target), checkpoint,
                misrouted=recipe.hierarchy.misrouted, normalise=train.statistics(recipe, data),
                bf16=bf16, label=f"{label} fine model {g + 1} of {len(groups)}", deadline=deadline,
            )  # fmt: skip
            fine.append(expert)
            rows += [row | {"part": f"fine{g}"} for row in more]
            resumed += checkpoint.resumed
        outputs = judge(net, test), [judge(expert, test).log_softmax(1) for expert in fine]
    logits = route(outputs[0].argmax(1), outputs[1], groups)
    system = System(net, fine, groups)
    described = train.describe(recipe, data, rows, target, bf16, about)
    peak = max(described["peak_memory_mb"], router.record["peak_memory_mb"])
    record = records.seal(
        {
            **described,
            "peak_memory_mb": peak,
            "test": score(logits, test.labels) | {"loss": None},
            "train_clean": None,
            "resumed": resumed,
            "fingerprint": None,
            "parameters": train.count(system),
            "predictions": records.encode(logits.argmax(1).cpu().numpy()),
            "labels": records.encode(test.labels.cpu().numpy()),
            "details": {
                **explain(*outputs, groups, test.labels),
                **_explain_training(routed, groups, images.labels),
                "multiply_adds": sum(
                    models.summary(each, data.shape).multiply_adds for each in (net, fine[0])
                ),
            },
        }
    )
    run = train.finish(record, system, Checkpoint(folder), label)
    for g in range(len(groups)):
        shutil.rmtree(folder / f"fine{g}", ignore_errors=True)
    return SystemRun(run.record, run.folder)


def router_recipe(recipe: Recipe) -> Recipe:
    """What the router trains by, on images that `coarse_data` has chosen and labelled."""
    return recipe.replace(hierarchy=None, train_size=0, test_size=0)


def fine_recipe(recipe: Recipe, group: int) -> Recipe:
    """What the fine model of a group trains by: the router's recipe with its own net and epochs."""
    h = recipe.hierarchy
    return recipe.replace(
        hierarchy=None, model=h.model, options=h.options, epochs=h.epochs or recipe.epochs,
        seed=derive(recipe.seed, "fine", group) % 2**31,
    )  # fmt: skip


def coarse_data(data: Data, groups: str) -> Data:
    """The same images, labelled with the group of their class.

    Raises:
        InputError: as `class_groups`.
    """
    of_class = group_of_class(class_groups(groups, data.classes))
    return replace(
        data,
        name=f"{data.name}, {groups} groups",
        train=replace(data.train, labels=of_class[data.train.labels]),
        test=replace(data.test, labels=of_class[data.test.labels]),
        classes=tuple(PARTITIONS[groups]),
        superclasses=PARTITIONS[groups],
        sha256=files.sha256(f"{data.sha256} {of_class.tolist()}".encode()),
    )


def group_of_class(groups: list[Tensor]) -> Tensor:
    """int64 [classes]: the group that each class belongs to."""
    of_class = torch.empty(sum(map(len, groups)), dtype=torch.int64)
    for g, classes in enumerate(groups):
        of_class[classes] = g
    return of_class


def place_in_group(labels: Tensor, classes: Tensor) -> Tensor:
    """int64 [N]: where each label stands among the classes of a group, -1 for others."""
    same = labels[:, None] == classes  # [N, classes]
    return torch.where(same.any(1), same.long().argmax(1), -1)


def relabel(split: Split, classes: int, *, anew: bool, seed: int) -> Callable[[int], Split]:
    """The training images of one fine model in each epoch.

    An image with label -1 was misrouted. It gets a random label below `classes`, drawn once, or
    anew in every epoch.
    """

    def at(epoch: int) -> Split:
        draw = epoch if anew else 0
        generator = torch.Generator().manual_seed(derive(seed, "misrouted", draw))
        drawn = torch.randint(classes, (len(split),), generator=generator)
        labels = torch.where(split.labels < 0, drawn.to(split.labels.device), split.labels)
        return Split(split.images, labels)

    return at


def explain(
    router: Tensor, fine: list[Tensor], groups: list[Tensor], labels: Tensor
) -> dict[str, Any]:
    """What bounds a system's accuracy, and what other routing of the same models gives.

    `coarse_top1` is how often the router is right, `oracle_*` the scores when every image goes to
    its true group, `soft_*` those of `soft`, `fine_top1_by_group` the accuracy of each fine model
    on the test images of its own group (None where there are none).
    """
    true_group = group_of_class(groups).to(labels.device)[labels]
    oracle = route(true_group, fine, groups)
    right = (oracle.argmax(1) == labels).double()
    by_group = [right[true_group == g] for g in range(len(groups))]
    chosen, mixed = score(oracle, labels), score(soft(router, fine, groups), labels)
    return {
        "coarse_top1": (router.argmax(1) == true_group).double().mean().item(),
        "oracle_top1": chosen["top1"],
        "oracle_top3": chosen["top3"],
        "oracle_loss": chosen["loss"],
        "soft_top1": mixed["top1"],
        "soft_top3": mixed["top3"],
        "soft_loss": mixed["loss"],
        "fine_top1_by_group": [r.mean().item() if len(r) else None for r in by_group],
    }


def _check(recipe: Recipe) -> None:
    if recipe.hierarchy is None:
        raise InputError("this recipe has no hierarchy; use lk.fit")
    for name in ("validation", "watch_test", "score_train"):
        if value := getattr(recipe, name):
            raise InputError(
                f"{name} is {value!r}, but the models of a coarse-to-fine system are trained to"
                f" their last epoch and scored together; leave {name} out"
            )


def _subset(recipe: Recipe, data: Data) -> Data:
    """The images that the recipe keeps, balanced over classes (not over groups)."""
    train_split = data.holdout(0, recipe.train_size, recipe.seed)[0]
    test = train.test_split(recipe, data)
    key = [data.sha256, recipe.train_size, recipe.test_size, recipe.train_size and recipe.seed]
    return replace(data, train=train_split, test=test, sha256=files.sha256(str(key).encode()))


def _fit_fine(
    part: Recipe,
    given: Split,
    classes: Tensor,
    checkpoint: Checkpoint,
    *,
    misrouted: str,
    normalise: tuple | None,
    bf16: bool,
    label: str,
    deadline: float | None,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Train one fine model on the images routed to it; the net and its rows.

    Where no image was routed to it, it stays as it was drawn and has no rows.
    """
    given = Split(given.images, place_in_group(given.labels, classes))
    if misrouted == "drop":
        given = given.take(given.labels >= 0)
    if len(given) % part.batch == 1:  # batch normalisation has no variance over one image
        given = Split(given.images[:-1], given.labels[:-1])
    net = train.build(part, len(classes), given.images.shape[-1])
    net.to(given.images.device, memory_format=torch.channels_last)
    if not len(given):
        return net, []
    rows = train.optimise(
        net, part, given, Split(given.images[:0], given.labels[:0]), normalise=normalise,
        checkpoint=checkpoint, bf16=bf16, label=label, deadline=deadline,
        relabel=relabel(given, len(classes), anew=misrouted == "epoch", seed=part.seed),
    )  # fmt: skip
    return net, rows


def _explain_training(routed: Tensor, groups: list[Tensor], labels: Tensor) -> dict[str, Any]:
    """How the training images were routed."""
    right = routed == group_of_class(groups).to(labels.device)[labels]
    return {
        "train_images": len(labels),
        "coarse_train_top1": right.double().mean().item(),
        "misrouted_train_images": int((~right).sum()),
        "routed_train_images": torch.bincount(routed, minlength=len(groups)).tolist(),
    }
