import json
import subprocess
import sys

import pytest

from labkit.errors import InputError
from labkit.recipe import Hierarchy, Recipe

BASE = {"dataset": "cifar10", "model": "mnist_net", "epochs": 10, "batch": 100, "lr": 0.1}


def test_json_round_trip_keeps_every_field():
    recipe = Recipe(**BASE, milestones=(0.35, 0.7), hierarchy=Hierarchy(groups="three", model="m1"))
    again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    assert again.digest == recipe.digest


def test_every_field_changes_the_digest():
    recipe = Recipe(**BASE)
    changes = {
        "dataset": "cifar100", "model": "mbn", "epochs": 11, "batch": 64, "lr": 0.2,
        "options": {"a": 1}, "optimizer": "adam", "optimizer_options": {"eps": 1e-7},
        "schedule": "cosine", "milestones": (0.5,), "gamma": 0.2, "warmup": 0.1,
        "augment": "flip", "normalise": "unit", "train_size": 10, "validation": 10,
        "test_size": 10, "drop_last": True, "label_smoothing": 0.1, "watch_test": True,
        "score_train": True, "precision": "fp32", "deterministic": True, "seed": 1,
        "hierarchy": Hierarchy(groups="three", model="m1"),
    }  # fmt: skip
    digests = {recipe.replace(**{name: value}).digest for name, value in changes.items()}
    digests.add(recipe.replace(patience=3, validation=10).digest)
    assert len(digests) == len(changes) + 1
    assert set(changes) | {"patience"} == set(recipe.to_json())


@pytest.mark.faults(39)
def test_digest_does_not_depend_on_the_hash_seed():
    code = (
        f"from labkit.recipe import Recipe;print(Recipe(**{BASE!r}, options=dict(b=1, a=2)).digest)"
    )
    outputs = set()
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1


@pytest.mark.faults(22)
@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0}, {"epochs": 3.5j}, {"epochs": "3"}, {"epochs": True}, {"batch": 0},
        {"lr": float("nan")}, {"lr": -1.0}, {"warmup": 1.5}, {"milestones": (2.0,)},
        {"optimizer": "adamm"}, {"schedule": "linear"}, {"normalise": "no"}, {"precision": "fp64"},
        {"train_size": -1}, {"patience": 3}, {"label_smoothing": 2.0}, {"epochs": 3.5},
        {"milestones": 0.5}, {"milestones": ("half",)}, {"hierarchy": "three"}, {"options": None},
        {"options": {"depth": float("nan")}}, {"gamma": "0.1"}, {"drop_last": "no"}, {"seed": 1.0},
    ],
)  # fmt: skip
def test_bad_values_are_refused_with_a_sentence(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Recipe(**(BASE | wrong))


def test_unknown_fields_are_refused():
    with pytest.raises(InputError, match="colour"):
        Recipe.from_json(BASE | {"colour": "red"})
    with pytest.raises(InputError, match="misrouted"):
        Hierarchy(groups="three", model="m1", misrouted="never")
    bad = (([], "object"), ({"epochs": 1}, "model"), (BASE | {"hierarchy": {}}, "groups"))
    for recipe, word in bad:
        with pytest.raises(InputError, match=word):
            Recipe.from_json(recipe)


def test_warm_up_and_cosine_are_those_of_report_004():
    recipe = Recipe(**(BASE | {"epochs": 250, "batch": 64, "lr": 1e-3}), schedule="cosine",
                    warmup=0.1, drop_last=True)  # fmt: skip
    assert recipe.steps(50_000) == 781
    assert recipe.lr_at(0, 50_000) == 0
    assert recipe.lr_at(19_531, 50_000) == pytest.approx(1e-3)
    middle = 19_531 + (195_312 - 19_531) / 2
    assert recipe.lr_at(round(middle), 50_000) == pytest.approx(5e-4, rel=1e-3)
    assert recipe.lr_at(195_249, 50_000) < 1e-8


def test_steps_fall_at_the_start_of_their_epochs():
    recipe = Recipe(**(BASE | {"epochs": 20, "batch": 256, "lr": 1e-3}), schedule="step",
                    milestones=(7 / 20, 14 / 20))  # fmt: skip
    rates = [recipe.lr_at(epoch * 782 + 781, 200_000) for epoch in range(20)]
    assert rates == pytest.approx([1e-3] * 7 + [1e-4] * 7 + [1e-5] * 6)
    short = recipe.replace(epochs=2)
    assert [short.lr_at(step, 256) for step in (0, 1)] == pytest.approx([1e-3, 1e-4])
