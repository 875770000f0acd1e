"""One rule for all pages: the best records that there are, and what they are."""

import pytest
from forged import SUBSET, SYNTHETIC, forged, seeds

from labkit import compare
from labkit.compare.evidence import ENOUGH, FULL, LESSON, PART, budget, updates

A, B = "002-M1", "002-M2"
KINDS = {
    "full": {},
    "part": {"data": SUBSET | {"published_train": 50_000, "train": 10_000}},
    "lesson": {"preset": "lesson", "epochs": 100},
    "short": {"preset": "lesson", "epochs": 2},
    "changed": {"preset": "changed"},
    "smoke": {"preset": "smoke", "data": SYNTHETIC},
    "synthetic full": {"data": SYNTHETIC},
}
ORDER = ("own full", "recorded full", "own part", "recorded part", "own lesson", "recorded lesson")
NEVER = ("short", "changed", "smoke", "synthetic full")


def kept(names, row=A):
    """The evidence where there are one run or record of each of these kinds."""
    groups = {"own": [], "recorded": []}
    for name in names:
        whose, _, kind = name.partition(" ")
        groups[whose].append(forged(row, 0.4, **KINDS[kind]) | {"created": name})
    own, recorded = ({row: some} for some in groups.values())
    return [record["created"] for record in compare.evidence([row], own, recorded)]


@pytest.mark.parametrize("best", range(len(ORDER)))
def test_the_best_records_are_taken(best):
    never = [f"{whose} {kind}" for whose in ("own", "recorded") for kind in NEVER]
    assert kept([*ORDER[best:], *never]) == [ORDER[best]]


@pytest.mark.parametrize("kind", NEVER)
@pytest.mark.parametrize("whose", ["own", "recorded"])
def test_what_is_no_evidence_is_not_shown(whose, kind):
    assert kept([f"{whose} {kind}"]) == []


def test_all_seeds_come_in_the_order_of_the_rows():
    recorded = {A: seeds(A, 0.3, 0.4), B: seeds(B, 0.6)}
    best = compare.evidence([B, "002-V1", A], {}, recorded)
    assert [(r["row"], r["recipe"]["seed"]) for r in best] == [(B, 0), (A, 0), (A, 1)]
    assert best.untested == ("002-V1",)
    assert len(best.first) == 2
    assert "untested: 002-V1" in str(best)


def test_rows_that_are_compared_can_be_asked_for_at_one_budget():
    lesson = KINDS["lesson"]
    recorded = {A: [*seeds(A, 0.3), *seeds(A, 0.2, **lesson)], B: seeds(B, 0.6, **lesson)}
    assert {budget(r) for r in compare.evidence([A, B], {}, recorded)} == {FULL, LESSON}
    alike = compare.evidence([A, B], {}, recorded, alike=True)
    assert [(r["row"], budget(r)) for r in alike] == [(A, LESSON), (B, LESSON)]


def test_a_budget_is_what_the_images_say_as_well():
    assert budget(forged()) == FULL
    assert budget(forged(**KINDS["part"])) == PART
    assert "synthetic" in budget(forged(**KINDS["smoke"]))


def test_updates_are_counted_of_the_model_that_had_the_fewest():
    record = forged(epochs=3)  # 1,000 images an epoch
    assert updates(record) == 3 * 8
    rows = [{**row, "part": "router"} for row in record["rows"]]
    rows += [{**rows[0], "part": "fine", "images": 300}]
    assert updates({**record, "rows": rows}) == 3
    assert updates(forged(**KINDS["short"])) < ENOUGH


def recipe(**changes):
    return {"recipe": {**forged()["recipe"], **changes}}


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "no record yet"),
        (seeds(A, 0.3, 0.4, 0.4), "at the report's own budget, real CIFAR-100, n = 3"),
        ([*seeds(A, 0.3, 0.4), *seeds(B, 0.6)], "real CIFAR-100, n = 1 to 2"),
        ([forged(**KINDS["part"])], "number of epochs, a fifth of CIFAR-100, n = 1"),
        ([forged(preset="lesson", **recipe(train_size=4000))], "class, 4,000 images of CIFAR-100"),
        ([forged(**recipe(train_size=4000))], "own budget, real CIFAR-100"),
        ([forged(), forged(B, **KINDS["lesson"])], "at the report's own budget or seen in class"),
        ([forged(), forged(data=SYNTHETIC)], "synthetic images"),
    ],
)
def test_a_caption_says_budget_images_and_seeds(records, words):
    assert words in compare.caption(records)
