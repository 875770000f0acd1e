"""Coarse-to-fine systems: routing, relabelling, exact resume, and what a record says of them."""

import contextlib
import time

import pytest
import safetensors.torch
import torch
from helpers import SYSTEM, TINY, timeless, weights
from hypothesis import given
from hypothesis import strategies as st

import labkit as lk
from labkit import compare, figures
from labkit.data.partitions import PARTITIONS
from labkit.errors import DataError, OutOfTimeError
from labkit.reports import find_row
from labkit.train import evaluate, loop, system
from labkit.train.evaluate import Numerics
from labkit.train.folder import RunFolder

CLASSES = lk.load("synthetic_cifar100").classes


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")


@pytest.fixture
def reference(system_reference):
    return system_reference


@pytest.mark.parametrize("name", PARTITIONS)
def test_a_partition_holds_every_class_once(name):
    groups = system.class_groups(name, CLASSES)
    assert sorted(torch.cat(groups).tolist()) == list(range(100))
    of_class = system.group_of_class(groups)
    assert all((of_class[members] == g).all() for g, members in enumerate(groups))
    expected = {"three": [20, 49, 31], "four": [27, 29, 31, 13]}
    assert [len(members) for members in groups] == expected[name]


@st.composite
def outputs(draw):
    """Logits of a router and log-probabilities of its fine models, for a random partition."""
    classes, count = draw(st.integers(3, 12)), draw(st.integers(1, 3))
    numbers = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    order = torch.randperm(classes, generator=numbers)
    groups = list(order.tensor_split(count))
    router = 3 * torch.randn(8, count, generator=numbers, dtype=torch.float64)
    fine = [torch.randn(8, len(g), generator=numbers, dtype=torch.float64) for g in groups]
    return router, [values.log_softmax(1) for values in fine], groups


@given(outputs())
def test_routing_keeps_probabilities_and_respects_the_groups(drawn):
    router, fine, groups = drawn
    of_class = system.group_of_class(groups)
    hard = system.route(router.argmax(1), fine, groups)
    mixed = system.soft(router, fine, groups)
    for logits in (hard, mixed):
        assert torch.allclose(logits.exp().sum(1), torch.ones(8, dtype=torch.float64))
    assert (of_class[hard.argmax(1)] == router.argmax(1)).all()
    for g, members in enumerate(groups):
        assert torch.allclose(mixed[:, members].exp().sum(1), router.softmax(1)[:, g])


@given(outputs(), st.integers(0, 2**31))
def test_the_router_bounds_hard_routing_and_a_sure_router_leaves_nothing_to_mix(drawn, seed):
    router, fine, groups = drawn
    numbers = torch.Generator().manual_seed(seed)
    labels = torch.randint(sum(map(len, groups)), (8,), generator=numbers)
    told = system.explain(router, fine, groups, labels)
    hard = system.route(router.argmax(1), fine, groups)
    top1 = (hard.argmax(1) == labels).double().mean().item()
    assert top1 <= told["coarse_top1"] + 1e-12
    assert top1 <= told["oracle_top1"] + 1e-12
    sure = system.explain(1e6 * router, fine, groups, labels)
    assert sure["soft_top1"] == pytest.approx(top1)


def images(labels):
    return lk.Split(torch.zeros(len(labels), 3, 4, 4, dtype=torch.uint8), torch.tensor(labels))


def test_misrouted_images_get_labels_of_the_group_and_the_others_keep_theirs():
    labels = torch.tensor([7, 3, 9, 3, 0] * 20)
    place = system.place_in_group(labels, torch.tensor([3, 7]))
    assert place.tolist() == [1, 0, -1, 0, -1] * 20
    for redraw in (False, True):
        at = system.relabel(images(place.tolist()), 2, redraw=redraw, seed=5)
        first, second = at(0).labels, at(1).labels
        assert torch.equal(first, at(0).labels)
        assert torch.equal(first[place >= 0], place[place >= 0])
        assert set(first[place < 0].tolist()) == {0, 1}
        assert torch.equal(first, second) is not redraw


def test_the_record_of_a_system(reference):
    record = reference.record
    trained = [f"fine{g}" for g, n in enumerate(record["details"]["routed_train_images"]) if n]
    assert len(trained) >= 2
    expected = ["router"] * 5 + [part for part in trained for _ in range(2)]
    assert [row["part"] for row in record["rows"]] == expected
    assert record["test"]["loss"] is None
    assert record["test"]["images"] == 200
    assert (record.predictions == record.labels).mean() == pytest.approx(record["test"]["top1"])
    details = record["details"]
    assert details["train_images"] == sum(details["routed_train_images"]) == 600
    assert record["test"]["top1"] <= min(details["coarse_top1"], details["oracle_top1"])
    seen = [row["images"] for row in record["rows"] if row["epoch"] == 1]
    routed = [count for count in details["routed_train_images"] if count]
    assert seen == [600, *(count - (count % 16 == 1) for count in routed)]
    of_class = system.group_of_class(system.class_groups("three", CLASSES))
    right = of_class[record.predictions.tolist()] == of_class[record.labels.tolist()]
    assert right.double().mean().item() == pytest.approx(details["coarse_top1"])
    each = [lk.build("mnist_net", classes=c) for c in (3, 20, 49, 31)]
    assert record["parameters"]["total"] == sum(p.numel() for n in each for p in n.parameters())


