"""A kernel that nobody trusts: what it may not see, what stops it, and that the rest goes on."""

import json
import os
import sys

import psutil
import pytest

from labkit.runner import limits as limits_module
from labkit.runner import watch
from labkit.runner.limits import Limits, can_cage, scrubbed, visible
from labkit.runner.verify import DEAD_KERNEL, ending

LOOPHOLES = """
import json, os, pathlib, socket
def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return type(error).__name__
print(json.dumps({
    "secret": os.environ.get("API_TOKEN", ""),
    "outside": attempt(lambda: pathlib.Path(OUTSIDE).read_text()),
    "write": attempt(lambda: pathlib.Path(LIBRARY, "x").write_text("x")),
    "loopback": attempt(lambda: socket.create_connection(("127.0.0.1", PORT), 2)),
    "processes": len([n for n in os.listdir("/proc") if n.isdigit()]),
    "own": os.listdir("."),
    "rights": os.system("umount /usr 2>/dev/null; unshare -Urm true 2>/dev/null") == 0,
}))
"""


def cell(source):
    identity = f"c{abs(hash(source)) % 10**8}"
    return {"cell_type": "code", "execution_count": None, "id": identity, "metadata": {},
            "outputs": [], "source": source}  # fmt: skip


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Execute cells within limits, in a folder with one file; gives each cell's outputs."""
    monkeypatch.setenv("API_TOKEN", "swordfish")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "numbers.txt").write_text("1 2 3", encoding="utf-8")

    def run(*sources, **values):
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel},
                   "cells": [cell(source) for source in sources]}  # fmt: skip
        execution = watch.execute(
            content, folder / "note.ipynb", timeout=1, progress=False, limits=Limits(**values)
        )
        made = {each["id"]: each.get("outputs", []) for each in execution.notebook["cells"]}
        return execution, [made[each["id"]] for each in content["cells"]]

    return run


def printed(outputs):
    return "".join("".join(output.get("text", "")) for output in outputs)


def errors(outputs):
    return [output["ename"] for output in outputs if output["output_type"] == "error"]


@pytest.mark.slow
def test_a_caged_kernel_sees_its_folder_and_nothing_else(execute, tmp_path):
    if not can_cage():
        pytest.skip(
            "this machine gives its users no namespaces; the teacher's guide says what then"
        )
    outside = tmp_path / "gradebook.db"
    outside.write_text("grades", encoding="utf-8")
    names = {"OUTSIDE": str(outside), "LIBRARY": sys.prefix, "PORT": 9}
    setup = "\n".join(f"{name} = {value!r}" for name, value in names.items())
    execution, (_, holes, *_) = execute(setup, LOOPHOLES, cage=True)
    seen = json.loads(printed(holes))
    assert seen["secret"] == ""
    assert seen["outside"] == "FileNotFoundError"
    assert seen["write"] == "OSError"  # a read-only file system
    assert seen["loopback"] == "OSError"  # no network to reach it by
    assert seen["processes"] <= 3
    assert [name for name in seen["own"] if not name.startswith(".")] == ["numbers.txt"]
    assert not seen["rights"]
    assert ending(execution) is None


@pytest.mark.slow
@pytest.mark.parametrize("cage", [False, pytest.param(True, marks=pytest.mark.long)])
def test_an_execution_goes_on_past_what_fails_and_what_takes_too_long(execute, cage):
    execution, (fails, slow, memory, after) = execute(
        "import os; print(os.environ.get('API_TOKEN', 'none')); 1 / 0",
        "import time; time.sleep(60)",
        "bytes(10**11)",
        "print('after', open('numbers.txt').read())",
        cell_seconds=2, memory_mb=2000, cage=cage,
    )  # fmt: skip
    assert printed(fails) == "none\n"
    assert errors(fails) == ["ZeroDivisionError"]
    assert errors(slow)[-1] == "CellTimeoutError"
    assert errors(memory) == ["MemoryError"]
    assert printed(after) == "after 1 2 3\n"
    assert (execution.code, execution.stop) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "stop", "words"),
    [
        ("import os; os._exit(0)", "", "kernel died in cell 2 of 3"),
        (
            "import subprocess\n"
            "many = [subprocess.Popen(['sleep', '601'], env={}) for _ in range(60)]\n"
            "import time; time.sleep(60)",
            "started too many processes",
            "started too many processes in cell 2 of 3",
        ),
        pytest.param(
            "import time; time.sleep(60)",
            "timed out",
            "ran longer than 15 s",
            marks=pytest.mark.long,
        ),
    ],
    ids=["dies", "forks", "late"],
)
def test_what_is_stopped_keeps_what_it_had_and_leaves_no_process(execute, source, stop, words):
    execution, (first, _, last) = execute(
        "print('first')", source, "print('last')", seconds=15, processes=20
    )
    assert execution.stop == stop
    assert execution.code == DEAD_KERNEL or stop
    assert words in ending(execution).message
    assert printed(first) == "first\n"
    assert last == []
    lines = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", "601"] not in lines


def test_a_kernel_gets_no_more_of_the_environment_than_it_needs():
    given = {"PATH": "/bin", "LC_ALL": "C", "AWS_SECRET": "x", "HOME": "/h", "SSH_AUTH_SOCK": "s"}
    assert scrubbed(given) == {"PATH": "/bin", "LC_ALL": "C"}


def test_of_a_checkout_a_cage_shows_the_library_alone():
    checkout = str(limits_module.files.PACKAGE.parent)
    shown = visible()
    assert str(limits_module.files.PACKAGE) in shown
    assert checkout not in shown
    assert os.getcwd() not in shown
