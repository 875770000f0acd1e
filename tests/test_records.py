import json
import os

import pytest
from helpers import TINY, record_values

from labkit import records
from labkit.errors import RecordError
from labkit.recipe import digest_of


def test_round_trip(home):
    record = records.seal(record_values())
    path = home / "records" / records.file_name(record)
    assert records.claim(record, path)
    again = records.read(path)
    assert dict(again) == dict(record)
    assert again.recipe == TINY
    assert again.predictions.tolist() == [1, 2, 3, 255]
    assert again.history["train_top1"].tolist() == [0.5]
    assert records.recorded("keras_vs_mbn", folder=home / "records")[0]["digest"] == TINY.digest
    assert records.recorded("keras_vs_mbn", preset="full", folder=home / "records") == []


@pytest.mark.faults(25)
def test_only_the_first_claim_is_kept(home):
    path = home / "record.json"
    assert records.claim(records.seal(record_values()), path)
    assert not records.claim(records.seal(record_values(seconds=9.0)), path)
    assert records.read(path)["seconds"] == 1.0


@pytest.mark.faults(27)
@pytest.mark.parametrize("field", sorted(records.FIELDS))
def test_any_edited_field_is_refused(home, field):
    path = home / "record.json"
    records.claim(records.seal(record_values()), path)
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


def test_a_record_is_read_once_until_its_file_changes(home, monkeypatch):
    reads, read = [], records.read
    monkeypatch.setattr(records, "read", lambda path: reads.append(path.name) or read(path))

    def write(name, **changes):
        (home / name).unlink(missing_ok=True)
        records.claim(records.seal(record_values(**changes)), home / name)

    def rows():
        return [record["row"] for record in records.recorded(folder=home)]

    write("a.json", row="002-M1")
    assert (rows(), rows()) == (["002-M1"], ["002-M1"])
    write("b.json", row="002-M2")
    assert rows() == ["002-M1", "002-M2"]
    assert reads == ["a.json", "b.json"]
    write("a.json", row="002-M10")
    assert rows() == ["002-M10", "002-M2"]
    (home / "b.json").unlink()
    assert rows() == ["002-M10"]
    assert reads == ["a.json", "b.json", "a.json"]


@pytest.mark.faults(27)
def test_a_record_that_was_damaged_after_it_was_read_is_refused(home):
    path = home / "a.json"
    records.claim(records.seal(record_values()), path)
    records.recorded(folder=home)
    text, state = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(text.replace("0.5", "0.6"), encoding="utf-8")  # of the same size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    with pytest.raises(RecordError, match=r"a\.json"):
        records.recorded(folder=home)


@pytest.mark.faults(18)
def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(RecordError, match="finite"):
        records.seal(record_values(seconds=float("nan")))


@pytest.mark.faults(34)
def test_times_are_utc_to_the_second():
    assert records.now().endswith("Z")
    assert len(records.now()) == len("2026-01-01T00:00:00Z")


def test_the_code_digests_cover_what_decides_numbers_and_nothing_else():
    names = set(records.code_digests())
    assert {
        "train/loop.py",
        "recipe.py",
        "train/evaluate.py",
        "data/augment.py",
        "models/plain.py",
    } <= names
    assert not {"figures.py", "compare.py", "cli.py"} & names


def test_a_record_outlives_a_field_that_recipes_gain_later():
    older = TINY.to_json()
    del older["score_train"]
    record = records.seal(record_values(recipe=older, digest=digest_of(older)))
    assert record.recipe == TINY
    with pytest.raises(RecordError, match="not its recipe's"):
        records.seal(record_values(recipe=older))


@pytest.mark.faults(42)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"top1": 0.75}, "its predictions have 0.5000"),
        ({"images": 5}, "4 predictions for 5 test images"),
        ({"top1": None}, "no test score with its predictions"),
    ],
)
def test_a_score_that_its_predictions_do_not_have_is_refused(changes, reason):
    # with a checksum that fits, as a tool would make it
    test = record_values()["test"] | changes
    with pytest.raises(RecordError, match=reason):
        records.seal(record_values(test=test))


@pytest.mark.faults(42)
@pytest.mark.parametrize("text", ["", "?", "AAAA", None])
def test_predictions_that_cannot_be_read_are_refused(text):
    with pytest.raises(RecordError, match="no test score with its predictions"):
        records.seal(record_values(predictions=text))
