"""The families of networks: what each descends from, what it changes, and how it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

from labkit.models import MODELS

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """Members of MODELS that share a block."""

    title: str
    parent: str  # the family it descends from
    change: str  # what is different there
    functions: tuple[str, ...]  # the functions of labkit.models that build it
    drawings: tuple[str, ...] = ()  # of its block
    line: str = ""  # title of the picture of the whole net, if it has no branches

    @property
    def members(self) -> dict[str, list[str]]:
        """Names in MODELS of each function."""
        return {
            function: [n for n, model in MODELS.items() if model.family.__name__ == function]
            for function in self.functions
        }


FAMILIES = (
    Family(
        "Plain stacks", "", "convolutions one after another, then dense layers",
        ("mnist_net", "cnn", "mbn", "m1", "m4"), ("plain_stacks",),
    ),
    Family(
        "AlexNet and one more", "Plain stacks",
        "a large first kernel, wide dense layers, and one more that reads a thousand outputs",
        ("alexnet_plus",), line="AlexNet, and one more dense layer",
    ),
    Family(
        "SimpleNet", "Plain stacks",
        "thirteen small convolutions with batch normalisation, one dense layer",
        ("simplenet",), line="SimpleNet: BN, ReLU after each convolution",
    ),
    Family(
        "ResNet", "Plain stacks",
        "a shortcut around every two convolutions, which learn what to add",
        ("resnet_cifar", "resnet_imagenet"), ("basic_block",),
    ),
    Family(
        "Pre-activation ResNet", "ResNet",
        "BN and ReLU before each convolution, so that the shortcut is a clean sum",
        ("preresnet", "preact_resnet34"), ("preact_block",),
    ),
    Family(
        "Wide ResNet", "Pre-activation ResNet", "fewer blocks, k times as wide",
        ("wide_resnet",), ("wide_block",),
    ),
    Family(
        "Residual attention", "Pre-activation ResNet",
        "a mask in each stage, which multiplies what the stage sees",
        ("residual_attention",), ("attention_stage", "attention_unit"),
    ),
    Family(
        "ResNeXt", "ResNet", "1x1, 3x3, 1x1 blocks whose 3x3 runs in parallel paths",
        ("small_resnext", "resnext29"), ("resnext_block",),
    ),
    Family(
        "Res2NeXt", "ResNeXt", "splits of the channels, each reading the one before it",
        ("res2next29",), ("res2next_block",),
    ),
    Family(
        "DenseNet", "ResNet", "what a layer gives is joined to its input, not added",
        ("densenet161",), ("dense_block",),
    ),
)  # fmt: skip
