"""Report 000: a router and three or four fine models against CIFAR-100.

The report states the groups, the routing (hard, by the predicted group, for training and test
images), random labels for misrouted training images, the architectures by name and the total
number of epochs. It states no preprocessing, optimizer, learning rate, batch or depth of the
PreResNet, and which stem its ResNets have.

What we chose: Adam at 1e-3, batch 128, pixels standardised, no augmentation and no early
stopping (accuracies below 50 % and overfitting after thirty epochs point to little of either);
epochs shared evenly among the models (120 = 4 x 30 = 5 x 24, 85 = 5 x 17); random labels drawn
once; the 3x3 stem, with torchvision's 7x7 stem as rows of their own (suffix T); PreResNet-44 of
basic blocks, which alone fits the report's memory column. That column is in KiB / 1000.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from labkit.compare import (
    Claim,
    at_least,
    at_most,
    below,
    higher,
    no_better,
    published,
    published_sentence,
    ratio,
)
from labkit.recipe import Hierarchy, Recipe
from labkit.reports.own import own
from labkit.reports.printed import ahead, quotient, reproduced, worded
from labkit.reports.rows import Report, Row

__all__ = ["RACES", "REPORT"]

R18, R34, PRE = "resnet18_cifar", "resnet34_cifar", "preresnet44"
NAMES = {R34: "ResNet-34", R18: "ResNet-18", PRE: "PreResNet-44"}
FLAT = Recipe(
    dataset="cifar100", model=R18, epochs=120, batch=128, optimizer="adam", lr=1e-3, augment="none"
)
SMOKE = {"epochs": 1, "train_size": 30, "test_size": 40}
LESSON_EPOCHS = 5  # of each model
LESSON = {"epochs": LESSON_EPOCHS, "train_size": 3000, "test_size": 2000}
LONG = {"lesson": LESSON, "long": True}
COUNTS = {"three": 3, "four": 4}
RACES = {"000-T70": (70, 12), "000-T75": (75, 30)}  # the accuracy aimed at, in %, and the epochs
TOTAL = "control: as many epochs as the system has in all, so twice the images"
SEEN = "control: as many images as the system shows its models"
EQUAL = "control: four groups with as many epochs a model as three"


def _system(
    id: str, groups: str, fine: str, epochs: int, *, router: str = R18, misrouted: str = "once",
    change: str = "", **more: Any,
) -> Row:  # fmt: skip
    """A row of one router and a fine model for each group, all trained for `epochs` epochs."""
    hierarchy = Hierarchy(groups=groups, model=fine, misrouted=misrouted)
    full = FLAT.replace(model=router, epochs=epochs, hierarchy=hierarchy)
    title = f"{NAMES[router]} router, {COUNTS[groups]} x {NAMES[fine]}{change}"
    return Row(id=id, title=title, full=full, smoke=SMOKE, **more)


def _competition() -> Row:
    """D1 trains its router for 35 epochs and its fine models for 40."""
    row = _system("000-D1", "three", PRE, 35, router=R34, note="the text's competition run")
    longer = replace(row.full.hierarchy, epochs=40)
    alike = {"hierarchy": row.full.hierarchy}
    return replace(row, full=row.full.replace(hierarchy=longer),
                   lesson=LESSON | alike, long=True, smoke=SMOKE | alike)  # fmt: skip


def _equal(id: str, fine: str) -> Row:
    """A control: four groups, each model trained for 30 epochs as with three."""
    return _system(id, "four", fine, 30, change=", 30 epochs each", optional=True, note=EQUAL)


def _flat(id: str, model: str, epochs: int, note: str, *, lesson: bool = False) -> Row:
    """A control: one network for all hundred classes."""
    short = {**LESSON, "epochs": epochs // 30 * LESSON_EPOCHS} if lesson else None
    return Row(id=id, title=f"one {NAMES[model]}, {epochs} epochs", lesson=short, smoke=SMOKE,
               full=FLAT.replace(model=model, epochs=epochs),
               optional=True, note=note)  # fmt: skip


def _race(id: str, percent: int, epochs: int) -> Row:
    """One ResNet-18 on our own recipe, cut short."""
    return own("000", f"one ResNet-18, {epochs} epochs, for the time to {percent} %", id=id,
               anchor=f"times of other networks to {percent} %, each on one GPU",
               dataset="cifar100", model=R18, epochs=epochs, smoke=SMOKE)  # fmt: skip


def _with_large_stem(row: Row) -> Row:
    """The same row with torchvision's stem of stride 4 in every ResNet."""

    def stem(name: str) -> str:
        return name.replace("_cifar", "_imagenet")

    def change(values: Hierarchy) -> Hierarchy:
        return replace(values, model=stem(values.model))

    full, smoke = row.full, dict(row.smoke)
    if "hierarchy" in smoke:
        smoke["hierarchy"] = change(smoke["hierarchy"])
    full = full.replace(model=stem(full.model), hierarchy=change(full.hierarchy))
    return replace(row, id=f"{row.id}T", title=f"{row.title}, torchvision's stem", full=full,
                   lesson=None, long=False, smoke=smoke, optional=True,
                   note="the report does not say which stem it used")  # fmt: skip


