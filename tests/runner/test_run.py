"""The runner: what it accepts, what it refuses, and what is left when a notebook goes wrong."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from labkit.errors import InputError
from labkit.runner import document, run, watch

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
PARAMETERS = '# parameters\npreset: str = "smoke"\nseeds: int = 1\nnote: str = ""'


def cell(source, **metadata):
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": f"c{abs(hash(source)) % 10**8}",
        "metadata": metadata,
        "outputs": [],
        "source": textwrap.dedent(source).strip(),
    }


@pytest.fixture
def make(tmp_path):
    """Write a notebook of these cells, after a parameters cell, in a folder with an odd name."""
    folder = tmp_path / "a b{c}#\u00e9"
    folder.mkdir()

    def write(*sources):
        content = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": KERNEL},
            "cells": [cell(PARAMETERS, tags=["parameters"]), *map(cell, sources)],
        }
        path = folder / "note {x}.ipynb"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def out_of(path):
    return path.with_name("out {0}.ipynb")


def outputs(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    return [
        "".join(output.get("text", ""))
        for cell in content["cells"]
        for output in cell.get("outputs", ())
    ]


def processes_of_runs():
    """Those of this test's runs; another worker's test may have its own."""
    found = []
    for process in psutil.process_iter():
        try:
            its = process.environ()
            if watch.MARK in its and its.get("LABKIT_RUNS") == os.environ["LABKIT_RUNS"]:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.fixture(autouse=True)
def nothing_left(tmp_path, monkeypatch):
    """After every test: no process of a run, no temporary folder."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield
    assert not processes_of_runs()
    assert not list(temporary.glob("labkit-*"))


@pytest.mark.faults(23, 36)
def test_a_good_notebook_is_verified_and_named(make):
    hostile = "\"'''\\ {x} %s\n\u00e9\U0001f600 # $(date)" + "x" * 100_000
    path = make(
        "import hashlib, os\nprint(preset, seeds, hashlib.sha256(note.encode()).hexdigest())",
        "print(os.getcwd(), os.environ['MPLBACKEND'], os.environ['COLOUR'])",
        "for _ in range(300): print('x' * 10_000)",
        "",
    )
    before = path.read_bytes()
    out = out_of(path)
    out.with_name(f"{out.stem}.failed.ipynb").write_text("old", encoding="utf-8")
    values, environment = {"seeds": "3", "note": hostile}, {"COLOUR": "blue"}
    result = run.run(path, out, values, environment=environment, progress=False)
    assert result.ok
    assert (result.status, result.exit_code, result.out) == ("ok", 0, out)
    assert result.seconds > 0
    assert result.peak_memory_mb > 20
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, out.name])
    printed = outputs(out)
    assert printed[0] == f"smoke 3 {hashlib.sha256(hostile.encode()).hexdigest()}\n"
    assert printed[1] == f"{path.parent} agg blue\n"
    assert len(printed[2]) < 1_100_000
    assert "the rest is left out" in printed[2]
    content = json.loads(out.read_text(encoding="utf-8"))
    about = content["metadata"]["labkit"]
    assert about["parameters"] == {"preset": "smoke", "seeds": 3, "note": hostile}
    assert about["versions"]["python"]
    assert about["executed"].endswith("Z")
    assert "papermill" not in content["metadata"]
    assert content["cells"][1]["metadata"]["tags"] == ["injected-parameters"]


FAULTS = {
    "exits": ("import sys; sys.exit(0)", "failed", "stopped at cell 2 of 3.*SystemExit"),
    "dies": ("import os; os._exit(0)", "kernel died", r"kernel died in cell 2 of 3 \(import"),
    "raises, with a child": (
        "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True); 1 / 0",
        "failed",
        r"stopped at cell 2 of 3 \(import.*: ZeroDivisionError",
    ),
}


@pytest.mark.faults(4, 5)
@pytest.mark.parametrize("name", FAULTS)
def test_a_failure_has_its_sentence_and_keeps_the_last_good_output(make, capfd, name):
    source, status, words = FAULTS[name]
    path = make(source, "print('after')")
    out = out_of(path)
    out.write_text("good", encoding="utf-8")
    result = run.run(path, out, progress=False)
    assert (result.status, result.exit_code) == (status, 1)
    assert out.read_text(encoding="utf-8") == "good"
    failed = out.with_name("out {0}.failed.ipynb")
    assert result.out == failed
    kept = json.loads(failed.read_text(encoding="utf-8"))
    assert kept["metadata"]["labkit"]["status"] == status
    printed = capfd.readouterr().err
    assert path.name in printed
    assert "TCP without encryption" not in printed
    assert len(printed.splitlines()) <= 11
    assert re.search(words, result.message)


