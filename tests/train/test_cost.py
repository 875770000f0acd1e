"""What a run needs is known before it starts, near enough to plan by."""

import json
import os
import platform
import subprocess
import sys

import pytest
import torch

import labkit as lk
from labkit import models
from labkit.data import load
from labkit.errors import TrainingError
from labkit.recipe import Recipe
from labkit.train import cost, device, loop, trouble

CPU = torch.device("cpu")
RECIPE = Recipe(
    dataset="synthetic_cifar100", model="preresnet20", epochs=3, batch=64, lr=0.1, train_size=1000
)
MEASURE = """
import json, sys, torch
from labkit.train import cost, device
from labkit.train.fit import fit
from labkit.data import load
from labkit.recipe import Recipe

recipe = Recipe.from_json(json.loads(sys.argv[1]))
data, target = load(recipe.dataset), device.pick_device(sys.argv[2])
before = 0 if target.type == "cuda" else int(open("/proc/self/statm").read().split()[1]) * 4096
estimate = cost.memory(recipe, data, target)
run = fit(recipe, data, device=sys.argv[2], fresh=True)
print(json.dumps([before / 1e6 + estimate, run.record["peak_memory_mb"]]))
"""


def measured(recipe, device="cpu"):
    """(estimated, real) peak in megabytes of a process that makes this run alone."""
    values = json.dumps(recipe.to_json())
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, values, device], capture_output=True, text=True,
        check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return json.loads(out.stdout.splitlines()[-1])


def test_images_that_a_pipeline_keeps_take_memory():
    data = load("synthetic_tiny_imagenet")

    def megabytes(augment):
        kept = RECIPE.replace(augment=augment, train_size=400, validation=200)
        return cost.memory(kept, data, CPU)

    one = 400 * 3 * 64 * 64 / 1e6
    plain = megabytes("set2")
    assert megabytes("set1") == pytest.approx(plain + one)
    assert megabytes("set1+set1") == megabytes("set1+set2") == megabytes("set1")


def test_the_optimizer_and_the_batch_take_memory():
    data = load(RECIPE.dataset)
    plain, momentum, adam, large = (
        cost.memory(r, data, CPU)
        for r in (
            RECIPE,
            RECIPE.replace(optimizer_options={"momentum": 0.9}),
            RECIPE.replace(optimizer="adam"),
            RECIPE.replace(batch=1024),
        )
    )
    weights = (
        4 * models.summary(models.build("preresnet20", classes=100), data.shape).parameters / 1e6
    )
    assert momentum - plain == pytest.approx(weights)
    assert adam - momentum == pytest.approx(weights)
    assert large - cost.SCRATCH["cpu"] > 8 * (plain - cost.SCRATCH["cpu"])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_the_set_and_a_chunk_of_batches_take_memory(precision, monkeypatch):
    data, gpu = load(RECIPE.dataset), torch.device("cuda")
    recipe = RECIPE.replace(precision=precision, batch=512)
    image = 4 * 3 * 32 * 32 / 1e6
    sets = (len(data.train) + len(data.test)) * image / 4
    whole = cost.memory(recipe, data, gpu)
    assert whole > sets + cost.SCRATCH["cuda"]
    monkeypatch.setitem(cost.CHUNK, "cuda", 1)  # a batch at a time
    chunk = cost.AUGMENTED * (2048 - 512) * image
    assert whole - cost.memory(recipe, data, gpu) == pytest.approx(chunk)


def test_every_optimizer_has_its_states_counted():
    assert set(cost.STATES) == set(loop.OPTIMIZERS)


@pytest.mark.parametrize("model", models.MODELS)
def test_every_network_can_be_examined(model):
    net = cost.examine(model, "{}", 100, models.MODELS[model].size, True)
    assert net.kept > net.widest > 0
    half = cost.examine(model, "{}", 100, models.MODELS[model].size, False)
    assert 1.4 * net.kept < half.kept <= 2 * net.kept  # indices and masks do not shrink


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "batch", "optimizer"),
    [
        ("mnist_net", 256, "adam"),
        pytest.param("resnet18_cifar", 128, "sgd", marks=pytest.mark.long),
        pytest.param("simplenet", 96, "adam", marks=pytest.mark.long),
    ],
)
def test_the_peak_is_met_within_a_fifth(model, batch, optimizer):
    size = {"train_size": 4 * batch // 100 * 100, "test_size": 500, "epochs": 1}
    expected, real = measured(RECIPE.replace(model=model, batch=batch, optimizer=optimizer, **size))
    assert expected == pytest.approx(real, rel=0.2)


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["resnet18_cifar", "residual_attention", "wrn16_8"])
def test_the_peak_is_met_within_a_fifth_on_a_gpu(model):
    expected, real = measured(
        RECIPE.replace(model=model, batch=512, train_size=0, epochs=1), "cuda"
    )
    assert expected == pytest.approx(real, rel=0.2)


def test_a_run_that_would_not_fit_is_refused_before_it_starts(monkeypatch, home):
    monkeypatch.setattr(trouble, "free_memory", lambda device: 10.0)
    monkeypatch.setattr(loop, "optimise", None)  # nothing is trained
    with pytest.raises(TrainingError, match="needs about .* MB of memory and 10 MB are free"):
        lk.fit(RECIPE)
    assert not list(home.rglob("record.json"))


def test_what_is_free_is_read_from_the_system():
    free = device.free_memory(CPU)
    assert 0 < free < 1e9 or free == float("inf")


def test_the_peak_of_a_run_is_its_own_and_not_that_of_the_one_before():
    torch.ones(100_000_000).sum()  # 400 MB
    before = device.peak_memory(CPU)
    device.release_memory()
    device.reset_peak_memory(CPU)
    assert device.peak_memory(CPU) < before - 300


REUSE = """
import torch
from labkit.train import device
device.reuse_memory()
torch.ones(100_000_000).sum()
for _ in range(2):
    device.reset_peak_memory(torch.device("cpu"))
    print(device.peak_memory(torch.device("cpu")))
    device.release_memory()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_freed_memory_is_kept_for_the_next_step_until_it_is_released():
    # in a process of its own: what other tests left on this one's heap decides where a block goes
    done = subprocess.run([sys.executable, "-c", REUSE], capture_output=True, text=True, check=True)
    kept, released = map(float, done.stdout.split())
    assert released < kept - 300


CHILD = """
from labkit.train import device
print(device.peak_memory(device.torch.device("cpu")))
"""


def test_a_process_does_not_count_the_memory_of_the_one_that_started_it():
    held = torch.ones(500_000_000, dtype=torch.float32)
    assert device.peak_memory(CPU) > 2000
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1500
    del held
