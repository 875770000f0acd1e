"""The rows of report 001: the schedules of its figures, and controls that change one thing."""

import dataclasses

import pytest

from labkit.reports import tiny_imagenet_survey as survey
from labkit.train.fit import fit

ROWS = {row.id: row.full for row in survey.REPORT.rows}
# epochs counted from 0, as in the report's figures
DROPS = {
    "001-E1": [7, 14],
    "001-E3": [5, 10, 15],
    "001-E4": [5, 10, 15],
    "001-E8": [],
    "001-E9": [10],
    "001-E10": [7, 14],
    "001-E11": [7],
    "001-E1D": [14, 28],
    "001-E9E": [7],
}


@pytest.mark.parametrize("row", DROPS)
def test_the_rate_drops_where_the_figures_show_it(row):
    recipe, images = ROWS[row], 200_000
    rates = [recipe.lr_at(epoch * recipe.steps(images), images) for epoch in range(recipe.epochs)]
    found = [epoch for epoch in range(1, recipe.epochs) if rates[epoch] < rates[epoch - 1]]
    assert found == DROPS[row]
    assert all(rates[epoch] == pytest.approx(rates[epoch - 1] / 10) for epoch in found)


@pytest.mark.parametrize("control", survey.CONTROLS, ids=lambda row: row.id)
def test_a_control_changes_one_thing_of_its_row(control):
    base = ROWS[control.note.removeprefix("control of ").partition(":")[0]]
    other = [
        field.name
        for field in dataclasses.fields(base)
        if getattr(base, field.name) != getattr(control.full, field.name)
    ]
    time = {"epochs", "milestones", "schedule"}
    assert other
    assert set(other) <= time or other == ["augment"]


def test_sets_1_and_2_show_every_image_twice_an_epoch():
    recipe = ROWS["001-E2"].replace(
        dataset="synthetic_tiny_imagenet", train_size=200, test_size=200, epochs=1
    )
    record = fit(recipe, device="cpu").record
    assert record["rows"][0]["images"] == 2 * record["details"]["train_images"] == 400
    assert record["details"]["multiply_adds"] == 9_029_632