@pytest.mark.faults(30)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "limit"),
    [
        (
            "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
            2,
        ),
        ("while True: print('x' * 1000)", 3),
    ],
    ids=["ignores interrupts", "floods"],
)
def test_a_cell_that_never_ends_is_stopped(make, monkeypatch, source, limit):
    monkeypatch.setattr(watch, "GRACE", 2.0)
    path = make(source)
    result = run.run(path, out_of(path), timeout=limit, progress=False)
    assert (result.status, result.exit_code) == ("timed out", 1)
    assert "cell 2 of 2 (while True" in result.message
    assert result.seconds < limit + 60
    assert sum(map(len, outputs(result.out))) < 1_100_000


@pytest.mark.faults(6, 8)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "status"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_stops_the_notebook_once(make, number, code, status):
    path = make(
        """
        import pathlib, time
        try:
            pathlib.Path("started").touch()
            time.sleep(600)
        except KeyboardInterrupt:
            print("seen")
            raise
        """
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "labkit", "run", str(path), "-o", str(out_of(path))],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not path.with_name("started").exists() and child.poll() is None:
        time.sleep(0.05)
    child.send_signal(number)
    text = child.stdout.read()
    assert child.wait(timeout=30) == code, text
    child.stdout.close()
    assert f"{status} in cell 2 of 2" in text
    assert not out_of(path).exists()
    failed = path.with_name("out {0}.failed.ipynb")
    assert outputs(failed).count("seen\n") == 1


@pytest.mark.faults(6)
@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait_for_the_kernel(make, monkeypatch):
    monkeypatch.setattr(watch, "GRACE", 200.0)
    path = make(
        """
        import pathlib, signal, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        pathlib.Path("started").touch()
        time.sleep(600)
        """
    )
    ended = threading.Event()

    def press():
        while not path.with_name("started").exists():
            time.sleep(0.05)
        for _ in range(2):
            if not ended.wait(1):  # after the run, the signal would stop the tests
                os.kill(os.getpid(), signal.SIGINT)

    hand = threading.Thread(target=press)
    hand.start()
    result = run.run(path, out_of(path), progress=False)
    ended.set()
    hand.join()
    assert (result.status, result.exit_code) == ("interrupted", 130)
    assert result.seconds < 150


@pytest.mark.faults(6)
@pytest.mark.slow
def test_nothing_survives_a_killed_runner(make):
    path = make("import time; time.sleep(600)")
    child = subprocess.Popen(
        [sys.executable, "-m", "labkit", "run", str(path), "-o", str(out_of(path))],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(path.parent)},
    )
    for line in child.stdout:
        if "cell 2 of 2" in line:
            break
    child.kill()
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 60
    while processes_of_runs() and time.monotonic() < deadline:
        time.sleep(0.2)


@pytest.mark.faults(35)
@pytest.mark.slow
def test_a_hostile_locale_changes_nothing(make):
    path = make("# \u00e9\nimport locale; print(note, locale.getpreferredencoding())")
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "run", str(path), "-o", str(out_of(path)), "-p",
         "note=\u00e9"],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert outputs(out_of(path)) == ["\u00e9 utf-8\n"]


@pytest.mark.faults(21, 22, 23)
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seed": 3}, "no parameter 'seed'; did you mean seeds"),
        ({"lr=open('PWNED','w');z": "5"}, "no parameter"),
        ({"seeds": "x"}, "seeds='x' is refused"),
    ],
)
def test_bad_input_is_refused_before_a_kernel_starts(make, monkeypatch, values, words):
    monkeypatch.setattr(watch.Watch, "wait", lambda self: pytest.fail("a kernel was started"))
    path = make("1")
    with pytest.raises(InputError, match=words):
        run.run(path, out_of(path), values)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.faults(21)
@pytest.mark.slow
def test_plain_papermill_with_a_misspelt_name_fails_with_the_sentence(make):
    path = make("from labkit.parameters import checked_parameters\nchecked_parameters(globals())")
    path = path.rename(path.with_name("plain.ipynb"))  # papermill formats braces in paths
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", path.name, "out.ipynb"]
    for given, code in ((["-p", "seed", "3"], 1), (["-p", "seeds", "3", "-p", "note", "x"], 0)):
        done = subprocess.run(
            [*command, *given], cwd=path.parent, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert ("no parameter 'seed'; did you mean seeds?" in done.stderr) == bool(code)


@pytest.mark.faults(24)
def test_bad_files_are_refused(make, monkeypatch):
    path = make("1")
    with pytest.raises(InputError, match="is the notebook itself"):
        run.run(path, path)
    with pytest.raises(InputError, match=r"must end in \.ipynb"):
        run.run(path, path.with_suffix(".html"))
    with pytest.raises(InputError, match="there is no notebook"):
        run.run(path.with_name("no.ipynb"), out_of(path))
    content = json.loads(path.read_text(encoding="utf-8"))
    content["cells"][0]["metadata"] = {}
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="one cell tagged 'parameters'"):
        run.run(path, out_of(path))
    monkeypatch.setattr(run, "EXTRA", ("no_such_package",))
    with pytest.raises(InputError, match=r"needs no_such_package; .*labkit\[book\]"):
        run.run(path, out_of(path))