PRINTED = (
    _system("000-A1", "three", R34, 30, **LONG),
    _system("000-A2", "three", R18, 30, lesson=LESSON),
    _system("000-A3", "three", PRE, 30, lesson=LESSON),
    _system("000-B1", "four", R34, 24, **LONG),
    _system("000-B2", "four", R18, 24, **LONG),
    _system("000-B3", "four", PRE, 24, lesson=LESSON),
    _system("000-C1", "four", R18, 17, lesson={**LESSON, "epochs": 4}, long=True,
           note="trained on a CPU, 85 epochs in all"),
    _competition(),
)  # fmt: skip
CONTROLS = (
    _flat("000-F1", R34, 120, TOTAL),
    _flat("000-F2", R18, 120, TOTAL),
    _flat("000-F3", PRE, 120, TOTAL, lesson=True),
    _flat("000-G1", R34, 60, SEEN),
    _flat("000-G2", R18, 60, SEEN, lesson=True),
    _flat("000-G3", PRE, 60, SEEN, lesson=True),
    _equal("000-E1", R34),
    _equal("000-E2", R18),
    _equal("000-E3", PRE),
    _system("000-M1", "three", PRE, 30, misrouted="epoch", change=", random labels redrawn",
           optional=True, note="A3 with new random labels in every epoch"),
    _system("000-M2", "three", PRE, 30, misrouted="drop", change=", misrouted dropped",
           lesson=LESSON, optional=True, note="A3 without its misrouted training images"),
    own("000", "one ResNet-18, 200 epochs",
        anchor="DeVries and Taylor's ResNet-18 with cutout: the same layers, a rate that falls in"
        " steps",
        dataset="cifar100", model=R18, epochs=200, augment="crop_flip_cutout8",
        lesson={**LESSON, "epochs": 2 * LESSON_EPOCHS}, smoke=SMOKE),
    *(_race(id, *aim) for id, aim in RACES.items()),
)  # fmt: skip

TOP3 = "test_top3"
# the lower end of the leaderboard that the report takes its place on
BOARD = published(report="000").query("table == 'Fig. 1' and metric == 'test_top1'")
BOARD = BOARD.set_index("model")["value"]
RANK = published_sentence("000", "rank below AlexNet")
EXTRA = published_sentence("000", "an extra accuracy")
SHORTER = published_sentence("000", "a shorter training time")
FOURTH = published_sentence("000", "additional memory space")
WORSE = published_sentence("000", "in general the results obtained were worse")
ALIKE = published_sentence("000", "the training time does not differ considerably")
SYSTEM_NAMES = {
    f"000-{groups}{n}": f"the system of {count} {models}"
    for groups, count in (("A", "three"), ("B", "four"))
    for n, models in enumerate(("ResNet-34s", "ResNet-18s", "PreResNets"), 1)
}


def _memory(a: str, b: str, sentence: str = "") -> Claim:
    """A ratio of two printed memories; they are rounded to a megabyte."""
    share = quotient(a, b, "memory_report_unit")
    return ratio(a, b, metric="memory_report_unit", at_least=0.97 * share, at_most=1.03 * share,
                 printed=round(share, 3), sentence=sentence,
                 text=f"{a} takes {share:.3g} times the memory of {b}, as printed")  # fmt: skip


