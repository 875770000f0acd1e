"""Signs of life: where they go, how often, and that a loss is read only when it is printed."""

import io
import re

import pytest

from labkit.train import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def train(clock, seconds, calls):
    """Two hundred images resumed at a hundred, each sign of life `seconds` after the last."""
    bar = progress.Progress("002-M1", done=100, total=400)
    for epoch in range(2):
        clock[0] += seconds
        bar.advance(100, lambda epoch=epoch: calls.append(epoch) or f"epoch {epoch}")
    bar.finish("61.0 %")


LINE = r"002-M1 \[##########..........\] epoch 0  10 images/s  00:20 left"


def test_lines_now_and_then(clock, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROGRESS", "lines")
    calls = []
    train(clock, 9.0, calls)
    assert calls == [1]
    train(clock, 10.0, calls)
    assert calls == [1, 0, 1]
    assert re.fullmatch(LINE, capsys.readouterr().err.splitlines()[2])


def test_off_prints_nothing_and_reads_no_loss(clock, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")
    train(clock, 1e6, calls := [])
    assert (calls, *capsys.readouterr()) == ([], "", "")


def test_a_terminal_has_one_line_that_is_rewritten(clock, monkeypatch):
    monkeypatch.delenv("LABKIT_PROGRESS", raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stderr", Terminal())
    train(clock, 10.0, [])
    text = progress.sys.stderr.getvalue()
    assert text.count("\n") == 1
    *bars, last = [line.rstrip() for line in text.split("\r")[1:]]
    assert last == "002-M1: 61.0 %"
    assert bars == ["002-M1 [##########..........] epoch 0  10 images/s  00:20 l",
                    "002-M1 [###############.....] epoch 1  10 images/s  00:10 l"]  # fmt: skip


def test_a_notebook_has_one_output_that_is_rewritten(clock, monkeypatch, capsys):
    display = pytest.importorskip("IPython.display")
    outputs = []

    class Handle:
        def update(self, data, raw):
            outputs[-1] = data

    monkeypatch.delenv("LABKIT_PROGRESS", raising=False)
    monkeypatch.setattr(progress, "_in_kernel", lambda: True)
    monkeypatch.setattr(
        display, "display", lambda data, raw, display_id: outputs.append(data) or Handle()
    )
    train(clock, 1.0, [])
    assert outputs == [{"text/plain": "002-M1: 61.0 %"}]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (125.4, "2:05"), (3725, "1:02:05"), (359_999, "99:59:59"), (1e6, "278 h")],
)
def test_clock(seconds, text):
    assert progress.clock(seconds) == text
