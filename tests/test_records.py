import json

import numpy as np
import pytest

from labkit import records
from labkit.errors import RecordError
from labkit.recipe import Recipe, digest_of

RECIPE = Recipe(dataset="cifar10", model="mnist_net", epochs=1, batch=10, lr=0.1)


def values(**changes):
    made = {
        "row": "002-M1", "report": "keras_vs_mbn", "preset": "smoke",
        "recipe": RECIPE.to_json(), "digest": RECIPE.digest,
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


def test_round_trip(home):
    record = records.seal(values())
    path = home / "records" / records.file_name(record)
    assert records.claim(record, path)
    again = records.read(path)
    assert dict(again) == dict(record)
    assert again.recipe == RECIPE
    assert again.predictions.tolist() == [1, 2, 3, 255]
    assert again.history["train_top1"].tolist() == [0.5]
    assert records.recorded("keras_vs_mbn", folder=home / "records")[0]["digest"] == RECIPE.digest
    assert records.recorded("keras_vs_mbn", preset="full", folder=home / "records") == []


@pytest.mark.faults(25)
def test_only_the_first_claim_is_kept(home):
    path = home / "record.json"
    assert records.claim(records.seal(values()), path)
    assert not records.claim(records.seal(values(seconds=9.0)), path)
    assert records.read(path)["seconds"] == 1.0


@pytest.mark.faults(27)
@pytest.mark.parametrize("field", sorted(records.FIELDS))
def test_any_edited_field_is_refused(home, field):
    path = home / "record.json"
    records.claim(records.seal(values()), path)
    content = json.loads(path.read_text(encoding="utf-8"))
    content[field] = "something else"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RecordError, match=r"record\.json"):
        records.read(path)
    del content[field]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RecordError, match=r"record\.json"):
        records.read(path)


@pytest.mark.faults(27)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema": 1}'])
def test_damaged_files_are_refused(home, content):
    path = home / "record.json"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"record\.json"):
        records.read(path)


@pytest.mark.faults(18)
def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(RecordError, match="finite"):
        records.seal(values(seconds=float("nan")))


@pytest.mark.faults(34)
def test_times_are_utc_to_the_second():
    assert records.now().endswith("Z")
    assert len(records.now()) == len("2026-01-01T00:00:00Z")


def test_the_code_digests_cover_what_decides_numbers_and_nothing_else():
    names = set(records.code_digests())
    assert {"train.py", "recipe.py", "evaluate.py", "data/augment.py", "models/plain.py"} <= names
    assert not {"figures.py", "compare.py", "cli.py"} & names


def test_a_record_outlives_a_field_that_recipes_gain_later():
    older = RECIPE.to_json()
    del older["score_train"]
    record = records.seal(values(recipe=older, digest=digest_of(older)))
    assert record.recipe == RECIPE
    with pytest.raises(RecordError, match="not its recipe's"):
        records.seal(values(recipe=older))
