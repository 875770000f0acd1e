"""A step replayed from a CUDA graph computes what the same step computes eagerly."""

import copy
import functools
import gc
import mmap
import warnings
from pathlib import Path

import pytest
import torch
from helpers import Recorded, pretended_cuda
from torch._subclasses.fake_tensor import FakeTensorMode

from labkit import models
from labkit.recipe import Recipe
from labkit.train import graph, loop
from labkit.train.cast import cast_together
from labkit.train.device import own_randomness

CPU = torch.device("cpu")
RECIPE = Recipe(dataset="random", model="preresnet20", epochs=1, batch=32, lr=0.05)


@pytest.fixture
def cuda(monkeypatch):
    with pretended_cuda(monkeypatch) as streams:
        yield streams


CASES = {
    "sgd": {"optimizer_options": {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}},
    "adam": {"lr": 1e-3},
    "radam": {"lr": 1e-3},
    "rmsprop": {"lr": 1e-4},
    "adadelta": {"lr": 1.0},
}


def test_on_a_cpu_a_step_is_taken_eagerly():
    net = models.build("preresnet20", classes=10)
    with loop.make_update(net, loop.make_optimizer(net, RECIPE), RECIPE, bf16=False) as update:
        assert not isinstance(update, graph.Replay)
        out = update(torch.rand(4, 3, 32, 32), torch.arange(4), 0.1)
        assert out.tolist()[2] == 4
        assert all(p.grad is not None for p in net.parameters())
    assert all(p.grad is None for p in net.parameters())


class Sums:
    """A step that adds the batch, times the rate, to its weight; `Recorded` captures it."""

    def __init__(self, monkeypatch, trouble=lambda: None):
        self.weight, self.trouble = torch.zeros(()), trouble
        self.update = graph.Replay(self.step, CPU)
        monkeypatch.setattr(Recorded, "replays", 0)
        monkeypatch.setattr(Recorded, "begin", self.begin, raising=False)
        monkeypatch.setattr(Recorded, "end", self.end, raising=False)

    def step(self, x, y, lr):
        self.trouble()
        self.weight += x.sum() * lr
        return torch.stack([self.weight, y.sum()])

    def begin(self):
        self.before = self.weight.clone()

    def end(self):
        self.weight.copy_(self.before)
        again = functools.partial(self.step, self.update.x, self.update.y, self.update.lr)
        Recorded.taken = again, self.update.out

    def train(self, batches):
        """What every step gave, with the rate as its number."""
        pairs = [(torch.full((n,), float(n + i)), torch.ones(n)) for i, n in enumerate(batches)]
        return [self.update(x, y, i).tolist() for i, (x, y) in enumerate(pairs)]


def warn(text):
    warnings.warn(text, stacklevel=2)


BATCHES = (4, 4, 4, 4, 4, 3, 4, 4, 3)
EXPECTED = [
    [float(sum(i * n * (n + i) for i, n in enumerate(BATCHES[: last + 1]))), float(BATCHES[last])]
    for last in range(len(BATCHES))
]


def test_every_batch_is_taken_once_at_its_own_rate(cuda, monkeypatch):
    """Three warm-up steps, then replays; batches of another size in between are taken eagerly."""
    sums = Sums(monkeypatch)
    assert sums.train(BATCHES) == EXPECTED
    assert Recorded.replays == 4
    assert cuda == ["main"]


@pytest.mark.parametrize("cast", [lambda net: net, cast_together], ids=["one by one", "together"])
def test_nothing_that_autograd_made_outlives_its_step(cast):
    """What does belongs to another stream when the step is captured, which PyTorch warns of."""
    net = models.build("residual_attention", classes=10).train()
    forward, rule = cast(net), loop.make_optimizer(net, RECIPE)

    def nodes():
        """Where autograd adds up the gradient of each weight."""
        return [weight.view_as(weight).grad_fn.next_functions[0][0] for weight in net.parameters()]

    def marked(x):
        out = forward(x)
        for node in nodes():
            node.metadata["step"] = 1
        return out

    gc.disable()
    try:
        loop.train_step(marked, rule, torch.rand(2, 3, 32, 32), torch.arange(2), 0.1, 0.0, True)
        assert not any("step" in node.metadata for node in nodes())
    finally:
        gc.enable()


def test_only_the_usual_shape_is_worth_a_search_for_kernels(cuda, monkeypatch):
    searched = []
    sums = Sums(monkeypatch, lambda: searched.append(torch.backends.cudnn.benchmark))
    with own_randomness(CPU, deterministic=False):
        sums.train((4, 3, 4, 4))
        assert torch.backends.cudnn.benchmark
    assert searched == [True, False, True, True]
    searched.clear()
    with own_randomness(CPU, deterministic=True):
        sums.train((3,))
    assert searched == [False]