def test_the_weights_are_those_that_were_scored(reference):
    data = lk.load(SYSTEM.dataset)
    test = data.test_subset(SYSTEM.test_size)
    net = reference.net.to(memory_format=torch.channels_last)
    logits = lk.predict(net, test, normalise=(data.mean, data.std))
    assert logits.argmax(1).tolist() == reference.record.predictions.tolist()
    state = torch.get_rng_state()
    before = reference.untrained()
    assert torch.equal(torch.get_rng_state(), state)
    router = loop.build(system.router_recipe(SYSTEM), 3, 32)
    assert torch.equal(before.router.head[1].weight, router.head[1].weight)
    assert not torch.equal(before.router.head[1].weight, net.router.head[1].weight)


@pytest.mark.faults(1)
def test_a_system_stopped_after_every_epoch_ends_with_the_same_bits(
    reference, monkeypatch, tmp_path
):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    stops, pieces = 0, None
    while pieces is None and stops < 20:
        with contextlib.suppress(OutOfTimeError):
            pieces = lk.fit(SYSTEM, device="cpu", deadline=time.monotonic() - 1)
        stops += pieces is None
    parts = {row["part"] for row in pieces.record["rows"]}
    assert stops == 4 + len(parts) - 1  # four times in the router, once in each fine model
    assert pieces.record["resumed"] >= stops
    assert timeless(pieces.record) == timeless(reference.record)
    assert weights(pieces) == weights(reference)
    left = sorted(path.name for path in pieces.folder.path.iterdir())
    assert left == ["record.json", "weights.safetensors"]


def test_a_system_is_recalled_under_the_labels_of_who_asks(monkeypatch):
    four = lk.Hierarchy(groups="four", model="mnist_net")
    recipe = SYSTEM.replace(epochs=1, train_size=100, hierarchy=four)
    first = lk.fit(recipe, device="cpu", about={"row": "000-B2"})
    monkeypatch.setattr(loop, "optimise", lambda *a, **k: pytest.fail("trained again"))
    again = lk.fit(recipe, device="cpu", about={"row": "000-C1"})
    assert again.record["row"] == "000-C1"
    assert timeless(again.record) == timeless(first.record)
    assert again.record["checksum"] != first.record["checksum"]


def test_systems_with_equal_routers_train_one(reference, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(reference.folder.path.parent))
    first = reference
    trained, optimise = [], loop.optimise

    def counting(*arguments, label, **options):
        trained.append(label)
        return optimise(*arguments, label=label, **options)

    monkeypatch.setattr(loop, "optimise", counting)
    dropping = lk.Hierarchy(groups="three", model="mnist_net", epochs=1, misrouted="drop")
    second = lk.fit(SYSTEM.replace(hierarchy=dropping), device="cpu")
    assert trained
    assert all("fine model" in label for label in trained)
    assert second.record["rows"][:5] == first.record["rows"][:5]
    seen = sum(row["images"] for row in second.record["rows"][5:])
    details = second.record["details"]
    lost = details["train_images"] - details["misrouted_train_images"] - seen
    assert 0 <= lost <= 3  # one image where a batch of one would be left


def test_a_group_that_gets_no_image_keeps_its_first_weights(monkeypatch):
    predict = evaluate.predict

    def one_sided(net, split, **options):
        logits = predict(net, split, **options)
        return logits - 1e3 * (torch.arange(3) > 0) if logits.shape[1] == 3 else logits

    monkeypatch.setattr(evaluate, "predict", one_sided)
    recipe = SYSTEM.replace(epochs=1, train_size=100, test_size=100)
    record = lk.fit(recipe, device="cpu").record
    assert record["details"]["routed_train_images"] == [100, 0, 0]
    assert {row["part"] for row in record["rows"]} == {"router", "fine0"}


def test_no_fine_model_meets_a_batch_of_one():
    """torchvision's ResNet leaves one pixel of 32x32: normalising one image would fail."""
    part = SYSTEM.replace(hierarchy=None, model="resnet18_imagenet", batch=4, epochs=1)
    folder = RunFolder.of(part, lk.load(SYSTEM.dataset))
    split = lk.load(SYSTEM.dataset).train.take(torch.arange(5))
    _, rows = system._fit_fine(
        part, split, split.labels, "once",
        folder=folder, numerics=Numerics(), label="", deadline=None,
    )  # fmt: skip
    assert rows[0]["images"] == 4


