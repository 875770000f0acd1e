"""Coarse-to-fine systems (report 000): a router, then one fine model for each group of classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from labkit import files, models
from labkit.data import Data, Split
from labkit.data.partitions import PARTITIONS
from labkit.errors import InputError, unknown
from labkit.recipe import Recipe
from labkit.train import cost, loop
from labkit.train.device import derive
from labkit.train.evaluate import Numerics, Outcome, score
from labkit.train.folder import History, RunFolder

__all__ = [
    "System", "build_system", "class_groups", "explain", "fine_recipe", "fit_system",
    "group_of_class", "place_in_group", "relabel", "route", "router_data", "router_recipe", "soft",
]  # fmt: skip


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


def build_system(recipe: Recipe, classes: tuple[str, ...], size: int) -> System:
    """The router and the fine models with their initial weights, for images of `size` pixels."""
    groups = class_groups(recipe.hierarchy.groups, classes)
    router = loop.build(router_recipe(recipe), len(groups), size)
    fine = [loop.build(fine_recipe(recipe, g), len(group), size) for g, group in enumerate(groups)]
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
        raise InputError(unknown("partition", name, PARTITIONS))
    number = {label: index for index, label in enumerate(classes)}
    groups = PARTITIONS[name].values()
    if sorted(label for members in groups for label in members) != sorted(classes):
        raise InputError(
            f"partition {name!r} divides the 100 classes of CIFAR-100, not these {len(classes)};"
            " use dataset cifar100 or synthetic_cifar100"
        )
    # wherever networks are built just now, these have values
    return [torch.tensor([number[c] for c in members], device="cpu") for members in groups]


def router_recipe(recipe: Recipe) -> Recipe:
    """What the router trains by, on the images of `router_data`."""
    return recipe.replace(hierarchy=None, train_size=0, test_size=0)


def router_data(recipe: Recipe, data: Data) -> Data:
    """What the router trains on: the images that the system keeps, labelled with their groups.

    Raises:
        InputError: as `class_groups`, or the recipe asks for what a system cannot do.
    """
    for name in ("validation", "watch_test", "score_train"):
        if value := getattr(recipe, name):
            raise InputError(
                f"{name} is {value!r}, but the models of a coarse-to-fine system are trained to"
                f" their last epoch and scored together; leave {name} out"
            )
    small, groups = _subset(recipe, data), recipe.hierarchy.groups
    of_class = group_of_class(class_groups(groups, data.classes))
    return replace(
        small,
        name=f"{data.name}, {groups} groups",
        train=replace(small.train, labels=of_class[small.train.labels]),
        test=replace(small.test, labels=of_class[small.test.labels]),
        classes=tuple(PARTITIONS[groups]),
        superclasses=PARTITIONS[groups],
        sha256=files.sha256(f"{small.sha256} {of_class.tolist()}".encode()),
    )


def fine_recipe(recipe: Recipe, group: int) -> Recipe:
    """What the fine model of a group trains by: the router's recipe with its own net and epochs."""
    return cost.parts(recipe)[1].replace(seed=derive(recipe.seed, "fine", group) % 2**31)


def fit_system(
    router: nn.Module,
    router_record: Mapping[str, Any],
    recipe: Recipe,
    data: Data,
    target: torch.device,
    numerics: Numerics,
    *,
    folder: RunFolder,
    label: str,
    deadline: float | None,
) -> Outcome:
    """Train the fine models behind a trained router, and route the test images to them.

    The details are what explains the scores (see `explain`), and the multiply-adds of an image,
    which passes the router and one fine model. The history holds all models, the router's first,
    so `seconds` are those of all, the router's from the run that trained it. A stopped system goes
    on inside the model where it stopped.
    """
    small = _subset(recipe, data)
    images, test = small.train.to(target), small.test.to(target)
    groups = class_groups(recipe.hierarchy.groups, data.classes)
    router.to(target, memory_format=torch.channels_last)
    routed = numerics.judge(router, images).argmax(1)
    history = [row | {"part": "router"} for row in router_record["rows"]]
    folder.resumed, fine = router_record["resumed"], []
    for g, classes in enumerate(groups):
        own, share = fine_recipe(recipe, g), images.take(routed == g)
        part, name = folder.part(f"fine{g}", own), f"{label} fine model {g + 1} of {len(groups)}"
        options = {"numerics": numerics, "folder": part, "label": name, "deadline": deadline}
        net, rows = _fit_fine(own, share, classes, recipe.hierarchy.misrouted, **options)
        fine.append(net)
        history += [row | {"part": f"fine{g}"} for row in rows]
        folder.resumed += part.resumed
    coarse = numerics.judge(router, test)
    experts = [numerics.judge(net, test).log_softmax(1) for net in fine]
    adds = [models.summary(net, data.shape).multiply_adds for net in (router, fine[0])]
    details = explain(coarse, experts, groups, test.labels)
    details |= _explain_training(routed, groups, images.labels) | {"multiply_adds": sum(adds)}
    logits = route(coarse.argmax(1), experts, groups)
    return Outcome(System(router, fine, groups), history, logits, test.labels, details)


