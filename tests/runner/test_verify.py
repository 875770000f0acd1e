"""What an execution is judged by, in order: how it ended, its cells, what the caller expects."""

import pytest

from labkit.runner.verify import DEAD_KERNEL, FAILED_CELL, NO_KERNEL, Execution, ending, verify

ERROR = {"output_type": "error", "ename": "DataError", "evalue": "no data", "traceback": []}


def execution(*outputs, count=1, **changes):
    """One cell that ran well, but for these outputs and changes."""
    cell = {"cell_type": "code", "source": "1", "execution_count": count, "outputs": [*outputs]}
    notebook = {"cells": [cell]}
    values = {"content": notebook, "notebook": notebook, "timeout": 60.0, "cell": 0}
    return Execution(**values | changes)


@pytest.mark.faults(4, 5, 6, 8, 30)
@pytest.mark.parametrize(
    ("changes", "status", "code", "words"),
    [
        ({}, "ok", 0, "ok"),
        ({"stop": "interrupted", "code": 1}, "interrupted", 130, "interrupted in cell 1 of 1"),
        ({"stop": "terminated"}, "terminated", 143, "terminated in cell 1 of 1"),
        ({"stop": "timed out"}, "timed out", 1, "ran longer than 60 s; a longer limit"),
        ({"code": DEAD_KERNEL}, "kernel died", 1, "out of memory, or a crash"),
        ({"code": NO_KERNEL}, "failed", 1, "no kernel started"),
        (
            {"code": 1, "cell": -1, "log": ["no room"]},
            "failed",
            1,
            "papermill did not start: no room",
        ),
        ({"code": FAILED_CELL}, "failed", 1, "papermill ended with 1 in cell 1 of 1"),
        ({"count": None}, "failed", 1, "it never ran"),
    ],
)
def test_the_verdict_on_an_execution(changes, status, code, words):
    verdict = verify(execution(**changes))
    assert (verdict.status, verdict.exit_code) == (status, code)
    assert words in verdict.message


def test_an_ending_is_judged_apart_from_the_cells():
    failure = execution(ERROR, code=FAILED_CELL)
    assert ending(failure) is None
    assert verify(failure).exit_code == 3
    assert verify(execution(ERROR), lambda notebook: "not asked").exit_code == 3
    assert verify(execution(), lambda notebook: "a figure is missing").message.startswith("a fig")
