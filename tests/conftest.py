"""Every test runs offline, on one thread, in a home of its own."""

import os
import socket

import pytest
import torch
from helpers import SYSTEM, TINY

import labkit as lk

torch.set_num_threads(1)  # bit-equality between runs needs a fixed thread count

_connect = socket.socket.connect


def _local_only(self, address):
    """Kernels talk over loopback and pipes; nothing may leave the machine."""
    host = address[0] if isinstance(address, tuple) else "local"
    if host not in ("127.0.0.1", "::1", "localhost", "local"):
        raise OSError(f"tests must not use the network (tried {address!r})")
    return _connect(self, address)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", _local_only)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path_factory):
    """Fresh data and run folders whose path has a space, braces, a hash and an umlaut."""
    folder = tmp_path_factory.mktemp(os.fsdecode("a b{c}#\u00fc".encode()))  # in any locale
    monkeypatch.setenv("LABKIT_DATA", str(folder / "data"))
    monkeypatch.setenv("LABKIT_RUNS", str(folder / "runs"))
    return folder


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """One uninterrupted run that others are held against."""
    yield from _finished(TINY, tmp_path_factory)


@pytest.fixture(scope="session")
def system_reference(tmp_path_factory):
    """One uninterrupted system that others are held against."""
    yield from _finished(SYSTEM, tmp_path_factory)


def _finished(recipe, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_RUNS", str(tmp_path_factory.mktemp("reference")))
        yield lk.fit(recipe, device="cpu")


def pytest_collection_modifyitems(items):
    """The slow ones start first, so that no worker waits for another's last one.

    Tests that need a GPU say so where there is none; the summary lists them.
    """
    items.sort(key=lambda item: not item.get_closest_marker("slow"))
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))
