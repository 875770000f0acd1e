"""What the tests of several rooms need: tiny recipes, what two runs share, a pretended CUDA."""

import contextlib
import warnings

import numpy as np
import torch

from labkit import records
from labkit.recipe import Hierarchy, Recipe
from labkit.train import graph

TINY = Recipe(
    dataset="synthetic_cifar10",
    model="mnist_net",
    epochs=4,
    batch=50,
    optimizer="adam",
    lr=1e-3,
    augment="crop_flip",
    train_size=200,
    validation=100,
    test_size=100,
)
NORMALISED = TINY.replace(
    model="mbn", optimizer="rmsprop", epochs=2, batch=10, train_size=20, validation=0, test_size=10
)


SYSTEM = Recipe(
    dataset="synthetic_cifar100",
    model="mnist_net",
    epochs=5,
    batch=16,
    optimizer="adam",
    lr=1e-3,
    train_size=600,
    test_size=200,
    hierarchy=Hierarchy(groups="three", model="mnist_net", epochs=2),
)


def timeless(record):
    """The part of a record that must be equal, bit for bit, between two runs."""
    times = ("seconds", "train_seconds")
    rows = [{k: v for k, v in row.items() if k not in times} for row in record["rows"]]
    names = ("digest", "test", "predictions", "labels", "parameters", "best_test", "details")
    return {name: record[name] for name in names} | {"rows": rows}


def weights(run):
    """The bytes of a finished run's weights."""
    return (run.folder.path / "weights.safetensors").read_bytes()


def record_values(**changes):
    made = {
        "row": "002-M1", "report": "keras_vs_mbn", "preset": "smoke",
        "recipe": TINY.to_json(), "digest": TINY.digest,
        "rows": [{"epoch": 1, "train_top1": 0.5}],
        "test": {"loss": 1.0, "top1": 0.5, "top3": 0.7, "top5": 0.9, "images": 4},
        "best_test": None, "train_clean": None, "seconds": 1.0, "images_per_second": 10.0,
        "peak_memory_mb": 1.0, "device": {"type": "cpu"}, "versions": {}, "code": {},
        "data": {"name": "cifar10", "synthetic": False},
        "fingerprint": {"weights": [], "losses": []},
        "parameters": {"total": 1, "trainable": 1}, "resumed": 0,
        "predictions": records.encode(np.array([1, 2, 3, 255])),
        "labels": records.encode(np.array([1, 2, 0, 0])), "details": {},
    }  # fmt: skip
    return made | changes


class Stream:
    def wait_stream(self, other):
        pass


class Recorded:
    """A CUDA graph on a CPU: what is captured leaves no trace, and runs whenever it is replayed."""

    taken = None  # the step, and where its result lies
    replays = 0

    def replay(self):
        Recorded.replays += 1
        step, out = self.taken
        out.copy_(step())


@contextlib.contextmanager
def waiting_is_an_error():
    """On a GPU: whatever makes Python wait for it raises inside."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=graph.PROTOTYPE)
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextlib.contextmanager
def pretended_cuda(monkeypatch):
    """CUDA's part of `Replay`, played by a CPU: the streams that became current, in order."""
    streams = ["main"]

    @contextlib.contextmanager
    def capture(made, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        streams.append("side")
        made.begin()
        yield
        made.end()
        streams.pop()

    def set_sync_debug_mode(mode):
        warnings.warn(f"{graph.PROTOTYPE} (Triggered internally at Module.cpp:1.)", stacklevel=2)

    replacements = {
        "Stream": lambda device: Stream(),
        "current_stream": lambda device: Stream(),
        "stream": lambda stream: contextlib.nullcontext(),
        "set_stream": lambda stream: streams.pop(),
        "CUDAGraph": Recorded,
        "graph": capture,
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": set_sync_debug_mode,
    }
    for name, replacement in replacements.items():
        monkeypatch.setattr(torch.cuda, name, replacement)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    graph._side_stream.cache_clear()
    yield streams
    graph._side_stream.cache_clear()
