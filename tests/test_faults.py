"""Faults that no one module answers for: deaths, races, full and read-only disks, odd machines.

The other rows of the table stand beside the module that they test; `tests/fault_table.py` collects
them all.
"""

import ast
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fault_table
import pytest
import torch
from helpers import NORMALISED, TINY, timeless, weights

import labkit as lk
from labkit import cli, files, records
from labkit.book import stale
from labkit.errors import DataError, DeviceError, OutOfTimeError, TrainingError
from labkit.train import fingerprint, loop
from labkit.train.fit import Run
from labkit.train.folder import RunFolder
from labkit.train.graph import CaptureError

ROOT = Path(__file__).parents[1]
SHORT = TINY.replace(epochs=1)
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_every_fault_of_the_table_has_a_test_that_runs_anywhere():
    numbers = [int(fault["row"]) for fault in fault_table.faults()]
    assert numbers == list(range(1, len(numbers) + 1))
    proofs = fault_table.proofs()
    assert sorted(proofs) == numbers
    for number, tests in proofs.items():
        assert any(test.everywhere for test in tests), number
    gate = [int(fault["row"]) for fault in fault_table.faults() if fault["gate"]]
    assert gate == [1, 4, 7, 12, 15, 16, 18, 21, 22, 23, 25, 28, 36]


def test_the_page_of_faults_is_what_the_tests_say():
    made = fault_table.page()
    page = fault_table.PAGE.read_text(encoding="utf-8")
    assert page == made, "book/faults.md is old: run python tests/fault_table.py"