def group_of_class(groups: list[Tensor]) -> Tensor:
    """int64 [classes]: the group that each class belongs to."""
    of_class = torch.empty(sum(map(len, groups)), dtype=torch.int64)
    for g, classes in enumerate(groups):
        of_class[classes] = g
    return of_class


def place_in_group(labels: Tensor, classes: Tensor) -> Tensor:
    """int64 [N]: where each label stands among the classes of a group, -1 for others."""
    same = labels[:, None] == classes.to(labels.device)  # [N, classes]
    return torch.where(same.any(1), same.long().argmax(1), -1)


def relabel(split: Split, classes: int, *, redraw: bool, seed: int) -> Callable[[int], Split]:
    """The training images of one fine model in each epoch.

    An image with label -1 was misrouted. It gets a random label below `classes`, drawn once, or
    with `redraw` in every epoch.
    """

    def at(epoch: int) -> Split:
        draw = epoch if redraw else 0
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
    on the images of its own group (None where there are none).
    """
    true_group = group_of_class(groups).to(labels.device)[labels]
    oracle = route(true_group, fine, groups)
    right = (oracle.argmax(1) == labels).double()
    by_group = [right[true_group == g] for g in range(len(groups))]
    details = {"coarse_top1": (router.argmax(1) == true_group).double().mean().item()}
    for way, logits in (("oracle", oracle), ("soft", soft(router, fine, groups))):
        scores = score(logits, labels)
        details |= {f"{way}_{name}": scores[name] for name in ("top1", "top3", "loss")}
    share = [each.mean().item() if len(each) else None for each in by_group]
    return details | {"fine_top1_by_group": share}


def _subset(recipe: Recipe, data: Data) -> Data:
    """The images that the recipe keeps, balanced over classes (not over groups)."""
    train = data.holdout(0, recipe.train_size, recipe.seed)[0]
    test = data.test_subset(recipe.test_size)
    key = [data.sha256, recipe.train_size, recipe.test_size, recipe.train_size and recipe.seed]
    return replace(data, train=train, test=test, sha256=files.sha256(str(key).encode()))


def _fit_fine(
    recipe: Recipe, images: Split, classes: Tensor, misrouted: str, **options: Any
) -> tuple[nn.Module, History]:
    """Train one fine model on the images routed to it; the net and its history.

    Where no image was routed to it, it stays as it was drawn and has no history.
    """
    split = Split(images.images, place_in_group(images.labels, classes))
    if misrouted == "drop":
        split = split.take(split.labels >= 0)
    if len(split) % recipe.batch == 1:  # batch normalisation has no variance over one image
        split = Split(split.images[:-1], split.labels[:-1])
    net = loop.build(recipe, len(classes), split.images.shape[-1])
    net.to(split.images.device, memory_format=torch.channels_last)
    if not len(split):
        return net, []
    labels = relabel(split, len(classes), redraw=misrouted == "epoch", seed=recipe.seed)
    return net, loop.optimise(net, recipe, split, relabel=labels, **options)


def _explain_training(routed: Tensor, groups: list[Tensor], labels: Tensor) -> dict[str, Any]:
    right = routed == group_of_class(groups).to(labels.device)[labels]
    return {
        "train_images": len(labels),
        "coarse_train_top1": right.double().mean().item(),
        "misrouted_train_images": int((~right).sum()),
        "routed_train_images": torch.bincount(routed, minlength=len(groups)).tolist(),
    }
