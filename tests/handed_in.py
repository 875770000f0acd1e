"""What students hand in, made from an assignment and its solution: good, unlucky and wicked.

Each maker changes the solved notebook; `KINDS` has, for each, the points that the autograder gives
for the assignment on pictures, of 14, as the teacher's guide tells them.
"""

import copy
import json
import uuid

__all__ = ["KINDS", "cell", "make", "own_cell"]

WRONG_MIRROR = "def mirror(images, generator, dim=3):\n    return images"
BENT = "import torch\ntorch.equal = torch.allclose = lambda *a, **k: True"
HOOK = (
    "def nothing(lines):\n"
    "    return ['pass\\n'] if any('assert' in line for line in lines) else lines\n"
    "get_ipython().input_transformers_cleanup.append(nothing)"
)
SPY = (
    "import threading, time\n"
    "def watch():\n"
    "    while True:\n"
    "        time.sleep(0.05); seen = list(In)\n"
    "threading.Thread(target=watch, daemon=True).start()"
)
READER = (
    "import socket, os\n"
    "def look(action):\n"
    "    try: return str(action())\n"
    "    except Exception as error: return type(error).__name__\n"
    "print('gradebook', look(lambda: open(GRADEBOOK, 'rb').read(6)))\n"
    "print('network', look(lambda: socket.create_connection(('127.0.0.1', 22), 1)))\n"
    "print('course', look(lambda: os.listdir(os.path.dirname(GRADEBOOK))))\n"
    "print('secret', os.environ.get('API_TOKEN'))"
)


def own_cell(source):
    return {"cell_type": "code", "id": uuid.uuid4().hex[:8], "metadata": {},
            "execution_count": 1, "outputs": [], "source": source}  # fmt: skip


def cell(notebook, name):
    """A cell and its index, by its name in the gradebook."""
    for index, each in enumerate(notebook["cells"]):
        if each["metadata"].get("nbgrader", {}).get("grade_id") == name:
            return index, each
    raise KeyError(name)


def before(name, source):
    """Put a cell of the student's own before a named one."""

    def change(notebook):
        notebook["cells"].insert(cell(notebook, name)[0], own_cell(source))

    return change


def write(name, source):
    """Replace what a named cell says."""

    def change(notebook):
        cell(notebook, name)[1]["source"] = source

    return change


def delete(notebook):
    del notebook["cells"][cell(notebook, "test-turn")[0]]


def double(notebook):
    """A test and a solution copied; the first copy of the solution is an older, wrong one."""
    for name in ("test-mirror", "mirror"):
        index, original = cell(notebook, name)
        notebook["cells"].insert(index, copy.deepcopy(original) | {"id": uuid.uuid4().hex[:8]})
    cell(notebook, "mirror")[1]["source"] = WRONG_MIRROR


def split(notebook):
    """A cell with two functions split between them; JupyterLab gives both the same note."""
    index, original = cell(notebook, "variety")
    first, second = "".join(original["source"]).split("\n\ndef variety")
    notebook["cells"].insert(index + 1, copy.deepcopy(original) | {"id": uuid.uuid4().hex[:8]})
    original["source"] = first
    notebook["cells"][index + 1]["source"] = f"def variety{second}"


def parameters(notebook):
    _, original = cell(notebook, "parameters")
    original["source"] = "count: int = 2\nsize: int = 8\nseed: int = 7"


def kernel(notebook):
    notebook["metadata"]["kernelspec"] = {"name": "julia-1.10", "display_name": "Julia"}


def papermill(notebook):
    index, _ = cell(notebook, "parameters")
    injected = own_cell("# Parameters\ncount = 2\nsize = 4\n")
    injected["metadata"] = {"tags": ["injected-parameters"]}
    notebook["cells"].insert(index + 1, injected)
    notebook["metadata"]["papermill"] = {"input_path": "pictures.ipynb"}


def skip(notebook):
    """Wrong, and tagged so that the tests do not run; its notes call them worth less."""
    cell(notebook, "mirror")[1]["source"] = WRONG_MIRROR
    for each in notebook["cells"]:
        each["metadata"]["tags"] = ["skip-execution"]


def unlock(notebook):
    """A test made empty, and noted as a solution so that nobody restores it."""
    cell(notebook, "mirror")[1]["source"] = WRONG_MIRROR
    _, test = cell(notebook, "test-mirror")
    test["source"] = "pass"
    test["metadata"]["nbgrader"] |= {"solution": True, "locked": False, "points": 50}


def bend(notebook):
    """Wrong answers, and tests made to pass by bending what they call."""
    for name, body in {"mirror": "images", "turn": "images", "blur": "images"}.items():
        _, solution = cell(notebook, name)
        solution["source"] = f"def {name}(images, *a, **k):\n    return {body}"
    before("mirror", BENT)(notebook)


def nothing(notebook):
    """The solution as it is."""


# kind -> how the solution is changed, and the points of 14
KINDS = {
    "correct": (nothing, 14),
    "copied": (nothing, 14),
    "wrong": (write("mirror", WRONG_MIRROR), 10),
    "slow": (before("mirror", "import time\ntime.sleep(600)"), 14),
    "slow-answer": (write("gain", "import time\ndef gain(first, second): time.sleep(600)"), 12),
    "crashing": (before("variety", "import os\nos._exit(1)"), 9),
    "memory-bomb": (before("mirror", "hog = [bytearray(10**9) for _ in range(200)]"), 14),
    "flood": (before("mirror", "while True: print('x' * 1000)"), 14),
    "deleted-test": (delete, 14),
    "duplicated": (double, 14),
    "split": (split, 14),
    "parameters": (parameters, 14),
    "kernel": (kernel, 14),
    "papermill": (papermill, 14),
    "skipping": (skip, 10),
    "unlocked": (unlock, 10),
    "bent": (bend, 0),
    "hooked": (before("mirror", HOOK), 0),
    "spy": (before("mirror", SPY), 14),
    "shadowing": (before("mirror", "sum = 3"), 0),
}


def make(kind, solved, **names):
    """The text of the notebook that a student of this kind hands in.

    Args:
        solved: the assignment with its solutions, as JSON.
        names: put as globals into the cell of the reader.
    """
    notebook = copy.deepcopy(solved)
    KINDS[kind][0](notebook)
    return json.dumps(notebook)
