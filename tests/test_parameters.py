"""The parameter contract: one table of cases, and every entrance gives the same answer."""

import ast
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import InputError
from labkit.parameters import PARAMETERS, Parameter, check, checked_parameters, pairs
from labkit.runner.contract import declared

RATE = {"lr": Parameter("lr", float, 0.1)}

ACCEPTED = [
    ("preset", "lesson", "lesson"),
    ("seeds", 3, 3),
    ("seeds", "3", 3),
    ("epochs", "0", 0),
    ("epochs", 10_000, 10_000),
    ("fresh", "true", True),
    ("fresh", "False", False),
    ("fresh", True, True),
]
REFUSED = [
    ("preset", "smok", "did you mean smoke"),
    ("preset", 3, "one of smoke, lesson, full"),
    ("preset", "SMOKE", "one of"),
    ("data", None, "one of auto"),
    ("device", "gpu", "auto, cpu, cuda"),
    ("seeds", 0, "from 1 to 100"),
    ("seeds", "0123", "whole number"),
    ("seeds", True, "whole number"),
    ("epochs", 3.5, "whole number"),
    ("epochs", "3.0", "whole number"),
    ("epochs", "1_000", "whole number"),
    ("epochs", "-1", "from 0 to 10,000"),
    ("epochs", " 3", "whole number"),
    ("epochs", "9" * 5000, "whole number"),
    ("epochs", "\u0663", "whole number"),  # an Arabic three is a digit to int()
    ("train_size", 1_000_001, "1,000,000"),
    ("fresh", "yes", "True or False"),
    ("fresh", 1, "True or False"),
    ("fresh", "TRUE", "True or False"),
]


def one(name, value):
    return check({name: value})[name]


def as_cell(name, value):
    return checked_parameters({name: value, "In": [""]})[name]


def as_injected(name, value):
    cell = f"# Parameters\n{name} = {value!r}\n"
    return checked_parameters({name: value, "In": ["", "preset: str = 'smoke'", cell]})[name]


ENTRANCES = [one, as_cell, as_injected]


@pytest.mark.faults(22)
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(("name", "value", "typed"), ACCEPTED)
def test_accepted(entrance, name, value, typed):
    got = entrance(name, value)
    assert got == typed
    assert type(got) is type(typed)


@pytest.mark.faults(22)
@pytest.mark.parametrize("entrance", [one, as_cell])
@pytest.mark.parametrize(("name", "value", "words"), REFUSED)
def test_refused_with_a_sentence(entrance, name, value, words):
    with pytest.raises(InputError, match=words) as caught:
        entrance(name, value)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_a_number_that_python_does_not_print_is_refused():
    with pytest.raises(InputError, match="too long to print"):
        check({"epochs": 10**5000})


@pytest.mark.parametrize("text", ["0.1", "1e-3", "1.0e-3", "-2", "3"])
def test_numbers_from_text(text):
    assert check({"lr": text}, RATE) == {"lr": float(text)}


@pytest.mark.faults(22)
@pytest.mark.parametrize(
    "value", ["nan", "inf", "1e5x", "1_0", ".5", "5.", "01", "1e999", math.nan, math.inf, True]
)
def test_not_a_finite_number(value):
    with pytest.raises(InputError, match=r"lr=.*finite number"):
        check({"lr": value}, RATE)


def test_defaults_fill_the_rest():
    assert check({}) == {name: p.default for name, p in PARAMETERS.items()}


@pytest.mark.faults(21)
def test_misspelt_name_is_refused_with_the_nearest_and_the_list():
    with pytest.raises(InputError, match=r"no parameter 'epoch'; did you mean epochs\?") as caught:
        check({"epoch": 5})
    assert "train_size: int = 0" in str(caught.value)


def test_every_problem_has_its_line():
    with pytest.raises(InputError) as caught:
        check({"epoch": 5, "preset": "x", "seeds": 0})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.faults(21)
def test_misspelt_name_injected_by_plain_papermill_is_found():
    history = ["", "# parameters\npreset: str = 'smoke'", "# Parameters\nepoch = 5\n"]
    with pytest.raises(InputError, match="did you mean epochs"):
        checked_parameters({"preset": "smoke", "epoch": 5, "In": history})


