"""Casting all weights to bfloat16 at once gives the bits of autocast, which casts one by one."""

import pytest
import torch

from labkit import models
from labkit.recipe import Recipe
from labkit.train import loop
from labkit.train.cast import cast_together
from labkit.train.device import own_randomness

RECIPE = Recipe(
    dataset="random", model="", epochs=1, batch=4, lr=0.01, optimizer="sgd",
    optimizer_options={"momentum": 0.9}, label_smoothing=0.1,
)  # fmt: skip
ONE_A_FAMILY = ("mnist_net", "cnn_bn1", "m1", "preresnet20", "resnext1_a", "wrn16_2",
                "residual_attention")  # fmt: skip


def steps(model, device, *, together):
    """The sums of three steps in bfloat16, then every weight, gradient and running statistic."""
    size = models.MODELS[model].size
    net = loop.build(RECIPE.replace(model=model), 10, size).train()
    net.to(device, memory_format=torch.channels_last)
    optimizer = loop.make_optimizer(net, RECIPE)
    forward = cast_together(net) if together else net
    torch.manual_seed(0)
    x = torch.rand(4, 3, size, size).to(device, memory_format=torch.channels_last)
    y = torch.arange(4, device=device)
    values = [loop.train_step(forward, optimizer, x, y, 0.01, 0.1, True) for _ in range(3)]
    return [*values, *net.state_dict().values(), *(weight.grad for weight in net.parameters())]


def assert_same_bits(model, device):
    apart, together = (steps(model, device, together=which) for which in (False, True))
    for theirs, ours in zip(apart, together, strict=True):
        assert (ours.dtype, ours.stride()) == (theirs.dtype, theirs.stride())
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "model",
    [
        name if name in ONE_A_FAMILY else pytest.param(name, marks=pytest.mark.long)
        for name in models.MODELS
    ],
)
def test_a_step_has_the_bits_of_autocast(model):
    assert_same_bits(model, torch.device("cpu"))


def test_all_weights_are_cast_by_one_call(monkeypatch):
    calls = []
    copy = torch._foreach_copy_
    monkeypatch.setattr(torch, "_foreach_copy_", lambda *a: calls.append(len(a[0])) or copy(*a))
    steps("residual_attention", torch.device("cpu"), together=True)
    net = models.build("residual_attention", classes=10)
    cast = [m for m in net.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    assert calls == 6 * [sum(len(list(m.parameters())) for m in cast)]  # there and back, 3 steps


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["residual_attention", "wrn16_2", "mnist_net"])
def test_a_step_on_a_gpu_has_the_bits_of_autocast(model):
    device = torch.device("cuda")
    with own_randomness(device, deterministic=True):
        assert_same_bits(model, device)
