"""Every architecture of the five reports, by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable

from torch import nn

from labkit.models import plain
from labkit.models.summary import Summary, summary

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mnist_net": plain.mnist_net,
    "mbn": plain.mbn,
}

__all__ = ["MODELS", "Summary", "build", "summary"]


def build(
    name: str, *, classes: int, size: int = 32, channels: int = 3, **options: object
) -> nn.Module:
    """A fresh network with its framework's own initial weights (from torch's random state).

    Takes images [B, channels, size, size], gives logits [B, classes].

    Raises:
        ValueError: no such model, or no such option; the message names the nearest.
    """
    if name not in MODELS:
        raise ValueError(_unknown("model", name, list(MODELS)))
    make = MODELS[name]
    known = [key for key in inspect.signature(make).parameters if key not in _GIVEN]
    for key in options:
        if key not in known:
            raise ValueError(f"{name}: {_unknown('option', key, known)}")
    return make(classes, size=size, channels=channels, **options)


_GIVEN = ("classes", "size", "channels")


def _unknown(kind: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
    return f"no {kind} {name!r}; {hint}"
