"""The five reports as data: rows and claims that fit together, and rows of our own."""

import pytest
import torch
from torch import nn

from labkit import compare, models, reports
from labkit.data.catalogue import CATALOGUE
from labkit.reports.own import OWN
from labkit.train import cost, loop


@pytest.mark.parametrize("name", list(reports.REPORTS))
def test_rows_and_claims_fit_together(name):
    report = reports.find_report(name)
    ids = [row.id for row in report.rows]
    assert len(set(ids)) == len(ids)
    assert all(row.startswith(report.id) for row in ids)
    for claim in report.claims:
        assert set(claim.rows) <= set(ids), claim
    for row in report.rows:
        assert row.at("full").dataset == report.dataset
        assert row.at("smoke").epochs <= 4
        assert row.at("smoke").replace(dataset="x").digest != row.full.replace(dataset="x").digest


@pytest.mark.parametrize("report", reports.REPORTS.values(), ids=lambda report: report.id)
def test_every_report_has_a_row_on_our_own_recipe(report):
    _, row = reports.find_row(f"{report.id}-Z")
    recipe = row.full
    assert row.optional
    assert {name: getattr(recipe, name) for name in OWN} == {**OWN, "augment": recipe.augment}
    assert recipe.augment.startswith("crop_flip")
    assert (recipe.validation, recipe.patience, recipe.train_size) == (0, 0, 0)  # the last epoch
    group = loop.make_optimizer(nn.Linear(1, 1), recipe).param_groups[0]
    assert (group["nesterov"], group["momentum"], group["weight_decay"]) == (True, 0.9, 5e-4)
    for anchor in compare.published(row.id).itertuples():
        assert (anchor.epochs, anchor.dataset) == (recipe.epochs, recipe.dataset)


def test_the_races_shorten_our_own_recipe_and_change_nothing_else():
    whole = reports.find_row("000-Z")[1].full
    for id in ("000-T70", "000-T75"):
        row = reports.find_row(id)[1]
        assert row.optional
        alike = row.full.replace(epochs=whole.epochs, augment=whole.augment)
        assert (alike, row.full.augment) == (whole, "crop_flip")


# averages that move by less than PyTorch's default in a step, which 450 steps bring to the mark
QUICK, UPDATES = 0.1, 450
LESSONS = [
    (row, network)
    for report in reports.REPORTS.values()
    for row in report.rows
    if row.lesson is not None
    for network in cost.parts(row.at("lesson"))
]


def slow_averages(recipe):
    with torch.device("meta"):
        net = models.build(recipe.model, classes=10, **recipe.options)
    norms = (m for m in net.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)))
    return any(norm.momentum < QUICK for norm in norms)


@pytest.mark.parametrize(("row", "recipe"), LESSONS, ids=lambda each: getattr(each, "id", ""))
def test_a_lesson_is_long_enough_for_slow_running_averages(row, recipe):
    """Also for the losses that an early stopper watches: it may not end a shorter run."""
    if slow_averages(recipe):
        images = recipe.replace(epochs=1).images_shown(CATALOGUE[recipe.dataset].published[0])
        epochs = min(recipe.epochs, recipe.patience + 1) if recipe.patience else recipe.epochs
        assert epochs * recipe.steps(images) >= UPDATES


def test_slow_averages_are_seen_where_they_are():
    slow = {row.id for row, recipe in LESSONS if slow_averages(recipe)}
    assert {"002-M2", "002-T2", "003-S50", "003-W6", "003-X2L", "004-N1560"} <= slow
    assert not slow & {"000-A3", "000-B2", "001-E7", "002-M1", "003-W1K", "003-X0"}


def test_the_source_of_mbn_is_followed_update_by_update():
    """Its epochs are of 100 updates, on 40,000 images."""
    rows = {row.id: row.full for row in reports.find_report("002").rows}
    epochs = dict(enumerate((400, 400, 400, 800, 400, 400, 700, 350, 350), start=1))
    for step, count in epochs.items():
        recipe = rows[f"002-S{step}"]
        assert recipe.epochs * recipe.steps(50_000 - recipe.validation) == 100 * count
    assert rows["002-S9"].replace(batch=256, epochs=15) == rows["002-M2"]