def test_a_step_that_waits_is_never_captured(cuda, monkeypatch, capsys):
    sums = Sums(monkeypatch, lambda: warn("called a synchronizing CUDA operation"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="called a synchronizing")
        assert sums.train(BATCHES) == EXPECTED
    assert sums.update.failed
    assert Recorded.replays == 0
    assert "no CUDA graph of this step, going on without" in capsys.readouterr().err


def test_pytorchs_own_warning_is_passed_over_only_word_for_word():
    """Its words are in the library that warns; the pretended one repeats ours."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_python.so"
    if not library.exists():
        pytest.skip("this system's PyTorch is laid out otherwise")
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as words:
        assert words.find(graph.PROTOTYPE.encode()) > 0


def test_other_warnings_of_a_step_are_passed_on(cuda, monkeypatch):
    sums = Sums(monkeypatch, lambda: warn("a rate of zero"))
    with pytest.warns(UserWarning, match="a rate of zero"):
        sums.train(BATCHES[: graph.WARM_UP])
    assert not sums.update.failed


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RuntimeError("CUDA error: operation not permitted"), graph.CaptureError),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
    ],
)
def test_a_capture_that_breaks_is_an_error_and_leaves_its_stream(
    cuda, monkeypatch, raised, expected
):
    sums = Sums(monkeypatch)
    sums.train(BATCHES[: graph.WARM_UP])

    def fail():
        raise raised

    sums.trouble = fail
    with pytest.raises(expected, match=str(raised)):
        sums.train(BATCHES[:1])
    assert cuda == ["main"]


def test_a_gpu_can_be_asked_to_do_without_a_graph(monkeypatch):
    net = models.build("preresnet20", classes=10)
    monkeypatch.setattr(loop, "Replay", lambda update, device: pytest.fail("captured"))
    monkeypatch.setenv("LABKIT_GRAPH", "0")
    with FakeTensorMode():
        parameter = torch.nn.Parameter(torch.zeros(1, device="cuda:0"))
    monkeypatch.setattr(net, "parameters", lambda: iter([parameter]))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    with loop.make_update(net, optimizer, RECIPE, bf16=False) as update:
        assert callable(update)


def steps(recipe, device, *, replayed, bf16=False):
    """Ten batches, the last one smaller; the sums of each step, and the weights."""
    torch.manual_seed(0)
    with own_randomness(device, deterministic=True):
        net = loop.build(recipe, 10, 32).to(device, memory_format=torch.channels_last).train()
        optimizer = loop.make_optimizer(net, recipe)
        with loop.make_update(net, optimizer, recipe, bf16) as update:
            assert isinstance(update, graph.Replay)
            update.failed = not replayed
            torch.manual_seed(1)
            sums = []
            for step in range(10):
                x = torch.rand(32 if step < 9 else 7, 3, 32, 32, device=device)
                y = torch.randint(10, (len(x),), device=device)
                sums.append(update(x, y, recipe.lr * (1 - step / 10)).tolist())
            assert (update.graph is not None) == replayed
        return sums, [p.detach().clone() for p in net.parameters()]


@pytest.mark.gpu
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", CASES)
def test_graph_and_eager_agree(optimizer, bf16):
    recipe = RECIPE.replace(optimizer=optimizer, **CASES[optimizer])
    device = torch.device("cuda")
    eager, graphed = (steps(recipe, device, replayed=r, bf16=bf16) for r in (False, True))
    torch.testing.assert_close(
        torch.tensor(graphed[0]), torch.tensor(eager[0]), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(graphed[1], eager[1], rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_dropout_draws_anew_in_every_replay():
    recipe = RECIPE.replace(model="mnist_net", optimizer="adam", lr=0.0)
    sums, _ = steps(recipe, torch.device("cuda"), replayed=True)
    losses = [loss for loss, _, _ in sums]
    assert len(set(losses)) == len(losses)


@pytest.mark.gpu
def test_a_step_that_cannot_be_captured_goes_on_eagerly(capsys):
    device = torch.device("cuda")

    def waits(x, y, lr):
        return torch.tensor([x.sum().item(), 0.0, len(x)], device=device)  # .item() waits

    update = graph.Replay(waits, device)
    for _ in range(6):
        x = torch.ones(2, 3, device=device)
        assert update(x, x, 0.1).tolist() == [6.0, 0.0, 2.0]
    assert update.failed
    assert "no CUDA graph" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", CASES)
def test_a_checkpoint_of_a_cpu_goes_on_on_a_gpu(optimizer):
    recipe = RECIPE.replace(optimizer=optimizer, **CASES[optimizer])
    device = torch.device("cuda")

    def step(net, state=None):
        optimizer = loop.make_optimizer(net, recipe)
        if state:
            optimizer.load_state_dict(state)
        where = next(net.parameters()).device
        x = torch.linspace(0, 1, 32 * 3 * 32 * 32).view(32, 3, 32, 32).to(where)
        y = torch.arange(32, device=where) % 10
        with loop.make_update(net, optimizer, recipe, bf16=False) as update:
            sums = [update(x, y, recipe.lr).tolist() for _ in range(5)]
        return sums, optimizer.state_dict()

    net = loop.build(recipe, 10, 32).to(memory_format=torch.channels_last).train()
    _, state = step(net)
    twin = copy.deepcopy(net).to(device, memory_format=torch.channels_last)
    expected, _ = step(net, state)
    got, _ = step(twin, state)
    torch.testing.assert_close(torch.tensor(got), torch.tensor(expected), rtol=1e-3, atol=1e-3)