def _times(a: str, b: str, sentence: str) -> Claim:
    """A ratio of two times on a GPU, which differ by a few minutes for no reason, too."""
    share = quotient(a, b, "seconds")
    return ratio(a, b, metric="seconds", at_least=0.8 * share, at_most=1.25 * share, device="cuda",
                 printed=round(share, 2), sentence=sentence,
                 text=f"{a} takes {share:.2f} times as long as {b}, as printed, give or take a"
                 " fifth")  # fmt: skip


MODELS = (
    ahead("000-A3", "000-A1"),
    ahead("000-A3", "000-A2"),
    ahead("000-B3", "000-B1"),
    ahead("000-B3", "000-B2"),
    no_better("000-A1", "000-A2"),
    no_better("000-B1", "000-B2"),
    *(_memory(small, large) for small, large in (("000-A3", "000-A1"), ("000-A3", "000-A2"),
                                                 ("000-B3", "000-B1"), ("000-B3", "000-B2"))),
    _times("000-A3", "000-A1", ""),
    _times("000-A2", "000-A1", SHORTER),
    _times("000-B2", "000-B1", SHORTER),
)  # fmt: skip
FOUR = (
    ahead("000-A1", "000-B1", sentence=WORSE),
    ahead("000-A3", "000-B3", sentence=WORSE),
    ahead("000-A1", "000-B1", metric=TOP3, sentence=WORSE),
    ahead("000-A3", "000-B3", metric=TOP3, sentence=WORSE),
    ahead("000-B2", "000-A2", id="the exception: 000-B2 000-A2 (test_top1)", sentence=ALIKE),
    ahead("000-B2", "000-A2", metric=TOP3, sentence=ALIKE),
    *(_times(f"000-B{n}", f"000-A{n}", ALIKE) for n in (1, 2, 3)),
    *(_memory(f"000-B{n}", f"000-A{n}", FOURTH) for n in (1, 2, 3)),
)
SYSTEMS = (
    below("000-D1", "test_top1", "coarse_top1",
          text="A system is never better than its router"),
    at_least("000-D1", BOARD["CNN39"], id="above CNN39", sentence=RANK,
             text="The competition's system is above CNN39 on the leaderboard"),
    at_most("000-D1", BOARD["AlexNet (DFA)"], id="below AlexNet (DFA)", sentence=RANK,
            text="The competition's system is below AlexNet (DFA) on the leaderboard"),
    higher("000-A2", "000-G2", sentence=EXTRA,
           text="A system of ResNet-18s is better than one ResNet-18 that sees as many images"),
    higher("000-A3", "000-G3", sentence=EXTRA,
           text="A system of PreResNets is better than one PreResNet that sees as many images"),
    ratio("000-A2", "000-G2", metric="memory_report_unit", at_least=3,
          text="A system of ResNet-18s takes three times the memory of one ResNet-18, or more",
          sentence=published_sentence("000", "sacrifice memory")),
    higher("000-Z", "000-A3",
           text="One ResNet-18 on a usual recipe of today is better than the best system in the"
           " tables"),
)  # fmt: skip
DROPPED = published_sentence("000", "simply ignored during training")
MISROUTED = (
    higher("000-A3", "000-M2", sentence=DROPPED,
           text="Random labels for misrouted images are better than dropping them"),
    at_least("000-M2", 0.95, metric="fine_train_top1", id="dropping overfits", sentence=DROPPED,
             text="With misrouted images dropped, the fine models know 95 % of their training"
             " images after 30 epochs (our limit)"),
    higher("000-M2", "000-A3", metric="fine_train_top1", sentence=DROPPED,
           text="With misrouted images dropped, the fine models know more of their training"
           " images than with random labels"),
)  # fmt: skip

OTHER_STEM = tuple(map(_with_large_stem, PRINTED))
CLAIMS = (
    *worded((*MODELS, *FOUR, *SYSTEMS, *MISROUTED), SYSTEM_NAMES),
    *reproduced(PRINTED),
    *reproduced(OTHER_STEM, suffix="T"),
)

REPORT = Report(
    id="000",
    name="hierarchical_cifar100",
    title="Coarse-to-fine classification of CIFAR-100",
    notebook="01_hierarchical_cifar100",
    rows=(*PRINTED, *OTHER_STEM, *CONTROLS),
    claims=CLAIMS,
    proof=("000-A3", "000-G2"),
)
