"""The command line: listings other tools read, and a sentence for every bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from labkit import cli, files, records
from labkit.book import stale, tables
from labkit.train import loop


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def test_rows_as_json(capsys):
    assert run("rows", "002", "--json") == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"002-M1", "002-M2"} <= set(rows)
    for row in rows.values():
        assert set(row) == {"id", "report", "title", "homework", "recipe", "published"}
        assert {"smoke", "full"} <= set(row["recipe"])
    assert rows["002-M2"]["recipe"]["full"]["batch"] == 256
    assert any(p["metric"] == "test_top1" for p in rows["002-M2"]["published"])


def test_models_as_json(capsys):
    assert run("models", "mbn", "--classes", 100, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "mbn"
    assert (row["parameters"], row["trainable"]) == (15_795_556, 15_786_340)
    assert row["multiply_adds"] > 1e9
    assert run("models", "mnist_net", "--size", 28, "--classes", 10) == 0
    assert "parameters" in capsys.readouterr().out.lower()


def test_one_row_is_shown(capsys):
    assert run("rows", "002-M1") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("002-M1 ")


@pytest.mark.parametrize("name", ["002", "keras_vs_mbn", "03_keras_vs_mbn"])
def test_a_notebook_is_run_by_its_name_or_its_reports(name, monkeypatch):
    paths = []
    monkeypatch.setattr("labkit.runner.run.main_run", lambda path, *_, **__: paths.append(path))
    assert run("run", name) == 0
    assert [path.name for path in paths] == ["03_keras_vs_mbn.ipynb"]


@pytest.mark.faults(21)
@pytest.mark.parametrize(
    "words",
    [
        ("train", "003-X3", "--seed", "3"),
        ("sweep", "--dry"),
        ("data", "--hel"),
        ("book", "--allow"),
    ],
)
def test_an_abbreviated_option_is_refused(words, capsys, home):
    with pytest.raises(SystemExit, match="2"):
        run(*words)
    assert "arguments" in capsys.readouterr().err
    assert not (home / "runs").exists()


@pytest.mark.faults(21, 22)
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("rows", "keras_vs_mbm"), 2, "keras_vs_mbn"),
        (("rows", "002-M9"), 2, "002-M"),
        (("run", "keras_vs_mbm"), 2, "did you mean keras_vs_mbn or"),
        (("train", "002-M9"), 2, "002-M"),
        (("train", "002-M1", "--preset", "smok"), 2, "smoke"),
        (("train", "002-M1", "--epochs", "3.5"), 2, "epochs"),
        (("rows", "5"), 2, "known: 000, hierarchical_cifar100"),
        (("train", "002-M1", "--device", "gpu"), 2, "cuda"),
        (("models", "mbm"), 2, "mbn"),
        (("data", "add", "cifar10", "/nowhere/at/all"), 3, "/nowhere/at/all"),
        (("data", "get", "cifar11"), 2, "cifar10"),
    ],
)
def test_bad_input_is_a_sentence_and_an_exit_code(arguments, code, sentence, capsys, home):
    assert run(*arguments) == code
    message = capsys.readouterr().err
    assert sentence in message
    assert "Traceback" not in message
    assert not (home / "runs").exists()


def test_train_and_sweep_write_each_record_once(home, capsys, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    out = home / "records"
    sweep = ("sweep", "002-M1", "--preset", "smoke", "--epochs", 1, "--seeds", 2, "--out", out)
    assert run(*sweep, "--dry-run") == 0
    assert re.search(r"002-M1 +seed 1 +200 images +0.0000 PFLOP +0:\d\d +\d+ MB  MNIST net",
                     capsys.readouterr().out)  # fmt: skip
    assert not out.exists()
    assert run(*sweep) == 0
    found = records.recorded("keras_vs_mbn", preset="smoke", folder=out)
    assert [record.recipe.seed for record in found] == [0, 1]
    assert found[0]["test"] != found[1]["test"]
    capsys.readouterr()
    assert run(*sweep) == 0
    assert "0 to train" in capsys.readouterr().err
    train = ("train", "002-M1", "--preset", "smoke", "--epochs", 1, "--out", home / "again")
    assert run(*train) == 0
    (again,) = records.recorded(folder=home / "again")
    assert again["test"] == found[0]["test"]


def test_a_sweep_for_real_records_refuses_a_stand_in(home, capsys):
    words = ("sweep", "002-M1", "--preset", "lesson", "--epochs", 1, "--train-size", 200)
    assert run(*words, "--out", home / "out") == 2
    assert "no cifar100 on this machine; fetch it with `labkit data get`" in capsys.readouterr().err
    assert not (home / "out").exists()
    assert run(*words, "--dry-run") == 0
    assert "estimates are of the stand-in: no cifar100" in capsys.readouterr().err
    assert run(*words, "--data", "synthetic", "--out", home / "out") == 0
    assert len(list((home / "out").glob("*/*.json"))) == 1


def test_a_sweep_stops_at_its_deadline_and_goes_on(home, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    out = home / "records"
    sweep = ("sweep", "002-M1", "--preset", "smoke", "--out", out)
    assert run(*sweep, "--minutes", 0.0001) == 1
    assert not out.exists()
    assert run(*sweep) == 0
    assert len(records.recorded(folder=out)) == 1


@pytest.mark.slow
def test_a_sweep_side_by_side_earns_the_same_numbers(home, capfd, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    sweep = ("sweep", "002-M1", "--preset", "smoke", "--epochs", 1, "--train-size", 500)
    alone, together = home / "alone", home / "together"
    assert run(*sweep, "--out", alone) == 0
    assert run(*sweep, "--seeds", 2, "--fresh", "--out", together, "-j", 2) == 0
    assert "TOGETHER" not in " ".join(os.environ)
    assert len(capfd.readouterr().out.splitlines()) > 2
    (one,), two = (records.recorded(folder=folder) for folder in (alone, together))
    assert [record.recipe.seed for record in two] == [0, 1]
    assert two[0]["test"] == one["test"]
    assert [record["device"].get("together") for record in (one, *two)] == [None, 2, 2]


def test_side_by_side_stops_at_the_deadline_too(home, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    sweep = ("sweep", "002-M1", "--preset", "smoke", "--out", home / "out")
    assert run(*sweep, "--seeds", 2, "-j", 2, "--minutes", 0.0001) == 1
    with pytest.raises(SystemExit, match="2"):
        run(*sweep, "-j", 0)
    assert not (home / "out").exists()


def test_a_lone_training_shares_its_machine_with_nobody(home, monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    out = home / "out"
    sweep = ("sweep", "002-M1", "--preset", "smoke", "--epochs", 1, "--train-size", 500)
    assert run(*sweep, "--out", out, "-j", 4) == 0
    (record,) = records.recorded(folder=out)
    assert "together" not in record["device"]
    assert record["device"]["threads"] == torch.get_num_threads()


@pytest.mark.faults(33)
def test_a_sweep_ends_when_the_gpu_has_failed(home, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    tried = []

    def fail(*arguments):
        tried.append(1)
        raise RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR")

    monkeypatch.setattr(loop, "train_step", fail)
    assert run("sweep", "002-M1", "002-V1", "--preset", "smoke", "--out", home / "out") == 1
    assert len(tried) == 1
    assert "the GPU failed: cuDNN error" in capsys.readouterr().err


def test_a_row_that_nobody_foresaw_to_fail_does_not_stop_the_sweep(home, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    step, tried = loop.train_step, []

    def fail_first(*arguments):
        tried.append(1)
        if len(tried) == 1:
            raise RuntimeError("INTERNAL ASSERT FAILED")
        return step(*arguments)

    monkeypatch.setattr(loop, "train_step", fail_first)
    sweep = ("sweep", "002-M1", "002-V1", "--preset", "smoke", "--epochs", 1)
    assert run(*sweep, "--out", home / "out") == 1
    assert [record["row"] for record in records.recorded(folder=home / "out")] == ["002-V1"]
    told = capsys.readouterr().err
    assert "INTERNAL ASSERT FAILED" in told
    assert "002-M1: RuntimeError, as above" in told


@pytest.mark.faults(28)
def test_check_names_a_stale_record(home, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    monkeypatch.setenv("LABKIT_RECORDS", str(home / "records"))
    assert run("sweep", "002-M1", "--preset", "smoke") == 0
    assert run("check") == 0
    (record,) = records.recorded()
    wrong = dict(record) | {"fingerprint": {"weights": [1, 2, 3], "losses": [1, 2, 3]}}
    record.path.unlink()
    records.claim(records.seal({k: v for k, v in wrong.items() if k != "checksum"}), record.path)
    capsys.readouterr()
    assert run("check") == 1
    assert "STALE" in capsys.readouterr().out


def test_check_reads_each_record_once(monkeypatch):
    paths, readme = [], []
    read = stale.read
    monkeypatch.setattr(stale, "staleness", lambda record: "")
    monkeypatch.setattr(stale, "read", lambda path: paths.append(path) or read(path))
    monkeypatch.setattr(records, "read", lambda path: pytest.fail("it was read again"))
    monkeypatch.setattr(tables, "update_readme", lambda every: readme.extend(every))
    assert run("check", "--readme") == 0
    assert len(readme) == len(paths) == len(set(paths)) > 1


@pytest.mark.faults(37)
def test_training_needs_no_notebook_packages():
    blocked = ("jupyterlab", "papermill", "seaborn", "matplotlib", "nbformat", "nbclient",
               "IPython", "typer", "click", "yaml", "psutil")  # fmt: skip
    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Block())
from labkit.cli import main
for line in (["models", "mnist_net"], ["rows"], ["data", "list"],
             ["train", "002-M1", "--epochs", "1"], ["sweep", "002-M1", "--dry-run"]):
    assert main(line) == 0, line
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.faults(37)
def test_importing_labkit_is_quick_and_does_not_import_torch():
    code = (
        "import time, sys; t = time.perf_counter(); import labkit;"
        "assert 'torch' not in sys.modules; print(time.perf_counter() - t)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.5


def workers(of):
    """The trainings that a sweep started."""
    started = psutil.Process(of).children(recursive=True)
    return [process for process in started if "spawn_main" in " ".join(process.cmdline())]


ENDS = {
    "terminated": (lambda sweep, _: sweep.send_signal(signal.SIGTERM), 143, "terminated;"),
    "hung up": (lambda sweep, _: sweep.send_signal(signal.SIGHUP), 143, "terminated;"),
    "killed": (lambda sweep, _: sweep.kill(), -9, ""),
    "a worker killed": (lambda _, workers: workers[0].kill(), 1, "was killed"),
}


@pytest.mark.long
@pytest.mark.faults(48)
@pytest.mark.parametrize(("end", "code", "sentence"), ENDS.values(), ids=ENDS)
def test_a_sweep_side_by_side_leaves_no_process_behind(home, end, code, sentence):
    out = home / "out"
    words = ["sweep", "002-M1", "--preset", "smoke", "--epochs", "2000", "--seeds", "2", "-j", "2"]
    sweep = subprocess.Popen(
        [sys.executable, "-m", "labkit", *words, "--out", str(out)],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"LABKIT_PROGRESS": "lines"},
    )  # fmt: skip
    with sweep:
        for line in sweep.stderr:  # until both train
            if "002-M1 [" in line:
                break
        both = workers(sweep.pid)
        assert len(both) == 2
        started = time.monotonic()
        end(sweep, both)
        said = sweep.stderr.read()
    assert time.monotonic() - started < 30
    assert sweep.returncode == code
    assert sentence in said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(both, timeout=10)
    assert not alive
    assert not out.exists()


def test_precision_and_threads_are_options(monkeypatch, capsys):
    for name in ("LABKIT_PRECISION", "LABKIT_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    command = ["train", "002-M1", "--epochs", "1", "--train-size", "100"]
    assert cli.main([*command, "--precision", "bf16", "--threads", "1"]) == 0
    (folder,) = (path for path in files.runs_home().iterdir() if path.is_dir())
    device = records.read(folder / "record.json")["device"]
    assert (device["precision"], device["threads"]) == ("bf16", 1)
    assert cli.main([*command, "--precision", "half"]) == 2
    assert "LABKIT_PRECISION='half' is refused" in capsys.readouterr().err


@pytest.mark.faults(43)
def test_a_relative_folder_is_one_place_for_commands_and_notebooks(home, monkeypatch, tmp_path):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("LABKIT_DATA", "../images")
    monkeypatch.setenv("LABKIT_RUNS", "runs")
    assert run("rows", "002-M1") == 0
    monkeypatch.chdir(tmp_path)  # as a notebook's kernel does
    assert files.data_home() == tmp_path / "here" / ".." / "images"
    assert files.runs_home() == tmp_path / "here" / "runs"


@pytest.mark.faults(43)
@pytest.mark.parametrize("variable", files.HOMES)
def test_the_folder_of_an_unknown_user_is_refused(variable, home, monkeypatch, capsys):
    monkeypatch.setenv(variable, "~nobody-by-this-name/x")
    assert run("data", "list") == 2
    assert f"{variable}=~nobody-by-this-name/x: no such user" in capsys.readouterr().err


@pytest.mark.faults(44)
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("models --classes -3", "it takes a whole number from 1 to 100,000"),
        ("models mbn --size 100000000", "from 1 to 2,048"),
        ("models mbn --channels 0", "from 1 to 64"),
        ("models mbn --classes many", "a whole number"),
        ("run 002 --timeout 0", "from 1 to"),
        ("sweep 002-M1 --minutes nan", "a finite number"),
        ("sweep 002-M1 -j 1000", "from 1 to 256"),
        ("bench --rounds 0", "from 1 to 1,000"),
        ("bench --scale nan", "a finite number"),
        ("run 002 --preset lesson", "-p preset=lesson"),
    ],
)
def test_numbers_beyond_reason_are_refused_with_what_is_taken(words, reason, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*words.split())
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.faults(44)
def test_what_nobody_foresaw_is_a_sentence(monkeypatch, capsys):
    def broken(**_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("labkit.reports.find_rows", lambda *_, **__: broken())
    assert run("rows") == 1
    said = capsys.readouterr().err
    assert "unforeseen ZeroDivisionError: a bug" in said
    assert "Traceback" not in said
    monkeypatch.setenv(cli.TRACEBACK, "1")
    with pytest.raises(ZeroDivisionError):
        run("rows")


@pytest.mark.faults(45)
def test_a_check_of_nothing_is_no_success(home, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_RECORDS", str(home / "records"))
    assert run("check") == 2
    assert "there are no records in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("train 002-m1", "002-M1?"),
        ("train 002-M1 --device gpu", "cuda?"),
        ("models ResNet18", "resnet18_imagenet or resnet18_cifar?"),
        ("data get CIFAR100", "cifar100?"),
        ("rows residual", "residual_attention?"),
    ],
)
def test_what_was_meant_is_guessed_as_people_write(words, meant, home, capsys):
    assert run(*words.split()) == 2
    assert f"did you mean {meant}" in capsys.readouterr().err