def test_fresh_trains_every_model_again(monkeypatch):
    recipe = SYSTEM.replace(epochs=1, train_size=100, test_size=100)
    with pytest.raises(OutOfTimeError):
        lk.fit(recipe.replace(epochs=2), device="cpu", fresh=True, deadline=time.monotonic() - 1)
    trained = []

    def optimise(*arguments, label, **named):
        trained.append(label)
        return real(*arguments, label=label, **named)

    real = loop.optimise
    monkeypatch.setattr(loop, "optimise", optimise)
    first = lk.fit(recipe, device="cpu")
    once = list(trained)  # a fine model without images is not trained
    assert once[0] == "system router"
    again = lk.fit(recipe, device="cpu", fresh=True)
    assert trained == 2 * once
    assert timeless(again.record) == timeless(first.record)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hierarchy": lk.Hierarchy(groups="five", model="mbn")}, "three, four"),
        ({"dataset": "synthetic_cifar10"}, "100 classes"),
        ({"validation": 100}, "validation is 100"),
        ({"watch_test": True}, "watch_test"),
    ],
)
def test_what_cannot_be_trained_is_refused(change, sentence):
    with pytest.raises(lk.InputError, match=sentence):
        lk.fit(SYSTEM.replace(**change), device="cpu")


def test_a_records_numbers_are_found_by_the_tables(reference):
    record = reference.record
    for name in ("coarse_top1", "soft_top1", "oracle_top1", "multiply_adds"):
        assert compare.measure(record, name) is not None
    assert compare.measure(record, "test_loss") is None
    assert compare.measure(record, "epochs") == len(record["rows"])


def test_the_figures_tell_the_record(reference):
    record, groups = reference.record, PARTITIONS["three"]
    told = figures.alt(figures.origins(record, CLASSES, groups))
    wrong_group = 100 * (1 - record["details"]["coarse_top1"])
    assert f"{wrong_group:.1f} % wrong group." in told
    assert f"all: {100 * record['test']['top1']:.1f} % right" in told
    told = figures.alt(figures.routing([reference]))
    for name in ("soft_top1", "oracle_top1", "coarse_top1"):
        assert f"{100 * record['details'][name]:.1f} %" in told
    assert "49 classes" in figures.alt(figures.coarse_to_fine(groups))
    with pytest.raises(ValueError, match="coarse-to-fine"):
        figures.routing([dict(record) | {"details": {}}])


PRINTED = compare.published(report="000").query("metric == 'memory_report_unit'")


@pytest.mark.parametrize(("row", "printed"), PRINTED[["row", "value"]].values.tolist())
def test_the_architectures_have_the_memory_that_the_report_prints(row, printed):
    """To half a unit; the text's D1 is off by less than one per cent (90.5 for 90.9)."""
    for asked in (row, f"{row}T"):
        recipe = find_row(asked)[1].full
        h = recipe.hierarchy
        with torch.device("meta"):
            nets = [lk.build(recipe.model, classes=len(PARTITIONS[h.groups]))]
            nets += [lk.build(h.model, classes=len(g)) for g in PARTITIONS[h.groups].values()]
        size = 4 * sum(p.numel() for net in nets for p in net.parameters())
        assert size / 1024 / 1000 == pytest.approx(printed, abs=0.5)


def test_the_epochs_are_those_that_the_report_counts():
    printed = compare.published(report="000").query("metric == 'epochs'")
    for row, epochs in printed[["row", "value"]].values.tolist():
        recipe = find_row(row)[1].full
        models = 1 + len(PARTITIONS[recipe.hierarchy.groups])
        assert models * recipe.epochs == epochs


def flip(path):
    """Every weight with its sign turned, in a file that is whole."""
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file({name: -tensor for name, tensor in weights.items()}, path)


DAMAGE = {
    "flipped": flip,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.faults(41)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_router_whose_weights_are_not_its_own_is_trained_again(
    reference, damage, tmp_path, monkeypatch
):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    data = lk.load(SYSTEM.dataset)
    router = lk.fit(system.router_recipe(SYSTEM), system.router_data(SYSTEM, data), device="cpu")
    damage(router.folder.path / "weights.safetensors")
    again = lk.fit(SYSTEM, device="cpu")
    assert timeless(again.record) == timeless(reference.record)
    assert weights(again) == weights(reference)


@pytest.mark.faults(41)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_weights_that_are_not_the_records_are_set_aside(damage, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    run = lk.fit(TINY.replace(epochs=1), device="cpu")
    whole = weights(run)
    damage(run.folder.path / "weights.safetensors")
    with pytest.raises(DataError, match="trained again when it is asked for"):
        print(run.net)
    again = lk.fit(TINY.replace(epochs=1), device="cpu")
    assert weights(again) == whole
    assert again.net
