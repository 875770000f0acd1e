"""What a run will cost, and how long it will take, is known before it starts."""

import statistics
import time

import pytest
import torch

import labkit as lk
from labkit import models
from labkit.data import load
from labkit.recipe import Hierarchy, Recipe
from labkit.train import choice, cost, forecast
from labkit.train.forecast import estimate
from labkit.train.system import class_groups

CPU = torch.device("cpu")
RECIPE = Recipe(
    dataset="synthetic_cifar100", model="preresnet20", epochs=3, batch=64, lr=0.1, train_size=1000,
    test_size=100,
)  # fmt: skip


@pytest.fixture
def paced(monkeypatch):
    """Nothing is timed: an image takes a millisecond to train on and a quarter of one to score."""
    asked = []
    monkeypatch.setattr(forecast, "_pace", lambda *step: asked.append(step) or (1e-3, 2.5e-4))
    return asked


@pytest.fixture
def unshared(monkeypatch):
    """All times are the processor's own, so that who else uses it counts little."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    forecast._pace.cache_clear()
    yield
    forecast._pace.cache_clear()


def test_the_work_follows_from_images_epochs_and_passes(paced):
    data = load(RECIPE.dataset)
    one = estimate(RECIPE.replace(epochs=1), data, CPU)
    assert one.images == 1000
    net = models.build("preresnet20", classes=100)
    multiply_adds = models.summary(net, data.shape).multiply_adds
    assert one.flop == 6 * multiply_adds * 1000  # a multiply-add is two, backward twice forward
    three = estimate(RECIPE, data, CPU)
    assert (three.flop, three.images) == (3 * one.flop, 3 * one.images)
    union = estimate(RECIPE.replace(epochs=1, augment="set1+set2"), data, CPU)
    assert union.images == 2 * one.images
    held_out = RECIPE.replace(train_size=0, validation=500, epochs=1)
    assert estimate(held_out, data, CPU).images == len(data.train) - 500
    assert one.memory_mb == cost.memory(RECIPE, data, CPU)


def test_the_time_follows_from_what_is_trained_on_and_what_is_scored(paced):
    data = load(RECIPE.dataset)

    def seconds(**changes):
        return estimate(RECIPE.replace(**changes), data, CPU).seconds

    plain = 3 * 1.0 + 100 * 2.5e-4
    assert seconds() == pytest.approx(plain)
    assert seconds(validation=200) == pytest.approx(plain + 3 * 200 * 2.5e-4)
    assert seconds(watch_test=True) == pytest.approx(plain + 3 * 100 * 2.5e-4)
    assert seconds(score_train=True) == pytest.approx(plain + 1000 * 2.5e-4)
    assert seconds(test_size=0) == pytest.approx(3.0 + len(data.test) * 2.5e-4)


def test_a_system_costs_its_router_and_its_fine_models(paced):
    data = load(RECIPE.dataset)
    system = RECIPE.replace(hierarchy=Hierarchy(groups="three", model="preresnet44", epochs=6))
    router = estimate(RECIPE, data, CPU)
    fine = estimate(RECIPE.replace(model="preresnet44", epochs=6), data, CPU)
    whole = estimate(system, data, CPU)
    assert len(class_groups("three", data.classes)) == 3
    assert whole.images == pytest.approx(router.images + fine.images, abs=3)
    assert whole.flop == pytest.approx(router.flop + fine.flop, rel=1e-3)
    assert whole.seconds == pytest.approx(router.seconds + fine.seconds)
    assert whole.memory_mb == pytest.approx(max(router.memory_mb, fine.memory_mb), rel=1e-3)


def test_the_precisions_of_the_run_are_tried_and_of_equal_steps_only_the_first(paced, monkeypatch):
    data = load(RECIPE.dataset)
    estimate(RECIPE, data, CPU)  # too short for a choice
    monkeypatch.setattr(choice, "LEAST_WORK", 0.0)
    estimate(RECIPE, data, CPU)
    estimate(RECIPE.replace(seed=1, epochs=9, lr=1.0, train_size=0), data, CPU)
    estimate(RECIPE.replace(precision="bf16"), data, CPU)
    short, long, same, low = paced
    assert [way for way, _ in short[-1]] == ["fp32"]
    assert [way for way, _ in long[-1]] == ["fp32", "bf16"]
    assert same == long
    assert [way for way, _ in low[-1]] == ["bf16"]


def test_what_a_step_takes_whatever_its_images_is_paid_once_a_batch(monkeypatch):
    """Steps of 10 ms and 1 ms an image, or 0.5 ms in bfloat16."""
    each = {"fp32": 1e-3, "bf16": 5e-4}

    def pretend(part, shape, classes, tries, **_):
        return {(way, images): 1e-2 + images * each[way[0]] for way, images in tries}

    monkeypatch.setattr(choice, "step_seconds", pretend)
    forecast._pace.cache_clear()
    step = '{"model": "resnet18_imagenet", "batch": 200}'  # of which steps have fewer images
    ways = (("fp32", 1), ("bf16", 1))
    training, scoring = forecast._pace(step, (3, 64, 64), 200, CPU, ways)
    forecast._pace.cache_clear()
    assert training == pytest.approx(5e-4 + 1e-2 / 200)
    assert scoring == pytest.approx((1e-3 + 1e-2 / 200) / 3)


def test_the_time_of_a_run_is_met(unshared):
    assert met("resnext3_a", batch=64, steps=12) == pytest.approx(1, abs=0.5)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "batch", "steps", "recipe"),
    [
        ("mnist_net", 256, 20, {"augment": "rotate20_flip", "optimizer": "rmsprop"}),
        ("mbn", 64, 6, {"optimizer": "rmsprop", "precision": "bf16"}),
        ("residual_attention", 64, 20, {"augment": "flip_shift_cutout", "optimizer": "adam"}),
        ("resnet18_cifar", 128, 4, {"optimizer": "adam", "precision": "bf16"}),
        ("preresnet44", 128, 12, {"optimizer": "adam"}),
        ("wrn16_2", 128, 12, {"optimizer": "adam", "validation": 500}),
        ("resnext2_a", 128, 12, {"optimizer": "adam"}),
        ("simplenet", 128, 4, {"optimizer": "adam", "precision": "bf16"}),
        ("m1", 256, 20, {"augment": "set1+set2", "optimizer": "radam"}),
        ("resnet18_imagenet", 256, 6, {"augment": "set1+set2", "optimizer": "radam"}),
    ],
)
def test_the_times_of_the_reports_networks_are_met(unshared, model, batch, steps, recipe):
    ratios = [met(model, batch, steps, **recipe)]
    if not 1 / 1.5 < ratios[0] < 1.5:  # a neighbour may have come or gone between the two
        ratios += [met(model, batch, steps, **recipe) for _ in range(2)]
    assert 1 / 1.5 < statistics.median(ratios) < 1.5


def met(model, batch, steps, **recipe):
    """The estimate, the mean of one before and one after, as a share of what so many steps took."""
    size = models.MODELS[model].size
    dataset = "synthetic_tiny_imagenet" if size == 64 else "synthetic_cifar100"
    recipe = Recipe(
        dataset=dataset, model=model, batch=batch, epochs=2, lr=1e-3, test_size=200, **recipe
    )
    images = steps * batch // recipe.passes // 2
    data = load(dataset)
    recipe = recipe.replace(train_size=images // len(data.classes) * len(data.classes))
    before = estimate(recipe, data, CPU).seconds
    seconds = lk.fit(recipe, data, device="cpu").record["seconds"]
    forecast._pace.cache_clear()
    after = estimate(recipe, data, CPU).seconds
    print(f"{model}: estimates {before:.2f} and {after:.2f} s, took {seconds:.2f} s")
    return (before + after) / 2 / seconds
