import json

import pytest

from labkit import bench


@pytest.mark.slow
def test_a_benchmark_times_three_ways_and_keeps_every_round(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    bench.bench(["mnist_net"], rounds=2, device="cpu", scale=0.1)
    results = json.loads((tmp_path / "cpu.json").read_text(encoding="utf-8"))
    (case,) = results["cases"]
    assert set(case["speeds"]) == {"student", "labkit", "bare"}
    assert all(len(values) == 2 and min(values) > 0 for values in case["speeds"].values())
    assert case["ratios"]["bare"] == case["median"]["labkit"] / case["median"]["bare"]
    assert "mnist_net" in capsys.readouterr().out


def test_every_case_is_a_model_that_can_be_built():
    for case in bench.CASES:
        split = bench._random_images(case, "cpu", 0.0)
        assert len(split) == case.batch
        assert case.recipe.model == case.model