def test_find_names_what_there_is(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "09_test.ipynb").touch()
    monkeypatch.chdir(tmp_path)
    assert run.find("09_test").name == "09_test.ipynb"
    assert run.find("test", {"test": "09_test", "other": "10_other"}).name == "09_test.ipynb"
    with pytest.raises(InputError, match="no notebook '9_test'; did you mean 09_test"):
        run.find("9_test")
    with pytest.raises(InputError, match="no notebook 'other'"):
        run.find("other", {"other": "10_other"})


def executed(*counts_and_outputs):
    cells = [
        cell(f"x = {n}") | {"execution_count": count, "outputs": outputs}
        for n, (count, outputs) in enumerate(counts_and_outputs)
    ]
    return {"cells": cells}


@pytest.mark.faults(5)
def test_inspect_reads_counts_and_outputs_not_metadata():
    assert document.inspect(executed((1, []), (2, []))) is None
    assert (
        "cell 2 of 2 (x = 1): it never ran"
        in document.inspect(executed((1, []), (None, []))).sentence
    )
    assert "cell 1 of 2" in document.inspect(executed((2, []), (1, []))).sentence
    assert document.inspect(executed((1, []), (3, [])))
    said = {"output_type": "stream", "name": "stderr", "text": ["...\n", "KeyboardInterrupt\n"]}
    assert document.inspect(executed((1, [said]), (2, []))).sentence.endswith("KeyboardInterrupt")


def test_exit_codes_of_errors_that_are_not_the_notebooks(make, monkeypatch):
    error = {"output_type": "error", "ename": "DataError", "evalue": "no data", "traceback": []}
    path = make("1")

    def pretend(self):
        content = executed((1, []), (2, [error])) | {"nbformat": 4, "metadata": {}}
        (self.folder / "out.ipynb").write_text(json.dumps(content), encoding="utf-8")

    monkeypatch.setattr(watch.Watch, "wait", pretend)
    assert run.run(path, out_of(path)).exit_code == 3
    error["ename"] = "InputError"
    assert run.run(path, out_of(path)).exit_code == 2


@pytest.mark.faults(26)
def test_of_two_runs_to_one_output_the_last_whole_one_stands(make, monkeypatch):
    """Eight times two runs that end at once, and a reader who looks at the output all the while."""
    path = make("1")
    together = threading.Barrier(2)

    def pretend(self):
        content = json.loads(json.dumps(self.content))
        for count, each in enumerate(content["cells"], start=1):
            each["execution_count"] = count
        text = threading.current_thread().name * 200_000
        said = {"output_type": "stream", "name": "stdout", "text": text}
        content["cells"][-1]["outputs"] = [said]
        (self.folder / "out.ipynb").write_text(json.dumps(content), encoding="utf-8")
        together.wait(60)

    def repeat():
        for _ in range(8):
            assert run.run(path, out_of(path), progress=False).ok

    monkeypatch.setattr(watch.Watch, "wait", pretend)
    monkeypatch.setattr(document, "git", lambda *_: None)
    threads = [threading.Thread(target=repeat, name=name) for name in "ab"]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        if out_of(path).exists():
            seen.add(outputs(out_of(path))[-1])
    seen.add(outputs(out_of(path))[-1])
    assert seen <= {"a" * 200_000, "b" * 200_000}
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, out_of(path).name]


def test_a_complaint_makes_a_verified_run_fail(make, monkeypatch):
    path = make("1")

    def pretend(self):
        content = json.loads(json.dumps(self.content))
        for count, each in enumerate(content["cells"], start=1):
            each["execution_count"] = count
        (self.folder / "out.ipynb").write_text(json.dumps(content), encoding="utf-8")

    monkeypatch.setattr(watch.Watch, "wait", pretend)
    assert run.run(path, out_of(path)).ok
    result = run.run(path, out_of(path), expect=lambda notebook: "a record is missing")
    assert (result.status, result.message) == ("failed", "a record is missing")
