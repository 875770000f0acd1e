import pytest
from forged import forged

import labkit as lk
from labkit import records, reports
from labkit.records import Record


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("LABKIT_PROGRESS", "off")


def test_smoke_is_synthetic_and_says_so():
    report = lk.report("keras_vs_mbn", epochs=1)
    assert report.data.synthetic
    assert "SYNTHETIC" in repr(report)
    run = report.run("002-M1")
    assert run.record["preset"] == "smoke"
    assert run.record.recipe.epochs == 1
    assert "synthetic images" in report.proof().to_string()
    assert not [record for record in report.evidence() if record["data"]["synthetic"]]
    assert set(report.table()["row"]) >= {"002-M1", "002-M2"}
    claims = report.claims()
    assert len(claims) == len(report.report.claims)


def test_evidence_is_of_this_report_and_never_synthetic(home, monkeypatch):
    monkeypatch.setenv("LABKIT_RECORDS", str(home / "records"))
    report = lk.report("keras_vs_mbn", epochs=1)
    run = report.run("002-M1")
    assert report.evidence("002-M1").untested == ("002-M1",)
    data = dict(run.record["data"]) | {"synthetic": False, "complete": True, "name": "cifar100"}
    record = records.amend(run.record, {"preset": "full", "data": data})
    records.claim(record, home / "records" / records.file_name(record))
    assert [r["row"] for r in report.evidence("002-M2", "002-M1")] == ["002-M1"]
    assert "002-M1" not in report.planned().index
    with pytest.raises(lk.InputError, match="belongs to"):
        report.evidence("003-S10")


def test_real_images_are_shown_only_in_the_order_of_the_predictions():
    report = lk.report("keras_vs_mbn", epochs=1)
    assert report.real is None  # no test has them
    run = report.run("002-M1")
    assert report.scored([run.record]) is None
    report.__dict__["real"] = report.data  # as where the set is present
    split = report.scored([run.record])
    assert (split.labels.numpy() == run.record.labels).all()
    other = records.amend(run.record, {"labels": records.encode(run.record.labels[::-1])})
    assert report.scored([other]) is None
    assert len(report.scored([other, run.record])) == len(split)


def test_a_report_with_another_budget_is_not_the_reports_own():
    own = lk.report("keras_vs_mbn", preset="full", data="synthetic")
    own.synthetic = False  # as where the real images are: nothing is trained here
    assert own.record_preset("002-M1", own.recipe("002-M1", 3)) == "full"
    for changes, label in (({"epochs": 1}, "changed"), ({"epochs": 15}, "full")):
        report = lk.report("keras_vs_mbn", preset="full", data="synthetic", **changes)
        report.synthetic = False
        assert report.record_preset("002-M1", report.recipe("002-M1")) == label
    assert own.report.rows[0].at("changed") is None


def test_every_seed_is_its_own_run():
    runs = lk.report("keras_vs_mbn", epochs=1, seeds=2).runs("002-M1")
    assert [run.record.recipe.seed for run in runs] == [0, 1]
    assert runs[0].record["digest"] != runs[1].record["digest"]


def test_lesson_without_real_data_falls_back_to_the_stand_in_and_says_so():
    report = lk.report("keras_vs_mbn", preset="lesson")
    assert report.synthetic
    assert "SYNTHETIC" in repr(report)


@pytest.mark.parametrize("preset", ["lesson", "full"])
@pytest.mark.parametrize("name", reports.REPORTS)
def test_every_row_finds_its_images_in_the_stand_in(name, preset):
    report = lk.report(name, preset=preset, data="synthetic")
    recipes = [report.recipe(row.id) for row in (*report.rows, *report.long_rows)]
    for validation, train_size in {(r.validation, r.train_size) for r in recipes}:
        kept, held = report.data.holdout(validation, train_size, seed=0)
        assert len(kept)
        assert len(held) == validation


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": "keras_vs_mbm"}, "keras_vs_mbn"),
        ({"preset": "lesssn"}, "lesson"),
        ({"epoch": 3}, "epochs"),
        ({"seeds": 0}, "seeds"),
        ({"device": "gpu"}, "device"),
    ],
)
def test_bad_parameters_are_refused(values, sentence):
    with pytest.raises(lk.InputError, match=sentence):
        lk.report(**({"name": "keras_vs_mbn"} | values))


def test_rows_of_other_reports_and_presets_are_refused():
    report = lk.report("keras_vs_mbn")
    with pytest.raises(lk.InputError, match="002-M"):
        report.run("002-M9")


@pytest.mark.parametrize("name", reports.REPORTS)
def test_every_printed_row_has_a_lesson_in_class_or_beyond_it(name):
    lesson, full = (lk.report(name, preset=p, data="synthetic") for p in ("lesson", "full"))
    long = {row.id for row in lesson.long_rows}
    assert long
    assert not long & {row.id for row in lesson.rows}
    printed = [row for row in lesson.report.rows if not row.optional]
    # at a constant rate a shorter run is in the history of a longer one, and so is its lesson
    begun = {
        row.id for row in printed for other in printed
        if row.full.schedule == "constant" and not row.full.hierarchy
        and row.full.epochs < other.full.epochs
        and row.full.replace(epochs=other.full.epochs) == other.full
    }  # fmt: skip
    assert {row.id for row in printed} <= long | {row.id for row in lesson.rows} | begun
    assert begun == ({"003-S10"} if lesson.report.id == "003" else set())

    def budget(recipe):
        return recipe.epochs * (recipe.train_size or 50_000)

    for row in lesson.long_rows:
        assert budget(row.at("lesson")) < budget(row.full)
    assert not full.long_rows
    assert long <= {row.id for row in full.rows}


def test_a_claim_counts_ones_own_run_instead_of_the_same_recorded_one(monkeypatch):
    report = lk.report("keras_vs_mbn", preset="full", data="synthetic")
    own, recorded = (Record(forged("002-M1", top1)) for top1 in (0.60, 0.40))
    other = Record(forged("002-M1", 0.62, seed=1) | {"digest": "1" * 16})
    monkeypatch.setattr(records, "recorded", lambda: [recorded, other])
    monkeypatch.setattr(report, "_run_records", lambda: {"002-M1": [own]})
    claims = report.claims()
    (printed,) = claims[claims.claim.str.startswith("MNIST net: a test top-1")].evidence
    assert printed.startswith("002-M1 61.0 % (mean of 2 seeds")
