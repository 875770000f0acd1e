"""Every architecture of the five reports, by name.

A family is a function of a module here, and its docstring is the card of the family; a member is
a line of MODELS.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from labkit.errors import InputError, unknown
from labkit.models import (
    attention,
    plain,
    resnet,
    resnext,
    simplenet,
    torchvision_nets,
    wide_resnet,
)
from labkit.models.summary import Summary, summary
from labkit.parameters import Parameter

__all__ = ["MODELS", "Model", "Summary", "build", "summary"]


@dataclass(frozen=True)
class Model:
    """A member of a family: what sets it apart, and which images it takes."""

    family: Callable[..., nn.Module]
    fixed: Mapping[str, object] = field(default_factory=dict)
    size: int = 32  # height and width of an image in its report
    smallest: int = 8
    multiple: int = 1  # a size must be one of it

    @property
    def card(self) -> str:
        """Paper, idea, what is changed for small images, parameters, published result."""
        return inspect.getdoc(self.family) or ""

    @property
    def options(self) -> dict[str, type]:
        """What `build` takes beyond classes, size and channels: name and type."""
        known = inspect.signature(self.family, eval_str=True).parameters
        given = {"classes", "size", "channels", *self.fixed}
        return {name: known[name].annotation for name in known if name not in given}


def _cnn(
    filters: tuple[int, ...],
    depth: int,
    *,
    dense: int = 512,
    dropout: float = 0.0,
    norm: str = "none",
) -> dict[str, object]:
    """What is fixed of a net on the way to MBN."""
    return {
        "filters": filters, "depth": depth, "dense": dense, "dropout": dropout, "norm": norm,
    }  # fmt: skip


MODELS: dict[str, Model] = {
    # report 002
    "mnist_net": Model(plain.mnist_net),
    "mbn": Model(plain.mbn, smallest=16),
    "cnn_simple": Model(plain.cnn, _cnn((32, 64, 64), 1, dense=64), smallest=22),
    "cnn_wider": Model(plain.cnn, _cnn((64, 128, 128), 1), smallest=22),
    "cnn_deeper": Model(plain.cnn, _cnn((32, 64), 2), smallest=16),
    "cnn_dropout": Model(plain.cnn, _cnn((64, 128), 2, dropout=0.2), smallest=16),
    "cnn_bn1": Model(plain.cnn, _cnn((128, 256), 2, dropout=0.2, norm="head"), smallest=16),
    "cnn_bn3": Model(plain.cnn, _cnn((128, 256, 256), 2, dropout=0.2, norm="every")),
    # report 001
    "m1": Model(plain.m1, size=64),
    "m4": Model(plain.m4, size=64),
    "alexnet_plus": Model(torchvision_nets.alexnet_plus, size=64, smallest=63),
    "resnet18_imagenet": Model(torchvision_nets.resnet_imagenet, {"depth": 18}, size=64),
    "resnet34_imagenet": Model(torchvision_nets.resnet_imagenet, {"depth": 34}, size=64),
    "preact_resnet34_imagenet": Model(resnet.preact_resnet34, size=64),
    "densenet161": Model(torchvision_nets.densenet161, size=64, smallest=32),
    # report 000
    "resnet18_cifar": Model(torchvision_nets.resnet_cifar, {"depth": 18}),
    "resnet34_cifar": Model(torchvision_nets.resnet_cifar, {"depth": 34}),
    "preresnet20": Model(resnet.preresnet, {"depth": 20}),
    "preresnet44": Model(resnet.preresnet, {"depth": 44}),
    "preresnet56": Model(resnet.preresnet, {"depth": 56}),
    "preresnet110": Model(resnet.preresnet, {"depth": 110}),
    # report 003
    "simplenet": Model(simplenet.simplenet, smallest=16),
    "resnext1_a": Model(resnext.small_resnext, {"number": 1, "reading": "A"}),
    "resnext2_a": Model(resnext.small_resnext, {"number": 2, "reading": "A"}),
    "resnext3_a": Model(resnext.small_resnext, {"number": 3, "reading": "A"}),
    "resnext1_b": Model(resnext.small_resnext, {"number": 1, "reading": "B"}),
    "resnext2_b": Model(resnext.small_resnext, {"number": 2, "reading": "B"}),
    "resnext3_b": Model(resnext.small_resnext, {"number": 3, "reading": "B"}),
    "resnext29_8x64d": Model(resnext.resnext29, {"groups": 8, "width": 64}),
    "resnext29_16x64d": Model(resnext.resnext29, {"groups": 16, "width": 64}),
    "resnext29_32x4d": Model(resnext.resnext29, {"groups": 32, "width": 4}),
    "res2next29_6c24w4s": Model(resnext.res2next29, {"groups": 6, "width": 24, "scale": 4}),
    "res2next29_8c25w4s": Model(resnext.res2next29, {"groups": 8, "width": 25, "scale": 4}),
    "res2next29_6c24w6s": Model(resnext.res2next29, {"groups": 6, "width": 24, "scale": 6}),
    "wrn16_2": Model(wide_resnet.wide_resnet, {"depth": 16, "k": 2}),
    "wrn16_4": Model(wide_resnet.wide_resnet, {"depth": 16, "k": 4}),
    "wrn16_8": Model(wide_resnet.wide_resnet, {"depth": 16, "k": 8}),
    "wrn16_16": Model(wide_resnet.wide_resnet, {"depth": 16, "k": 16}),
    "wrn28_2": Model(wide_resnet.wide_resnet, {"depth": 28, "k": 2}),
    "wrn28_4": Model(wide_resnet.wide_resnet, {"depth": 28, "k": 4}),
    "wrn28_10": Model(wide_resnet.wide_resnet, {"depth": 28, "k": 10}),
    # report 004
    "residual_attention": Model(
        attention.residual_attention, {"times": 1, "final_units": 1}, multiple=4
    ),
    "residual_attention_2x": Model(
        attention.residual_attention, {"times": 2, "final_units": 1}, multiple=4
    ),
    "residual_attention_4x": Model(
        attention.residual_attention, {"times": 4, "final_units": 2}, multiple=4
    ),
}


def build(
    name: str, *, classes: int, size: int | None = None, channels: int = 3, **options: object
) -> nn.Module:
    """A fresh network with its framework's own initial weights (from torch's random state).

    It takes images [B, channels, size, size] and gives logits [B, classes]. `size` is the report's
    own where it is left out; a net that ends in global pooling also takes other sizes.

    Raises:
        InputError: no such model or option (the message names the nearest), an option of the wrong
            type, or images that the model cannot take.
    """
    if name not in MODELS:
        raise InputError(unknown("model", name, list(MODELS)))
    model = MODELS[name]
    size = model.size if size is None else size
    _check_options(name, model.options, options)
    _check_images(name, model, size, channels)
    known = inspect.signature(model.family).parameters
    images = {"size": size, "channels": channels}
    images = {key: value for key, value in images.items() if key in known}
    try:
        return model.family(classes, **images, **model.fixed, **options)
    except ValueError as error:  # a model file knows no errors of labkit
        raise InputError(str(error)) from error


def _check_options(name: str, known: Mapping[str, type], options: Mapping[str, object]) -> None:
    for key, value in options.items():
        if key not in known:
            raise InputError(f"{name}: {unknown('option', key, list(known))}")
        Parameter(f"{name}: option {key}", known[key]).accept(value)


def _check_images(name: str, model: Model, size: int, channels: int) -> None:
    if size < model.smallest or size % model.multiple:
        steps = f", in steps of {model.multiple}" if model.multiple > 1 else ""
        raise InputError(
            f"{name} takes images of {model.smallest}x{model.smallest} pixels or more{steps};"
            f" these have {size}x{size}"
        )
    if channels != 3 and "channels" not in inspect.signature(model.family).parameters:
        raise InputError(f"{name} takes images of 3 channels (torchvision's net); not {channels}")
