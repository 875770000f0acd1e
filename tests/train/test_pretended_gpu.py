"""What runs on a GPU, on a machine without one: tensors that have a device but no values.

An operation on two devices fails here as it would there. So does one that reads a value, which on
a GPU waits for all work before it, and which no CUDA graph may hold.
"""

from unittest.mock import Mock

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from labkit import models
from labkit.data.augment import AUGMENTS
from labkit.data.batches import batches
from labkit.data.classes import CIFAR100
from labkit.data.dataset import Split
from labkit.recipe import Recipe
from labkit.train import loop, system
from labkit.train.cast import _Rounded
from labkit.train.evaluate import IMAGENET, predict

GPU = torch.device("cuda", 0)
FUSED = {"sgd", "adam"}  # one kernel of PyTorch's own for all weights, which takes real ones only


@pytest.fixture(autouse=True)
def pretended(monkeypatch):
    # it reads what it draws; that is before training, and may wait
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda weight, **options: weight)
    with FakeTensorMode():
        yield


def split(count=64):
    images = torch.zeros(count, 3, 64, 64, dtype=torch.uint8, device=GPU)
    return Split(images, torch.zeros(count, dtype=torch.int64, device=GPU))


def network(name):
    with GPU:
        return models.build(name, classes=10, size=models.MODELS[name].size)


def test_two_devices_and_a_read_are_found():
    with pytest.raises(RuntimeError, match="devices"):
        torch.zeros(2, device=GPU) + torch.zeros(2)
    with pytest.raises(DataDependentOutputException):
        torch.zeros((), device=GPU).item()


@pytest.mark.parametrize("augment", AUGMENTS)
def test_a_batch_is_made_where_the_images_lie(augment):
    numbers = torch.Generator()  # one of a GPU cannot be had
    epoch = batches(split(), 24, generator=numbers, augment=augment, normalise=IMAGENET)
    for count, (x, y) in zip((24, 24, 16), epoch, strict=True):
        assert (x.shape, x.dtype, x.device) == ((count, 3, 64, 64), torch.float32, GPU)
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert (y.shape, y.dtype, y.device) == ((count,), torch.int64, GPU)


@pytest.mark.parametrize("model", models.MODELS)
def test_a_network_stays_on_its_device(model):
    size = models.MODELS[model].size
    x = torch.zeros(8, 3, size, size, device=GPU).contiguous(memory_format=torch.channels_last)
    net = network(model)
    for mode in (True, False):
        out = net.train(mode)(x)
        assert (out.shape, out.device) == ((8, 10), GPU)
    assert {value.device for value in net.state_dict().values()} == {GPU}


def test_weights_are_cast_together_where_a_gpu_trains_in_bfloat16(monkeypatch):
    recipe = Recipe(dataset="random", model="m1", epochs=1, batch=8, lr=0.1, optimizer="rmsprop")
    nets, cast = [network("m1"), network("m1")], []
    monkeypatch.setattr(loop, "Replay", lambda update, device: Mock())
    monkeypatch.setattr(loop, "cast_together", cast.append)
    for net, bf16 in zip(nets, (False, True), strict=True):
        with loop.make_update(net, loop.make_optimizer(net, recipe), recipe, bf16):
            pass
    assert cast == nets[1:]


def test_weights_that_are_cast_together_stay_on_their_gpu():
    net = network("residual_attention")
    rounded = _Rounded.apply(*net.parameters())
    assert {(each.device, each.dtype) for each in rounded} == {(GPU, torch.bfloat16)}
    strides = [weight.stride() for weight in net.parameters()]
    assert [each.stride() for each in rounded] == strides  # else one kernel cannot copy them all


def test_scoring_waits_for_nothing():
    logits = predict(network("m1"), split(), normalise=IMAGENET)
    assert (logits.shape, logits.device) == ((64, 10), GPU)


def test_a_system_routes_where_its_images_lie():
    groups = system.class_groups("three", CIFAR100)
    router = torch.zeros(64, 3, device=GPU)
    fine = [torch.zeros(64, len(classes), device=GPU) for classes in groups]
    logits = system.soft(router, fine, groups)
    assert (logits.shape, logits.device) == ((64, 100), GPU)
    given, classes = split(), groups[0].to(GPU)
    given = Split(given.images, system.place_in_group(given.labels, classes))
    labels = system.relabel(given, len(classes), redraw=True, seed=0)(3).labels
    assert (labels.shape, labels.device) == ((64,), GPU)


@pytest.mark.parametrize("optimizer", sorted(set(loop.OPTIMIZERS) - FUSED))
def test_an_update_keeps_its_state_and_its_rate_on_the_gpu(optimizer, monkeypatch):
    """As `make_update` sets it up to be captured; backward passes cannot be pretended."""
    net = network("m1")
    recipe = Recipe(dataset="random", model="m1", epochs=1, batch=8, lr=0.1, optimizer=optimizer)
    rule = loop.make_optimizer(net, recipe)
    monkeypatch.setattr(loop, "Replay", lambda update, device: Mock())
    with loop.make_update(net, rule, recipe, bf16=False):
        for weight in net.parameters():
            weight.grad = torch.zeros_like(weight)
        rule.param_groups[0]["lr"] = torch.zeros((), device=GPU)
        for _ in range(2):
            rule.step()
    assert {value.device for state in rule.state.values() for value in state.values()} == {GPU}
