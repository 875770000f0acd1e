import json

import pytest
import rows
import speed

from labkit import cli
from labkit.book import benchmarks
from labkit.errors import InputError
from labkit.recipe import Hierarchy
from labkit.reports import REPORTS, find_row
from labkit.train import cost


def test_rows_are_timed_from_steps_of_their_networks(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    results = rows.bench_rows(["002-M1", "002-V1"], preset="full", device="cpu", seconds=0.1)
    small, all_images = results["rows"]
    assert small["images"] == 15 * 40_000
    assert all_images["images"] == 15 * 50_000
    # one network, timed once: the seconds are as the images
    assert all_images["seconds"] == pytest.approx(small["seconds"] * 50 / 40)
    table = cost.examine("mnist_net", "{}", 100, 32, True)
    assert small["flop"] == 6 * table.multiply_adds * small["images"]
    assert results["minutes"] == pytest.approx(small["seconds"] / 60)  # V1 is one of ours
    assert not list(tmp_path.iterdir())  # two rows replace nothing
    out = capsys.readouterr().out
    assert "002-V1" in out
    assert "not written" in out


def test_a_whole_run_is_kept_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    monkeypatch.setattr(rows, "_speed", lambda *_: (1000.0, 2e9))
    results = rows.bench_rows(preset="full", device="cpu")
    written = json.loads((tmp_path / "rows-full-cpu.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(results))
    every = [row.id for report in REPORTS.values() for row in report.rows]
    assert [line["row"] for line in written["rows"]] == every
    printed = [line["seconds"] for line in written["rows"] if line["printed"]]
    assert written["minutes"] == pytest.approx(sum(printed) / 60)
    text = benchmarks.measurements(tmp_path)
    assert "## Every row at preset full on " in text
    assert "| 002-M1 | MNIST net | 600,000 | 1,000 | 2.00 | 10:00 |" in text


def test_a_system_is_timed_as_its_router_and_fine_models():
    recipe = find_row("000-A2")[1].full
    system = recipe.replace(
        epochs=10, train_size=0, validation=0, augment="none",
        hierarchy=Hierarchy(groups="three", model="preresnet44", epochs=20),
    )  # fmt: skip
    router, fine = cost.parts(system)
    assert (router.model, router.images_shown(50_000)) == (system.model, 500_000)
    assert (fine.model, fine.images_shown(50_000)) == ("preresnet44", 1_000_000)


def test_a_preset_has_its_own_rows_and_budget(monkeypatch):
    monkeypatch.setattr(rows, "_speed", lambda *_: (1000.0, 2e9))
    results = rows.bench_rows(["002"], device="cpu")
    assert results["preset"] == "lesson"
    report = REPORTS["keras_vs_mbn"]
    assert [line["row"] for line in results["rows"]] == [r.id for r in report.at("lesson")]
    assert "002-M2" not in {line["row"] for line in results["rows"]}  # too long, unless asked for
    (line,) = rows.bench_rows(["002-M2"], device="cpu")["rows"]
    assert line["images"] == 120_000
    assert results["rows"][0]["images"] == 400_000
    assert {line["report"] for line in results["rows"]} == {report.title}
    with pytest.raises(InputError, match="preset is 'ful'"):
        rows.bench_rows(preset="ful", device="cpu")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--rows", "--rounds", "5"], "unrecognized arguments: --rounds"),
        (["--rows", "--keras", "python"], "unrecognized arguments: --keras"),
        (["--preset", "full"], "unrecognized arguments: --preset"),
    ],
)
def test_an_option_of_the_other_benchmark_is_refused(words, sentence, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", *words])
    assert sentence in capsys.readouterr().err


def test_an_unknown_benchmark_is_named(capsys):
    assert cli.main(["bench", "mnist_nett"]) == 2
    assert "no benchmark 'mnist_nett'; did you mean mnist_net?" in capsys.readouterr().err


def test_an_unknown_target_is_named():
    with pytest.raises(InputError, match="no row '002-M9'"):
        rows.bench_rows(["002-M9"], device="cpu")
