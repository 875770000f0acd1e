"""A step replayed from a CUDA graph computes what the same step computes eagerly."""

import copy

import pytest
import torch

from labkit import graph, models, train
from labkit.device import own_randomness
from labkit.recipe import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(dataset="random", model="preresnet20", epochs=1, batch=32, lr=0.05)
CASES = {
    "sgd": {"optimizer_options": {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}},
    "adam": {"lr": 1e-3},
    "radam": {"lr": 1e-3},
    "rmsprop": {"lr": 1e-4},
    "adadelta": {"lr": 1.0},
}


def test_on_a_cpu_a_step_is_taken_eagerly():
    net = models.build("preresnet20", classes=10)
    update = train.make_update(net, train.make_optimizer(net, RECIPE), RECIPE, bf16=False)
    assert not isinstance(update, graph.Replay)
    out = update(torch.rand(4, 3, 32, 32), torch.arange(4), 0.1)
    assert out.tolist()[2] == 4


def steps(recipe, device, *, replayed, deterministic=True):
    """Ten batches, the last one smaller; the sums of each step, and the weights."""
    torch.manual_seed(0)
    with own_randomness(device, deterministic=deterministic):
        net = train.build(recipe, 10, 32).to(device, memory_format=torch.channels_last).train()
        optimizer = train.make_optimizer(net, recipe)
        update = train.make_update(net, optimizer, recipe, bf16=False)
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
@pytest.mark.parametrize("optimizer", CASES)
def test_graph_and_eager_agree(optimizer):
    recipe = RECIPE.replace(optimizer=optimizer, **CASES[optimizer])
    device = torch.device("cuda")
    eager, graphed = (steps(recipe, device, replayed=r) for r in (False, True))
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
        optimizer = train.make_optimizer(net, recipe)
        if state:
            optimizer.load_state_dict(state)
        update = train.make_update(net, optimizer, recipe, bf16=False)
        where = next(net.parameters()).device
        x = torch.linspace(0, 1, 32 * 3 * 32 * 32).view(32, 3, 32, 32).to(where)
        sums = [update(x, torch.arange(32, device=where) % 10, recipe.lr).tolist() for _ in "12345"]
        return sums, optimizer.state_dict()

    net = train.build(recipe, 10, 32).train()
    _, state = step(net)
    twin = copy.deepcopy(net).to(device, memory_format=torch.channels_last)
    expected, _ = step(net, state)
    got, _ = step(twin, state)
    torch.testing.assert_close(torch.tensor(got), torch.tensor(expected), rtol=1e-3, atol=1e-3)
