"""The stand-ins: shapes and names of the real sets, deterministic, learnable, not trivial."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from labkit import data
from labkit.data import catalogue, synthetic
from labkit.data.batches import batches

NAMES = synthetic.NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_has_the_shape_of_the_real_set(name):
    drawn, real = data.load(name), catalogue.CATALOGUE[name.removeprefix("synthetic_")]
    assert drawn.shape == (3, real.side, real.side)
    assert (drawn.classes, drawn.superclasses) == (real.classes, real.superclasses)
    assert (len(drawn.train), len(drawn.test)) == (10_000, 2_000)
    for split, total in ((drawn.train, 10_000), (drawn.test, 2_000)):
        each = total // len(drawn.classes)
        assert torch.bincount(split.labels).tolist() == [each] * len(drawn.classes)
        assert split.images.dtype == torch.uint8
    assert drawn.synthetic
    assert drawn.complete
    assert drawn.card()["synthetic"]
    pixels = drawn.train.images[::8].float().div(255)
    assert torch.allclose(pixels.mean((0, 2, 3)), torch.tensor(drawn.mean), atol=1e-3)
    assert min(drawn.std) > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_is_always_the_same_and_leaves_the_random_state(name):
    before = torch.get_rng_state()
    first = data.load(name)
    assert data.load(name) is first
    images = synthetic._images(torch.tensor([[0, 0], [1, 2]]), 32, torch.Generator().manual_seed(0))
    again = synthetic._images(torch.tensor([[0, 0], [1, 2]]), 32, torch.Generator().manual_seed(0))
    assert torch.equal(images, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_image_comes_twice():
    drawn = data.load("synthetic_cifar100")
    images = torch.cat([drawn.train.images, drawn.test.images])
    assert len({image.numpy().tobytes() for image in images}) == 12_000


def linear(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, classes))


def convolutional(classes):
    widths = (3, 16, 32, 64)
    blocks = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
        for a, b in itertools.pairwise(widths)
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def accuracy(make, lr, epochs, *, labels=None, classes=10, name="synthetic_cifar10", size=1000):
    """Top-1 on the stand-in's test images after `epochs` of Adam on `size` training images."""
    images = data.load(name)
    train, _ = images.holdout(0, size, seed=0)
    of = torch.arange(classes) if labels is None else labels
    torch.manual_seed(0)
    net, numbers = make(classes), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    options = {"normalise": (images.mean, images.std)}
    for _ in range(epochs):
        for x, y in batches(train, 50, generator=numbers, **options):
            optimizer.zero_grad()
            F.cross_entropy(net(x), of[y]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        right = [
            (net(x).argmax(1) == of[y]).float()
            for x, y in batches(images.test, 500, shuffle=False, **options)
        ]
    return torch.cat(right).mean().item()


def test_a_small_cnn_learns_and_a_linear_model_falls_behind():
    flat, cnn = accuracy(linear, 1e-3, 6), accuracy(convolutional, 3e-3, 6)
    assert 0.2 < flat < cnn - 0.1
    assert 0.5 < cnn < 0.97


def test_the_superclasses_can_be_learned_before_the_classes():
    images = data.load("synthetic_cifar100")
    parent = {c: i for i, group in enumerate(images.superclasses.values()) for c in group}
    coarse = torch.tensor([parent[c] for c in images.classes])
    options = {"name": "synthetic_cifar100", "size": 1000}
    of_20 = accuracy(convolutional, 3e-3, 4, labels=coarse, classes=20, **options)
    of_100 = accuracy(convolutional, 3e-3, 4, classes=100, **options)
    assert of_20 > 4 / 20
    assert of_100 > 4 / 100
    assert of_20 > of_100 + 0.1
