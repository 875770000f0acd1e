"""Recipe: everything that decides the numbers of a run, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

from labkit.errors import InputError
from labkit.parameters import Parameter

__all__ = ["PRECISIONS", "Hierarchy", "Recipe", "digest_of"]

PRECISIONS = ("auto", "fp32", "bf16")
TYPES = {
    "str": str, "int": int, "float": float, "bool": bool,
    "dict[str, Any]": dict, "tuple[float, ...]": tuple,
}  # fmt: skip
CHOICES = {
    "optimizer": ("sgd", "adam", "radam", "rmsprop", "adadelta"),
    "schedule": ("constant", "step", "cosine"),
    "normalise": ("unit", "standard", "imagenet"),
    "precision": PRECISIONS,
    "misrouted": ("once", "epoch", "drop"),
}
COUNT = (0, 2**63 - 1)
RANGES = {
    "epochs": (1, 100_000), "batch": (1, 65_536), "lr": (0.0, 1e6), "warmup": (0.0, 1.0),
    "label_smoothing": (0.0, 1.0), "hierarchy epochs": (0, 100_000),
    "train_size": COUNT, "validation": COUNT, "test_size": COUNT, "patience": COUNT, "seed": COUNT,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """How a coarse-to-fine system is put together (report 000, sections 2 and 3).

    The recipe that carries it describes the coarse router; this describes the fine models.
    """

    groups: str  # a name in labkit.data.partitions.PARTITIONS
    model: str  # the architecture of every fine model
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 0  # of each fine model; 0: as many as the router
    misrouted: str = "once"  # random labels for misrouted training images: once, epoch, or drop

    def __post_init__(self) -> None:
        _check(self, "hierarchy ")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run, from data to schedule.

    Two runs with equal recipes on one machine give the same bits. Times within the run
    (`milestones`, `warmup`) are fractions of it, so that a preset may shorten a run without
    changing what it is.

    Raises:
        InputError: a value is outside its range or not among its choices.
    """

    dataset: str
    model: str
    epochs: int
    batch: int
    lr: float
    options: dict[str, Any] = field(default_factory=dict)  # of the model
    optimizer: str = "sgd"
    optimizer_options: dict[str, Any] = field(default_factory=dict)  # as torch.optim names them
    schedule: str = "constant"
    milestones: tuple[float, ...] = ()  # where "step" multiplies the rate by gamma
    gamma: float = 0.1
    warmup: float = 0.0  # linear from 0
    augment: str = "none"
    normalise: str = "standard"
    train_size: int = 0  # class-balanced training images; 0 keeps all
    validation: int = 0  # training images held out before train_size is taken
    test_size: int = 0  # class-balanced test images; 0 keeps all
    drop_last: bool = False
    label_smoothing: float = 0.0
    patience: int = 0  # stop when validation loss has not improved for so many epochs; 0 never
    watch_test: bool = False  # also log the test score of each epoch; it decides nothing
    score_train: bool = False  # score the training images, unaugmented, with the final weights
    precision: str = "auto"
    deterministic: bool = False
    seed: int = 0
    hierarchy: Hierarchy | None = None

    def __post_init__(self) -> None:
        if isinstance(self.milestones, list):
            object.__setattr__(self, "milestones", tuple(self.milestones))
        if isinstance(self.hierarchy, dict):
            object.__setattr__(self, "hierarchy", _from_json(Hierarchy, self.hierarchy))
        if not isinstance(self.hierarchy, Hierarchy | None):
            raise InputError(f"hierarchy is {self.hierarchy!r}; it must be a Hierarchy or None")
        _check(self)
        for milestone in self.milestones:
            Parameter("milestones", float, low=0.0, high=1.0).accept(milestone)
        if self.patience and not self.validation:
            raise InputError(
                "patience needs a validation split to watch: got validation=0; "
                "set validation to a number of training images, such as 5000"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, every field, in the order of the class."""
        return json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Recipe:
        """The recipe that `to_json` wrote; fields that are missing take their defaults.

        Raises:
            InputError: a field that does not exist, or a value outside its range.
        """
        return _from_json(cls, values)

    def replace(self, **changes: Any) -> Recipe:
        """Another recipe, equal but for these fields."""
        return dataclasses.replace(self, **changes)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that two recipes share only when they are equal."""
        return digest_of(self.to_json())

    @property
    def passes(self) -> int:
        """How often an epoch shows each image: once under each pipeline that `augment` unites."""
        return len(self.augment.split("+"))

    def images_shown(self, images: int) -> int:
        """How many images a run without early stopping shows, of a set of so many training images.

        In a coarse-to-fine system the router sees every image, and so do the fine models together.
        """
        shown = min(self.train_size or images, images - self.validation) * self.passes
        h = self.hierarchy
        return shown * (self.epochs + (h.epochs or self.epochs if h else 0))

    def lr_at(self, step: int, images: int) -> float:
        """The learning rate of 0-based `step` when an epoch shows `images` images.

        Warm-up and cosine count epochs * images / batch steps, whatever becomes of the last,
        partial batch (as report 004 does); "step" changes only between two epochs.
        """
        steps = self.epochs * images / self.batch
        total, warm = int(steps), int(self.warmup * steps)
        if step < warm:
            return self.lr * step / warm
        if self.schedule == "cosine":
            done = min(1.0, (step - warm) / max(1, total - warm))
            return self.lr / 2 * (1 + math.cos(math.pi * done))
        if self.schedule == "step":
            epoch = step // self.steps(images)
            # 7/20 as a milestone must not round past epoch 7
            passed = sum(epoch / self.epochs >= milestone - 1e-9 for milestone in self.milestones)
            return self.lr * self.gamma**passed
        return self.lr

    def steps(self, images: int) -> int:
        """Optimizer steps of one epoch that shows `images` images."""
        return images // self.batch if self.drop_last else math.ceil(images / self.batch)


def digest_of(values: dict[str, Any]) -> str:
    """The digest of a recipe's plain values."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _from_json(cls: type, values: dict[str, Any]) -> Any:
    name = cls.__name__.lower()
    if not isinstance(values, dict):
        raise InputError(f"a {name} is a JSON object; got {type(values).__name__}")
    if unknown := sorted(set(values) - {f.name for f in dataclasses.fields(cls)}):
        raise InputError(f"a {name} has no field {unknown[0]!r}")
    try:
        return cls(**values)
    except TypeError as error:  # a field without a default is missing
        raise InputError(f"not a whole {name}: {error}") from error


def _check(values: Hierarchy | Recipe, prefix: str = "") -> None:
    """Refuse a field of the wrong type or range; sentences name it with the prefix."""
    for f in dataclasses.fields(values):
        if f.type in TYPES:
            name, choices = prefix + f.name, CHOICES.get(f.name, ())
            low, high = RANGES.get(name, (None, None))
            parameter = Parameter(name, TYPES[f.type], choices=choices, low=low, high=high)
            parameter.accept(getattr(values, f.name))