def test_cells_run_again_in_jupyterlab_are_no_false_alarm():
    history = [
        "",
        "# parameters\npreset: str = 'smoke'",
        "# Parameters\nepoch = 5\n",
        "# Parameters\nepochs = 5\n",  # the reader corrected the cell and ran it again
        "epoch = 1",  # a name of the reader's own
    ]
    assert (
        checked_parameters({"preset": "smoke", "epochs": 5, "epoch": 1, "In": history})["epochs"]
        == 5
    )


def test_a_notebook_may_declare_more_than_the_contract():
    history = ["", "# Parameters\nwidth = 8\n"]
    namespace = {"preset": "smoke", "width": 8, "In": history, "__annotations__": {"width": int}}
    assert checked_parameters(namespace) == check({"preset": "smoke"})


@pytest.mark.faults(23)
@pytest.mark.parametrize("code", ["seeds = open('x', 'w')", "import os", "lr = float('nan')"])
def test_an_injected_cell_holds_values_only(code):
    with pytest.raises(InputError, match=r"holds code|plain value"):
        checked_parameters({"preset": "smoke", "In": ["", f"# Parameters\n{code}\n"]})


def test_pairs():
    assert pairs(["preset=lesson", "note=a=b"]) == {"preset": "lesson", "note": "a=b"}
    assert pairs(["note=\udcc3\udca9"]) == {"note": "\u00e9"}  # as an ASCII locale hands it over
    assert pairs(["note=\ud800"]) == {"note": "\ud800"}
    with pytest.raises(InputError, match="NAME=VALUE"):
        pairs(["preset"])
    with pytest.raises(InputError, match="twice"):
        pairs(["seeds=1", "seeds=2"])


def notebook(*cells):
    """Each cell as (source, tagged)."""
    return {
        "nbformat": 4,
        "cells": [
            {
                "cell_type": "code",
                "source": source,
                "metadata": {"tags": ["parameters"] if tagged else []},
            }
            for source, tagged in cells
        ],
    }


def test_declared_reads_types_and_defaults_in_order():
    source = (
        "# parameters\n"
        "preset: str = 'lesson'  # epochs=30 is a comment\n"
        "shift: float = -1.5\n"
        "fresh: bool = True\n"
    )
    found = declared(notebook((source, True), ("x = 1", False)))
    assert list(found) == ["preset", "shift", "fresh"]
    assert found["preset"].default == "lesson"
    assert found["preset"].choices == PARAMETERS["preset"].choices
    assert found["shift"].default == -1.5


@pytest.mark.faults(24)
@pytest.mark.parametrize(
    "cells",
    [
        [("x = 1", False)],
        [("seeds: int = 1", True), ("seeds: int = 2", True)],
        [("x = 1", False), ("seeds: int = 1", True)],
        [("seeds = 1", True)],
        [("seeds: int", True)],
        [("seeds: int = 1.0", True)],
        [("seeds: int = True", True)],
        [("seeds: str = 'a'", True)],
        [("seeds: int = 0", True)],
        [("preset: str = 'tiny'", True)],
        [("width: list = []", True)],
        [("width: int = 2 * 3", True)],
        [("width: int = len('ab')", True)],
        [("width: int = 1\nwidth: int = 2", True)],
        [("import os\nwidth: int = 1", True)],
        [("width: int =", True)],
    ],
)
def test_a_cell_that_declares_badly_is_refused(cells):
    with pytest.raises(InputError):
        declared(notebook(*cells))


@pytest.mark.faults(24)
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"nbformat": 3, "cells": []}', "\x00"])
def test_not_a_notebook(home, content):
    home.mkdir(exist_ok=True)
    path = home / "x.ipynb"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"x\.ipynb is not a notebook"):
        declared(path)
    with pytest.raises(InputError, match="there is no notebook"):
        declared(home / "y.ipynb")


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=40),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.binary(max_size=5),
)


@pytest.mark.faults(22)
@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.one_of(st.sampled_from(list(PARAMETERS)), st.text()), ANYTHING))
def test_anything_is_typed_or_cleanly_refused(values):
    try:
        checked = check(values)
    except InputError as error:
        str(error).encode("utf-8")  # whatever came in, the message can be printed
        return
    assert list(checked) == list(PARAMETERS)
    assert check(checked) == checked
    for name, value in checked.items():
        assert type(value) is PARAMETERS[name].type


@pytest.mark.faults(23)
@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_arrives_byte_equal(text):
    known = {"note": Parameter("note", str, "")}
    value = check({"note": text}, known)["note"]
    assert ast.literal_eval(repr(value)) == text
