"""Properties of the loop: exact resume, determinism, honest failure, the test set scored once."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch
from helpers import NORMALISED, TINY, timeless, weights
from torch.utils._python_dispatch import TorchDispatchMode

import labkit as lk
from labkit import files
from labkit.errors import OutOfTimeError, TrainingError
from labkit.train import device, evaluate, loop, trouble
from labkit.train.fit import parameter_counts
from labkit.train.folder import RunFolder


@pytest.mark.faults(38)
def test_the_same_recipe_gives_the_same_bits(reference):
    again = lk.fit(TINY, device="cpu")
    assert again.folder.path != reference.folder.path
    assert timeless(again.record) == timeless(reference.record)
    assert weights(again) == weights(reference)
    other = lk.fit(TINY.replace(seed=1), device="cpu")
    assert other.record["rows"][0]["train_loss"] != reference.record["rows"][0]["train_loss"]


@pytest.mark.faults(39)
def test_a_record_says_what_was_computed_from_what(reference):
    record = reference.record
    assert record.recipe == TINY
    assert len(record["rows"]) == len(reference.history) == 4
    assert record["test"]["images"] == len(record.predictions) == 100
    assert (record.predictions == record.labels).mean() == pytest.approx(record["test"]["top1"])
    assert record["details"] == {
        "train_images": 200,
        "validation_images": 100,
        "multiply_adds": 16_835_200,
        "weights": files.sha256(reference.folder.weights),
    }
    assert record["data"]["synthetic"]
    assert record.synthetic
    assert record["parameters"]["total"] == record["parameters"]["trainable"] == 1_626_442
    assert record["device"] == {
        "type": "cpu", "name": device.cpu_name(), "threads": 1,
        "precision": record["device"]["precision"],
    }  # fmt: skip


def test_the_weights_are_those_that_were_scored(reference):
    data = lk.load(TINY.dataset)
    test = data.test_subset(TINY.test_size)
    net = reference.net.to(memory_format=torch.channels_last)
    logits = lk.predict(net, test, normalise=(data.mean, data.std))
    assert lk.score(logits, test.labels) == reference.record["test"]


@pytest.mark.faults(38)
def test_a_runs_networks_leave_the_callers_randomness_alone(reference):
    state = torch.get_rng_state()
    trained, untrained = reference.net, reference.untrained()
    assert torch.equal(torch.get_rng_state(), state)
    first = loop.build(TINY, 10, 32).state_dict()
    assert all(torch.equal(first[k], v) for k, v in untrained.state_dict().items())
    assert all(p.requires_grad and p.device.type == "cpu" for p in trained.parameters())
    assert not torch.equal(first["head.1.weight"], trained.state_dict()["head.1.weight"])


@pytest.mark.faults(1)
@pytest.mark.parametrize("recipe", [TINY, NORMALISED], ids=["adam", "rmsprop and BN"])
def test_a_run_stopped_after_every_epoch_ends_with_the_same_bits(recipe, monkeypatch, home):
    whole = lk.fit(recipe, device="cpu")
    monkeypatch.setenv("LABKIT_RUNS", str(home / "stopped"))
    for _ in range(recipe.epochs - 1):
        with pytest.raises(OutOfTimeError, match="same command"):
            lk.fit(recipe, device="cpu", deadline=time.monotonic() - 1)
    pieces = lk.fit(recipe, device="cpu")
    assert pieces.record["resumed"] == recipe.epochs - 1
    assert timeless(pieces.record) == timeless(whole.record)
    assert weights(pieces) == weights(whole)
    names = sorted(path.name for path in pieces.folder.path.iterdir())
    assert names == ["record.json", "weights.safetensors"]


CHILD = """
import os, sys, torch
torch.set_num_threads(1)
from tests.helpers import TINY
from labkit.train import loop
from labkit.train.fit import fit
step = loop.train_step
def slow(*arguments):
    print("step", flush=True)
    return step(*arguments)
