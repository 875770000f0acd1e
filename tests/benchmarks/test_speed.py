import contextlib
import dataclasses
import json
import sys

import pytest
import speed
import torch

from labkit import models
from labkit.book import benchmarks
from labkit.errors import InputError


@pytest.mark.long
def test_a_benchmark_times_three_ways_and_keeps_every_round(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    speed.bench(["mnist_net"], rounds=1, device="cpu", scale=0.1)
    assert not list(tmp_path.iterdir())  # a part of the cases replaces nothing
    small = dataclasses.replace(speed.CASES[0], images=512)
    monkeypatch.setattr(speed, "CASES", (small,))
    capsys.readouterr()
    speed.bench(rounds=2, device="cpu")
    results = json.loads((tmp_path / "cpu.json").read_text(encoding="utf-8"))
    (case,) = results["cases"]
    assert set(case["speeds"]) == {"student", "labkit", "bare fp32", "bare bf16"}
    assert all(len(values) == 2 and min(values) > 0 for values in case["speeds"].values())
    assert case["ratios"]["bare"] == case["median"]["labkit"] / case["median"]["bare"]
    table = models.summary(models.build("mnist_net", classes=100), (3, 32, 32))
    assert case["flops"] == 6 * table.multiply_adds * case["median"]["labkit"]
    assert 0 < case["share_of_peak"] < 1.5
    out = capsys.readouterr().out
    assert "mnist_net" in out
    assert "not compared with Keras" in out
    verdict = "met" if case["ratios"]["student"] >= 3 else "MISSED"
    assert f"target 3.00: {verdict}" in out


def test_a_first_benchmark_that_is_cut_short_keeps_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    small = [dataclasses.replace(case, images=case.batch) for case in speed.CASES[:2]]
    monkeypatch.setattr(speed, "CASES", small)
    cut = []

    def rate(case, split, device, **how):
        if case.model in cut:
            raise KeyboardInterrupt
        return 100.0 + len(cut)

    @contextlib.contextmanager
    def student(threads, images):
        yield rate

    for name in ("_labkit", "_bare"):
        monkeypatch.setattr(speed, name, rate)
    monkeypatch.setattr(speed, "_student", student)

    def written():
        cases = json.loads((tmp_path / "cpu.json").read_text(encoding="utf-8"))["cases"]
        return {case["model"]: case["median"]["bare"] for case in cases}

    cut.append("mbn")
    with pytest.raises(KeyboardInterrupt):
        speed.bench(device="cpu")
    assert written() == {"mnist_net": 101.0}
    cut.clear()
    speed.bench(device="cpu")
    assert written() == {"mnist_net": 100.0, "mbn": 100.0}
    cut.append("mbn")  # whole results are replaced by whole ones only
    with pytest.raises(KeyboardInterrupt):
        speed.bench(device="cpu")
    assert written() == {"mnist_net": 100.0, "mbn": 100.0}


RIVAL = """
import sys
print("ready", flush=True)
for _ in sys.stdin:
    print(1000.0 if sys.argv[1:] == ["mnist_net", "256", "512", "3"] else 0.0, flush=True)
"""


def test_keras_answers_from_a_python_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    (tmp_path / "keras_fit.py").write_text(RIVAL, encoding="utf-8")
    with speed._keras(sys.executable, speed.CASES[0], 512, 3) as epoch:
        assert [epoch(), epoch()] == [1000.0, 1000.0]


def test_a_python_without_keras_is_refused_with_its_own_words(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "BENCHMARKS", tmp_path)
    (tmp_path / "keras_fit.py").write_text("import no_such_keras", encoding="utf-8")
    with (
        pytest.raises(InputError, match="No module named 'no_such_keras'"),
        speed._keras(sys.executable, speed.CASES[0], 512, 1),
    ):
        pass
    with (
        pytest.raises(InputError, match="cannot run"),
        speed._keras(str(tmp_path / "nothing"), speed.CASES[0], 512, 1),
    ):
        pass


def test_a_compiled_network_is_timed_on_a_gpu_only():
    with pytest.raises(InputError, match="--compiled is timed on a GPU only"):
        speed.main(["mnist_net", "--device", "cpu", "--compiled"])


@pytest.mark.gpu
def test_a_compiled_network_trains_inside_a_graph(monkeypatch):
    """Its losses are those of the network as it is, within the rounding of bfloat16."""
    device, case = torch.device("cuda"), speed.CASES[3]
    split = speed.random_images(10 * case.batch, case.size, case.classes, device)
    losses = []

    def fixed_batch(case, split, device, update):
        x = split.images[: case.batch].float().div(255)
        x = x.contiguous(memory_format=torch.channels_last)
        losses.append([update(x, split.labels[: case.batch], case.lr)[0].item() for _ in range(5)])
        assert update.graph is not None
        return 1.0

    monkeypatch.setattr(speed, "_fixed_batch", fixed_batch)
    for way in (speed._bare, speed._compiled):
        way(case, split, device, True)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_keras_has_the_networks_that_are_compared():
    source = (speed.BENCHMARKS / "keras_fit.py").read_text(encoding="utf-8")
    for model in speed.KERAS:
        net = models.build(model, classes=100)
        assert f'"{model}"' in source
        assert f"{models.summary(net, (3, 32, 32)).parameters:_}" in source


def test_a_gpu_is_held_to_a_rate_as_well():
    case, other = speed.GPU_CASES[0], speed.CASES[0]
    speeds = {"labkit": [60_500.0], "bare": [61_000.0], "student": [2000.0]}
    line = speed._line(case, speeds, 1e15, torch.device("cuda"))
    assert line["ratios"]["55,000 a second"] == pytest.approx(1.1)
    told = list(speed._told(line))
    assert "1.10 x 55,000 a second" in told[-1]
    assert told[-1].endswith("target 1.00: met")
    for lines in (
        speed._line(case, speeds, 1e12, torch.device("cpu")),
        speed._line(other, speeds, 1e15, torch.device("cuda")),
    ):
        assert lines["targets"] == speed.TARGETS
    results = {
        "device": {"type": "cuda", "name": "Some GPU", "threads": 8, "precision": "bf16"},
        "versions": {"torch": "2"}, "created": "2026-11-25", "rounds": 1, "peak_flops": 1e15,
        "cases": [line],
    }  # fmt: skip
    text = benchmarks.speeds(results)
    assert "| `resnet18_cifar` | 55,000 a second | 1.10 | 1.00 | met |  |" in text


def test_every_case_is_a_model_that_can_be_built():
    for case in (*speed.CASES, *speed.GPU_CASES):
        assert speed._count(case, 0.0) == case.batch
        assert speed._multiply_adds(case) > 1e6
