"""The guard before a test: it notices a bent tool, and lets everything innocent pass."""

import builtins
import math
import random
import sys

import numpy as np
import pytest
import torch

from labkit.classroom import guard

USED = ("math", "random", "numpy", "numpy.testing", "torch", "torch.nn.functional")


@pytest.fixture
def armed():
    """Armed as in a kernel whose globals hold IPython's own `open`."""
    names = {"open": object()}
    guard.arm(USED, names)
    yield dict(names)
    guard.arm()


def test_nothing_was_replaced_by_honest_work(armed):
    import torch._dynamo  # wraps some of torch's functions, by name

    names = armed | {"total": 3, "model": torch.nn.Linear(2, 2), "math": math, "len": len}
    torch.manual_seed(0)
    assert guard.changed(names) == []
    guard.verify(names)


BENT = {
    "torch.equal": (torch, "equal", lambda *_: True),
    "torch.allclose": (torch, "allclose", torch.is_tensor),
    "torch.Tensor.all": (torch.Tensor, "all", lambda *_: True),
    "math.isclose": (math, "isclose", lambda *_, **__: True),
    "numpy.testing.assert_allclose": (np.testing, "assert_allclose", print),
    "builtins.abs": (builtins, "abs", lambda value: 0),
    "random.random": (random, "random", lambda: 0.5),
}


@pytest.mark.parametrize("name", BENT)
def test_a_bent_tool_is_named(armed, monkeypatch, name):
    owner, attribute, value = BENT[name]
    monkeypatch.setattr(owner, attribute, value)
    assert guard.changed(armed) == [name]
    with pytest.raises(RuntimeError, match="the tests cannot run: this notebook replaced"):
        guard.verify(armed)


def test_a_name_that_hides_a_built_in_one_is_named(armed):
    assert guard.changed(armed | {"sum": 3, "all": lambda *_: True}) == ["all", "sum"]


def test_a_tracing_function_is_named(armed):
    before = sys.gettrace()
    try:
        sys.settrace(lambda *_: None)
        found = guard.changed(armed)
    finally:
        sys.settrace(before)
    assert found == ["sys.settrace"]