loop.train_step = slow
for _ in sys.stdin:  # a fork for each line: what takes long is to import torch
    child = os.fork()
    if not child:
        print("started", os.getpid(), flush=True)
        fit(TINY, device="cpu", checkpoint_every=0)
        os._exit(0)
    print("ended", os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.faults(1)
def test_killed_at_random_points_the_run_ends_with_the_same_bits(reference, home):
    """kill -9 within the second epoch of what is left."""
    parent = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for attempt in range(20):
        parent.stdin.write("go\n")
        parent.stdin.flush()
        steps = 0
        for line in parent.stdout:
            word, *number = line.split()
            if word == "started":
                child = int(number[0])
            elif word == "ended":
                break
            elif word == "step":
                steps += 1
                if steps == 6 + attempt:
                    with contextlib.suppress(ProcessLookupError):  # it was quicker
                        os.kill(child, signal.SIGKILL)
        if number == ["0"]:
            break
        assert number == [str(signal.SIGKILL.value)]
    else:
        pytest.fail("20 attempts did not finish the run")
    parent.communicate(timeout=60)
    assert attempt >= 1
    finished = lk.fit(TINY, device="cpu")
    assert finished.record["resumed"] >= 1
    assert timeless(finished.record) == timeless(reference.record)
    assert weights(finished) == weights(reference)


@pytest.mark.faults(3)
@pytest.mark.parametrize("damage", ["cut", "flip", "pointer"])
def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_again(reference, damage, capfd):
    with pytest.raises(OutOfTimeError):
        lk.fit(TINY, device="cpu", deadline=time.monotonic() - 1)
    folder = RunFolder.of(TINY, lk.load(TINY.dataset)).path
    path = next(folder.glob("epoch-*.pt"))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        (folder / "last.json").write_text("{", encoding="utf-8")
    run = lk.fit(TINY, device="cpu")
    assert "damaged" in capfd.readouterr().err
    assert run.record["resumed"] == 0
    assert timeless(run.record) == timeless(reference.record)


@pytest.mark.faults(16)
def test_a_checkpoint_runs_no_code(home):
    marker = home / "marker"

    class Bomb:
        def __reduce__(self):
            return (marker.write_text, ("boom",))

    folder = home / "bomb"
    folder.mkdir()
    torch.save({"net": Bomb()}, folder / "epoch-00001.pt")
    content = (folder / "epoch-00001.pt").read_bytes()
    marker.unlink(missing_ok=True)
    pointer = {"file": "epoch-00001.pt", "epoch": 1, "sha256": files.sha256(content)}
    files.write_atomic(folder / "last.json", json.dumps(pointer))
    with pytest.raises(Exception, match=r"[Ww]eights.only|Unsupported"):
        RunFolder(folder).restore(torch.nn.Linear(1, 1), None)
    assert not marker.exists()


def test_a_finished_run_is_recalled_and_fresh_trains_again(reference, monkeypatch):
    first = lk.fit(TINY, device="cpu")
    monkeypatch.setattr(loop, "optimise", lambda *a, **k: pytest.fail("trained again"))
    assert dict(lk.fit(TINY, device="cpu").record) == dict(first.record)
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        lk.fit(TINY, device="cpu", fresh=True)
    monkeypatch.undo()
    again = lk.fit(TINY, device="cpu", fresh=True)
    assert again.record["seconds"] != first.record["seconds"]
    assert timeless(again.record) == timeless(first.record)


def test_a_finished_run_outlives_a_fresh_one_that_may_not_start(reference, monkeypatch):
    first = lk.fit(TINY, device="cpu")
    monkeypatch.setattr(trouble, "free_memory", lambda device: 1.0)
    with pytest.raises(TrainingError, match="1 MB are free"):
        lk.fit(TINY, device="cpu", fresh=True)
    assert dict(lk.fit(TINY, device="cpu").record) == dict(first.record)
    assert weights(first) == weights(reference)


class Watched(TorchDispatchMode):
    """Every operation that is dispatched, by name."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(func.name())
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("model", ["preresnet20", "residual_attention", "wrn16_2", "resnext1_a"])
def test_a_step_copies_no_number_to_the_device_and_reads_none_back(model):
    """Neither can be captured in a CUDA graph; on a CPU the operations are the same."""
    recipe = TINY.replace(model=model, optimizer="sgd")
    net = loop.build(recipe, 10, 32).train()
    optimizer = loop.make_optimizer(net, recipe)
    x, y = torch.rand(4, 3, 32, 32), torch.arange(4)
    with Watched() as operations:
        loop.train_step(net, optimizer, x, y, 0.1, 0.1, False)
    assert "aten::convolution" in operations.seen
    assert not operations.seen & {"aten::lift_fresh", "aten::_local_scalar_dense"}


def test_a_step_starts_without_the_gradients_of_one_that_failed():
    recipe = TINY.replace(model="preresnet20", optimizer="sgd")
    x, y = torch.rand(4, 3, 32, 32), torch.arange(4)
    nets = [loop.build(recipe, 10, 32).train() for _ in range(2)]
    for p in nets[1].parameters():
        p.grad = torch.ones_like(p)
    for net in nets:
        loop.train_step(net, loop.make_optimizer(net, recipe), x, y, 0.1, 0.0, False)
    for ours, theirs in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(ours, theirs)


def test_what_has_no_deterministic_kernel_is_refused_in_words(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError(
            "adaptive_max_pool2d_backward_cuda does not have a deterministic implementation, but"
            " you set 'torch.use_deterministic_algorithms(True)'. You can turn off determinism"
        )

    monkeypatch.setattr(loop, "train_step", refuse)
    with pytest.raises(lk.InputError, match=r"mnist_net cannot be .*leave deterministic=False"):
        lk.fit(TINY.replace(deterministic=True), device="cpu")


@pytest.mark.faults(40)
def test_the_test_set_is_scored_once_after_the_last_epoch(monkeypatch):
    data = lk.load(TINY.dataset)
    seen = []
    predict = evaluate.predict

    def counting(net, split, **options):
        seen.append(len(split))
        return predict(net, split, **options)

    monkeypatch.setattr(evaluate, "predict", counting)
    lk.fit(TINY.replace(validation=50, test_size=100), data, device="cpu")
    assert seen == [50] * 4 + [100]


@pytest.mark.faults(40)
def test_watching_the_test_set_only_adds_columns(reference):
    watched = lk.fit(TINY.replace(watch_test=True, score_train=True), device="cpu").record
    assert watched["test"] == reference.record["test"]
    assert watched["rows"][-1]["test_top1"] == watched["test"]["top1"]
    best = max(row["test_top1"] for row in watched["rows"])
    assert watched["best_test"]["top1"] == best
    assert 0 <= watched["train_clean"]["top1"] <= 1
    assert reference.record["best_test"] is None
    assert reference.record["train_clean"] is None


@pytest.mark.faults(18)
def test_a_loss_that_is_not_finite_leaves_no_record(home):
    recipe = TINY.replace(optimizer="sgd", lr=1e6)
    with pytest.raises(TrainingError, match=r"not finite after epoch .*lower lr"):
        lk.fit(recipe, device="cpu")
    folder = RunFolder.of(recipe, lk.load(recipe.dataset)).path
    assert not (folder / "record.json").exists()


@pytest.mark.faults(32)
def test_out_of_memory_is_a_sentence_and_frees_the_tensors(monkeypatch):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "train_step", full)
    with pytest.raises(TrainingError, match=r"batch 50.*smaller batch") as caught:
        lk.fit(TINY, device="cpu")
    assert caught.value.__context__.__traceback__ is None  # its frames would keep tensors alive


def test_early_stopping_watches_the_validation_loss():
    rows = [{"val_loss": loss} for loss in (3.0, 2.0, 2.5, 2.4)]
    assert not loop.stalled(rows, 0)
    assert not loop.stalled(rows, 3)
    assert loop.stalled(rows, 2)
    assert not loop.stalled(rows[:3], 2)


@pytest.mark.faults(38)
def test_the_callers_randomness_is_given_back():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    lk.fit(TINY.replace(epochs=1), device="cpu", fresh=True)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        lk.fit(TINY.replace(epochs=1), device="cpu", fresh=True)
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_other_programs_read_the_weights():
    run = lk.fit(TINY.replace(epochs=1), device="cpu")
    theirs = safetensors.torch.load_file(run.folder.path / "weights.safetensors")
    ours = run.net.state_dict()
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        assert tensor.dtype == ours[name].dtype
        assert torch.equal(tensor, ours[name])


def test_batches_are_not_counted_and_nobody_misses_it():
    """PyTorch would count them for every layer; only an average over all of them needs that."""
    run = lk.fit(NORMALISED, device="cpu")
    theirs = safetensors.torch.load_file(run.folder.path / "weights.safetensors")
    assert not [name for name in theirs if "num_batches_tracked" in name]
    assert run.net.state_dict().keys() == theirs.keys()
    net = lk.build(NORMALISED.model, classes=10)  # one that counts
    assert run.record["parameters"] == parameter_counts(net)
    net.load_state_dict(theirs)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(net.eval()(x), run.net(x))


def test_unread_memory_is_not_filled_and_the_switch_comes_back():
    """Filling it, as deterministic runs do by default, is a kernel for every tensor."""
    assert torch.utils.deterministic.fill_uninitialized_memory
    with device.own_randomness(torch.device("cpu"), deterministic=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_the_last_images_are_scored_without_a_search_for_kernels(monkeypatch):
    searched = []
    monkeypatch.setitem(evaluate.BATCH, "cpu", 40)
    images = lk.load(TINY.dataset).test_subset(100)
    net = torch.nn.Flatten()
    net.register_forward_hook(lambda *_: searched.append(torch.backends.cudnn.benchmark))
    with device.own_randomness(torch.device("cpu"), deterministic=False):
        lk.predict(net, images)
    assert searched == [True, True, False]


def test_weights_of_every_type_and_order_are_kept(home):
    kinds = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
             torch.int16, torch.int8, torch.uint8, torch.bool]  # fmt: skip
    net = torch.nn.Module()
    for index, kind in enumerate(kinds):
        net.register_buffer(f"one{index}", torch.tensor(1, dtype=kind))
        many = torch.randn(2, 3, 4, 5).mul(9).to(kind).contiguous(memory_format=torch.channels_last)
        net.register_buffer(f"many{index}", many)
    RunFolder(home / "run").save_weights(net)
    theirs = safetensors.torch.load_file(home / "run" / "weights.safetensors")
    assert theirs.keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        assert theirs[name].dtype == tensor.dtype
        assert torch.equal(theirs[name], tensor)


def test_the_test_subset_is_class_balanced():
    data = lk.load("synthetic_cifar10")
    labels = data.test_subset(TINY.test_size).labels
    assert torch.bincount(labels).tolist() == [10] * 10
    few = data.test_subset(TINY.replace(test_size=3).test_size).labels
    assert torch.bincount(few).tolist() == [1, 1, 1]
    assert len(data.test_subset(TINY.replace(test_size=0).test_size)) == len(data.test)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": "mnist_nett"}, "mnist_net"),
        ({"options": {"colour": 1}}, "colour"),
        ({"optimizer_options": {"colour": 1}}, "colour"),
    ],
)
def test_unknown_models_and_options_are_refused(change, sentence):
    with pytest.raises(lk.InputError, match=sentence):
        lk.fit(TINY.replace(**change), device="cpu")


def test_less_than_one_batch_is_refused_where_the_rest_is_dropped(home):
    small = TINY.replace(drop_last=True, train_size=40, validation=0)
    with pytest.raises(lk.InputError, match="40 training images are less than one batch of 50"):
        lk.fit(small, device="cpu")


@pytest.mark.faults(31)
def test_a_missing_gpu_is_refused_by_name():
    if torch.cuda.is_available():
        assert device.pick_device("cuda").type == "cuda"
    else:
        with pytest.raises(lk.InputError, match="no GPU"):
            device.pick_device("cuda")
    with pytest.raises(lk.InputError, match="auto, cpu, cuda"):
        device.pick_device("gpu")


def test_a_fresh_run_that_was_stopped_goes_on(monkeypatch):
    whole = lk.fit(TINY, device="cpu")
    for _ in range(2):
        with pytest.raises(OutOfTimeError):
            lk.fit(TINY, device="cpu", fresh=True, deadline=time.monotonic() - 1)
    again = lk.fit(TINY, device="cpu", fresh=True)
    assert again.record["resumed"] == 2
    assert timeless(again.record) == timeless(whole.record)


def test_memory_that_cannot_be_had_ends_a_run_in_a_sentence(monkeypatch):
    full = contextlib.nullcontext(lambda *step: torch.empty(10**15))
    wrong = contextlib.nullcontext(lambda *step: torch.ones(2) @ torch.ones(3))
    monkeypatch.setattr(loop, "make_update", lambda *a: full)
    with pytest.raises(TrainingError, match="out of memory on the cpu: mnist_net at batch"):
        lk.fit(TINY, device="cpu")
    monkeypatch.setattr(loop, "make_update", lambda *a: wrong)
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        lk.fit(TINY, device="cpu")
