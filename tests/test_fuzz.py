"""Ten thousand bad inputs, each refused cleanly: one kind of error, and a message to print.

The examples follow from the test's own source, so that a red run can be repeated.
"""

import gzip
import io
import json
import tarfile
import zipfile

import pytest
from helpers import record_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit import records
from labkit.data.archives import members
from labkit.errors import DataError, InputError, RecordError
from labkit.parameters import PARAMETERS, check
from labkit.recipe import Recipe
from labkit.runner.contract import declared
from labkit.runner.document import Notebook

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "0", "nan", "1e400", "\ud800", "../x", "__class__", "x" * 1000]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


def fuzz(examples, strategy, do, error):
    """How many of `examples` inputs `do` refused; anything but `error` is a failed test."""
    refused = 0

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(strategy)
    def one(value):
        nonlocal refused
        try:
            do(value)
        except error as reason:
            refused += 1
            said = str(reason)
        else:
            return
        said.encode("utf-8")  # it can be printed anywhere

    one()
    return refused


@pytest.mark.faults(22, 23)
def test_parameters():
    names = st.sampled_from(list(PARAMETERS)) | st.text(max_size=8)
    given_values = st.dictionaries(names, JSON, min_size=1, max_size=2)
    assert fuzz(3200, given_values, check, InputError) > 3100


@pytest.mark.faults(24)
def test_parameter_cells():
    def read(lines: list[str]) -> Notebook:
        cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": lines}
        return declared({"cells": [cell]})

    line = st.builds("{}: {} = {}".format, st.sampled_from(["seeds", "note", "x y", "0"]),
                     st.sampled_from(["int", "str", "list", ""]), JSON.map(repr))  # fmt: skip
    lines = st.lists(line | st.text(max_size=12), min_size=1, max_size=3)
    assert fuzz(1300, lines.map("\n".join), read, InputError) > 1250


@pytest.mark.faults(22)
def test_recipes():
    base = record_values()["recipe"]
    changes = st.dictionaries(st.sampled_from(list(base)), JSON, min_size=1, max_size=2)
    assert fuzz(1200, changes, lambda new: Recipe.from_json(base | new), InputError) > 1150


def resealed(changes):
    """A record with changed fields and a checksum that fits, as a careful hand would leave it."""
    content = record_values(schema=records.SCHEMA, created=records.now()) | changes
    try:
        content["checksum"] = records._checksum(content)
    except RecordError:
        content["checksum"] = "0" * 64
    return json.dumps(content)


@pytest.mark.faults(27)
def test_record_files(home):
    home.mkdir(exist_ok=True)
    path = home / "record.json"
    whole = json.dumps(dict(records.seal(record_values())))

    def read(text):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        records.read(path)

    names = st.sampled_from(["schema", "recipe", "digest", "checksum"])
    deep = st.sampled_from(["[" * 9000, '{"a":' * 9000, "1" * 5000, "NaN", '{"schema": 1e999}'])
    cut = st.integers(0, len(whole) - 1).map(lambda n: whole[:n])
    flip = st.tuples(st.integers(0, len(whole) - 1), st.characters(codec="utf-8")).map(
        lambda pair: whole[: pair[0]] + pair[1] + whole[pair[0] + 1 :]
    )
    edited = st.dictionaries(names, JSON, min_size=1, max_size=2).map(resealed)
    recipe = st.dictionaries(st.sampled_from(list(record_values()["recipe"])), JSON, min_size=1)
    routed = recipe.map(lambda new: resealed({"recipe": record_values()["recipe"] | new}))
    anything = st.one_of(JSON.map(json.dumps), deep, cut, flip, edited, routed)
    assert fuzz(2000, anything, read, RecordError) > 1850


SIZES = {"set/a.bin": 700, "set/b.bin": 10}


def archive(kind):
    content = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=content, mode="w:") as made:
            for name, size in SIZES.items():
                member = tarfile.TarInfo(name)
                member.size = size
                made.addfile(member, io.BytesIO(bytes(size)))
        return content.getvalue()[:4096]
    with zipfile.ZipFile(content, "w") as made:
        for name, size in SIZES.items():
            made.writestr(name, bytes(size))
    return content.getvalue()


def headers(kind, content):
    """Where an archive speaks of its members: the places worth damaging."""
    if kind == "tar":
        return [n for start in (0, 1536) for n in range(start, start + 265)]
    data = {n for mark in (b"PK\x03\x04",) for n in range(content.find(mark) + 39, 739)}
    return [n for n in range(len(content)) if n not in data]


@pytest.mark.faults(15)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archive_headers(home, kind):
    home.mkdir(exist_ok=True)
    whole = archive(kind)
    path = home / f"set.{kind}"

    def read(changes):
        bad = bytearray(whole)
        for place, byte in changes:
            bad[place] = byte
        path.write_bytes(gzip.compress(bad, 1) if kind == "tar" else bad)
        for name, content in members(path, "set", lambda name: SIZES.get(f"set/{name}", 0)):
            assert content is None or len(content) <= SIZES[f"set/{name}"]

    byte = st.tuples(st.sampled_from(headers(kind, whole)), st.integers(0, 255))
    # a zip has fields that nothing has to read; a tar member may have another name or be smaller
    least = {"tar": 1450, "zip": 1150}[kind]
    assert fuzz(1600, st.lists(byte, min_size=3, max_size=6), read, DataError) > least