def start(code, *arguments, **options):
    """A Python process on one thread, from the root of the checkout."""
    command = [sys.executable, "-c", f"import torch; torch.set_num_threads(1)\n{code}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def wait_for(child, word):
    for line in child.stdout:
        if line.strip() == word:
            return
    pytest.fail(f"the process ended before it said {word!r}")


def folder_of(recipe):
    return RunFolder.of(recipe, lk.load(recipe.dataset)).path


def after(count, do, monkeypatch):
    """Let `do` take the place of training step `count`."""
    step, calls = loop.train_step, []

    def counted(*arguments):
        calls.append(None)
        if len(calls) == count:
            do()
        return step(*arguments)

    monkeypatch.setattr(loop, "train_step", counted)


WRITING = """
import os, sys, time
from helpers import TINY
import labkit as lk
replace = os.replace
def stop(source, target):
    if str(target).endswith("epoch-00002.pt"):
        print("writing", flush=True)
        time.sleep(600)
    replace(source, target)
os.replace = stop
lk.fit(TINY, device="cpu", checkpoint_every=0)
"""


@pytest.mark.faults(2)
def test_killed_while_a_checkpoint_is_written_the_one_before_it_stands(reference):
    child = start(WRITING, env=os.environ | {"PYTHONPATH": str(ROOT / "tests")})
    wait_for(child, "writing")
    child.kill()
    child.wait()
    child.stdout.close()
    folder = folder_of(TINY)
    (leftover,) = folder.glob(".*.tmp")
    assert json.loads((folder / "last.json").read_text(encoding="utf-8"))["epoch"] == 1
    os.utime(leftover, (0, 0))
    run = lk.fit(TINY, device="cpu")
    assert run.record["resumed"] == 1
    assert timeless(run.record) == timeless(reference.record)
    assert weights(run) == weights(reference)
    assert sorted(path.name for path in folder.iterdir()) == ["record.json", "weights.safetensors"]


SLOW = """
import time
from labkit import files
from labkit.train import loop
from labkit.train.fit import fit
fit.__kwdefaults__["checkpoint_every"] = 0
step = loop.train_step
def slow(*arguments):
    if list(files.runs_home().glob("*/last.json")):  # in the second epoch
        print("waiting", flush=True)
        time.sleep(600)
    return step(*arguments)
loop.train_step = slow
"""
COMMAND = ["train", "002-M1", "--epochs", "3", "--train-size", "100"]


@pytest.mark.faults(6, 8)
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_stopped_command_says_so_and_goes_on_where_it_stood(number, code, word, capsys):
    run = "import sys; from labkit import cli; sys.exit(cli.main(sys.argv[1:]))"
    child = start(f"{SLOW}\n{run}", *COMMAND, stderr=subprocess.PIPE)
    wait_for(child, "waiting")
    child.send_signal(number)
    _, said = child.communicate(timeout=120)
    assert child.returncode == code
    assert said.splitlines()[-1] == f"labkit: {word}; {cli.STOPPED}"
    assert "Traceback" not in said
    (folder,) = files.runs_home().iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-00001.pt", "last.json"]
    assert cli.main(COMMAND) == 0
    assert records.read(folder / "record.json")["resumed"] == 1
    capsys.readouterr()


BEFORE = f"""
import sys, time, torch
torch.set_num_threads(1)
sys.path.insert(0, "tests")
import labkit as lk
from labkit.train import loop
from helpers import TINY
plain = loop.train_step
{SLOW}
torch.manual_seed(5)
state = torch.get_rng_state()
"""
STOP_HERE = 'lk.fit(TINY, device="cpu")'
AGAIN = """
assert torch.equal(torch.get_rng_state(), state)
assert not torch.are_deterministic_algorithms_enabled()
loop.train_step = plain
run = lk.fit(TINY, device="cpu")
print(run.record["resumed"], run.folder.path.name)
"""


def ask(client, code):
    """Run a cell to its end; what it printed, or the error it ended with."""
    said = []
    hook = lambda message: said.append(message["content"].get("text", ""))  # noqa: E731
    reply = client.execute_interactive(code, output_hook=hook, timeout=120)["content"]
    assert reply["status"] == "ok", reply
    return "".join(said)


@pytest.mark.faults(7)
@pytest.mark.slow
def test_the_stop_button_of_jupyterlab_keeps_kernel_and_checkpoint(reference, home, monkeypatch):
    from jupyter_client.manager import KernelManager

    monkeypatch.setenv("IPYTHONDIR", str(home / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(home / "runtime"))
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        ask(client, BEFORE)
        # a kernel drops what reaches it in the moment after an error, unless told not to
        asked = client.execute(STOP_HERE, stop_on_error=False)
        while "waiting" not in client.get_iopub_msg(timeout=120)["content"].get("text", ""):
            pass
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=120)
        assert reply["parent_header"]["msg_id"] == asked
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        folder = folder_of(TINY)
        assert sorted(p.name for p in folder.iterdir()) == ["epoch-00001.pt", "last.json"]
        assert ask(client, AGAIN).split()[-2:] == ["1", folder.name]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    finished = Run(records.read(folder / "record.json"), RunFolder(folder))
    assert len(finished.record["rows"]) == TINY.epochs
    assert timeless(finished.record) == timeless(reference.record)
    assert weights(finished) == weights(reference)


@pytest.mark.faults(9)
def test_a_disk_that_fills_up_stops_the_run_and_keeps_the_last_checkpoint(monkeypatch):
    sync, calls = os.fsync, []

    def fills_up(file):
        calls.append(file)
        if len(calls) > 2:  # the first checkpoint and its pointer
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", fills_up)
    with pytest.raises(OSError, match=r"epoch-00002\.pt: it needs [\d,]+ bytes, [\d,]+ are free"):
        lk.fit(TINY, device="cpu", checkpoint_every=0)
    folder = folder_of(TINY)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-00001.pt", "last.json"]
    monkeypatch.undo()


@pytest.mark.faults(10)
def test_a_run_folder_that_cannot_be_written_is_refused_before_training(home, monkeypatch, capsys):
    (home / "file").write_bytes(b"")
    monkeypatch.setenv("LABKIT_RUNS", str(home / "file"))
    monkeypatch.setattr(loop, "optimise", lambda *a, **k: pytest.fail("it trained"))
    with pytest.raises(DataError, match=r"cannot write .*; set LABKIT_RUNS"):
        lk.fit(SHORT, device="cpu")
    assert cli.main(COMMAND) == 3
    assert "set LABKIT_RUNS" in capsys.readouterr().err

    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setenv("LABKIT_RUNS", str(home / "runs"))
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(DataError, match="Read-only file system; set LABKIT_RUNS"):
        lk.fit(SHORT, device="cpu")


@pytest.mark.faults(17)
def test_a_checkpoint_of_another_recipe_is_refused_by_the_fields_that_differ(home):
    with pytest.raises(OutOfTimeError):
        lk.fit(TINY, device="cpu", deadline=time.monotonic() - 1)
    other = TINY.replace(lr=2e-3, model="mbn")
    assert folder_of(other) != folder_of(TINY)  # recipes share no folder by themselves
    shutil.copytree(folder_of(TINY), folder_of(other))
    before = {path.name: path.read_bytes() for path in sorted(folder_of(other).iterdir())}
    with pytest.raises(lk.InputError, match="another recipe, which differs in lr, model; nothing"):
        lk.fit(other, device="cpu")
    after = {path.name: path.read_bytes() for path in sorted(folder_of(other).iterdir())}
    assert after == before


CLAIM = """
import sys, time
from pathlib import Path
from labkit import files
folder, number = Path(sys.argv[1]), int(sys.argv[2])
(folder / f"ready{number}").touch()
while not (folder / "go").exists():
    time.sleep(0.001)
print(files.claim(folder / "record.json", bytes([number]) * 100_000))
"""


@pytest.mark.faults(25)
def test_of_sixteen_processes_one_writes_the_record(home):
    children = [
        subprocess.Popen([sys.executable, "-c", CLAIM, str(home), str(number)],
                         stdout=subprocess.PIPE, text=True)
        for number in range(16)
    ]  # fmt: skip
    while len(list(home.glob("ready*"))) < 16:
        time.sleep(0.01)
    (home / "go").touch()
    won = [child.communicate(timeout=120)[0].strip() for child in children]
    assert sorted(won) == ["False"] * 15 + ["True"]
    assert (home / "record.json").read_bytes() == bytes([won.index("True")]) * 100_000
    assert not list(home.glob(".*"))


TWIN = """
from helpers import TINY
import labkit as lk
from labkit.train import loop
step = loop.train_step
def tell(*arguments):
    print("step", flush=True)
    return step(*arguments)
loop.train_step = tell
print(lk.fit(TINY, device="cpu", checkpoint_every=0).record["checksum"])
"""


@pytest.mark.faults(25)
def test_two_processes_that_train_one_recipe_end_with_one_record(reference):
    child = start(TWIN, env=os.environ | {"PYTHONPATH": str(ROOT / "tests")})
    wait_for(child, "step")
    ours = lk.fit(TINY, device="cpu", checkpoint_every=0)
    theirs = child.communicate(timeout=120)[0].split()[-1]
    assert child.returncode == 0
    assert records.read(ours.folder.path / "record.json")["checksum"] == theirs
    assert ours.record["checksum"] == theirs
    assert timeless(ours.record) == timeless(reference.record)
    assert not list(ours.folder.path.glob(".*"))


@pytest.mark.faults(25)
def test_a_run_that_comes_second_returns_the_first_ones_record(monkeypatch, capsys):
    finish, firsts = RunFolder.finish, []

    def overtaken(self, *arguments):
        monkeypatch.undo()
        monkeypatch.setenv("LABKIT_RUNS", str(self.path.parent))
        firsts.append(lk.fit(SHORT, device="cpu"))
        return finish(self, *arguments)

    monkeypatch.setattr(RunFolder, "finish", overtaken)
    second = lk.fit(SHORT, device="cpu")
    assert dict(second.record) == dict(firsts[0].record)
    assert "already recorded" in capsys.readouterr().err


@pytest.mark.faults(28)
def test_a_record_goes_stale_by_what_code_does_not_by_how_it_reads(home, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_RECORDS", str(home / "records"))
    assert cli.main(["sweep", "002-M1", "--preset", "smoke"]) == 0
    copy = home / "elsewhere" / "labkit"
    shutil.copytree(ROOT / "labkit", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train/loop.py", "recipe.py", "models/plain.py", "figures/curves.py"):
        source = (copy / name).read_text(encoding="utf-8")
        (copy / name).write_text(f"{source}\n\nMOVED = 1  # a refactor\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "check"], cwd=copy.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fresh")

    optimizer = loop.make_optimizer  # a changed trainer, and nothing else
    monkeypatch.setattr(loop, "make_optimizer", lambda net, r: optimizer(net, r.replace(lr=0.05)))
    monkeypatch.setattr(
        loop, "train_step", lambda *a, step=loop.train_step: step(*a[:4], 0.05, *a[5:])
    )
    fingerprint.try_start.cache_clear()
    capsys.readouterr()
    assert stale.check_records()[0] == 1
    assert "today's code starts another training" in capsys.readouterr().out


@pytest.mark.faults(31)
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused_by_every_entrance(capsys):
    assert cli.main([*COMMAND, "--device", "cuda"]) == 2
    assert "torch sees no GPU here; use device=cpu" in capsys.readouterr().err
    with pytest.raises(lk.InputError, match="no GPU"):
        lk.report("keras_vs_mbn", device="cuda")
    assert lk.fit(SHORT).record["device"]["type"] == "cpu"  # auto
    assert "no GPU here: about a minute" in repr(lk.report("keras_vs_mbn"))
    told = repr(lk.report("keras_vs_mbn", preset="lesson", data="synthetic"))
    assert re.search(r"no GPU here: about \d+ (minutes|hours) on this processor", told)


@pytest.mark.faults(33)
@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        CaptureError("the GPU failed: no CUDA graph of this step: out of luck"),
    ],
)
def test_a_gpu_that_fails_in_the_middle_is_a_failed_run_that_goes_on(reference, monkeypatch, error):
    def fail():
        raise error

    after(4 + 2, fail, monkeypatch)
    with pytest.raises(DeviceError, match="the GPU failed: .*goes on"):
        lk.fit(TINY, device="cpu", checkpoint_every=0)
    run = lk.fit(TINY, device="cpu")
    assert run.record["resumed"] == 1
    assert run.record["device"]["type"] == "cpu"
    assert timeless(run.record) == timeless(reference.record)


@pytest.mark.faults(34)
def test_a_clock_that_jumps_back_changes_no_duration(monkeypatch):
    now = time.time()
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        after(1, lambda: monkeypatch.setattr(time, "time", lambda: now - 1e6), monkeypatch)
        record = lk.fit(SHORT, device="cpu").record
    finally:
        monkeypatch.undo()
        time.tzset()
    assert record["seconds"] > 0
    assert record["rows"][0]["seconds"] >= record["rows"][0]["train_seconds"] > 0
    utc = time.strftime("%Y-%m-%dT%H", time.gmtime(now))
    later = time.strftime("%Y-%m-%dT%H", time.gmtime(now + 3600))
    assert record["created"].startswith((utc, later))
    assert record["created"].endswith("Z")


def calls(path):
    """Every call of a source file as (text, function, line), but for those within `sorted`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    ordered = {
        id(inner)
        for node in found
        if ast.unparse(node.func) in ("sorted", "any", "set")
        for inner in ast.walk(node)
    }
    rest = [node for node in found if id(node) not in ordered]
    return [(ast.unparse(node), ast.unparse(node.func), node.lineno) for node in rest]


LISTINGS = ("glob", "rglob", "iterdir", "listdir", "scandir")


@pytest.mark.faults(34, 39)
def test_no_source_reads_the_clock_or_a_folder_in_its_own_order():
    for path in sorted((ROOT / "labkit").rglob("*.py")):
        for text, function, line in calls(path):
            assert text not in ("time.time()", "datetime.now()"), f"{path}:{line}"
            assert function.rpartition(".")[2] not in LISTINGS, f"{path}:{line}"


@pytest.mark.faults(36)
def test_links_and_another_working_directory_change_nothing(home, monkeypatch):
    whole = lk.fit(SHORT, device="cpu")
    real, link = home / "real {0} %s", home / ("l\u00e9nk" * 40)
    real.mkdir()
    link.symlink_to(real, target_is_directory=True)
    monkeypatch.setenv("LABKIT_RUNS", f"{link.name}/runs")
    monkeypatch.chdir(home)
    again = lk.fit(SHORT, device="cpu")
    assert (real / "runs" / again.folder.path.name / "record.json").is_file()
    assert again.folder.path.name == whole.folder.path.name  # a digest, whatever the path
    assert weights(again) == weights(whole)


BARE = """
import importlib, sys
for name in ("seaborn", "matplotlib", "papermill", "nbclient", "psutil"):
    sys.modules[name] = None
import labkit as lk
for call in (lambda: lk.figures.png(lk.figures.samples(lk.load("synthetic_cifar10"))),
             lambda: importlib.import_module("labkit.runner.run").run("a.ipynb", "b.ipynb")):
    try:
        call()
    except (ImportError, lk.InputError) as error:
        print(error)
"""


@pytest.mark.faults(37)
def test_a_missing_extra_is_named_by_what_needs_it():
    done = subprocess.run([sys.executable, "-c", BARE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figures, notebook = done.stdout.splitlines()
    assert "seaborn" in figures
    assert "labkit[book]" in figures
    assert "needs papermill, nbclient, psutil; install the extra: labkit[book]" in notebook


HOSTILE = ["tests/test_records.py", "tests/test_recipe.py", "tests/data/test_archives.py",
           "tests/test_parameters.py", "tests/compare/test_tables.py"]  # fmt: skip


@pytest.mark.faults(35)
@pytest.mark.long
def test_the_quick_tests_pass_in_a_locale_without_utf_8():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-qm", "not slow", "-p", "no:cacheprovider", *HOSTILE],
        cwd=ROOT,
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")[-3000:]


@GPU
@pytest.mark.gpu
@pytest.mark.faults(1)
@pytest.mark.parametrize("recipe", [TINY, NORMALISED], ids=["adam", "rmsprop and BN"])
def test_a_stopped_run_ends_with_the_same_bits_on_a_gpu(recipe, monkeypatch, home):
    recipe = recipe.replace(deterministic=True)
    whole = lk.fit(recipe, device="cuda")
    monkeypatch.setenv("LABKIT_RUNS", str(home / "stopped"))
    for _ in range(recipe.epochs - 1):
        with pytest.raises(OutOfTimeError):
            lk.fit(recipe, device="cuda", deadline=time.monotonic() - 1)
    pieces = lk.fit(recipe, device="cuda")
    assert pieces.record["resumed"] == recipe.epochs - 1
    assert timeless(pieces.record) == timeless(whole.record)
    assert weights(pieces) == weights(whole)


@GPU
@pytest.mark.gpu
@pytest.mark.faults(32)
def test_a_gpu_without_memory_says_so_and_can_be_used_again():
    greedy = SHORT.replace(model="wrn28_10", batch=200, precision="fp32")
    torch.cuda.set_per_process_memory_fraction(0.005)
    try:
        with pytest.raises(TrainingError, match=r"batch 200.*MB free; try a smaller batch"):
            lk.fit(greedy, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert not list(folder_of(greedy).glob("record.json"))
    assert lk.fit(SHORT, device="cuda").record["device"]["type"] == "cuda"
