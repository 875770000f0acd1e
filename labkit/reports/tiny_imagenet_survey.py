"""Report 001: seven networks on Tiny-ImageNet, two sets of augmentations, two learning rates.

The report states the architectures, batch 256, RAdam with an L2 penalty of 1e-4 in the gradient,
20 epochs (DenseNet-161: 8) and the two sets. Where its text and its author's published figures
and code (github.com/GeorgyMkrtchyan/Skoltech-Deep-Learning, HA/HA1) differ, the rows follow what
was really run. The text says that the rate falls tenfold every 7 epochs from AlexNet on; the
curves show that from the first row, a fall every 5 epochs in E3 and E4, every 10 in E9, and none
in E8. "1+2" is every image once under each set, 200,000 an epoch, so twice the updates too.

All scores are of the official validation images, which are the test split here, and every figure
of the report follows them through the epochs. So `watch_test` is on in every row; what the report
prints as a peak is compared with our peak, and what it prints as an end with our end.

Left open: the padding of M1 and M4 (ours: the size is kept) and an activation between AlexNet's
thousand outputs and the layer after it (ours: none). The controls change one thing of their row.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from labkit.compare import (
    REPRODUCED,
    Claim,
    Needs,
    at_most,
    equal,
    higher,
    lower,
    published,
    published_sentence,
    ranking,
    ratio,
    within,
)
from labkit.recipe import Recipe
from labkit.reports.own import own
from labkit.reports.printed import ahead, printed, quotient, reproduced
from labkit.reports.rows import Report, Row

__all__ = ["CONTROLS", "REPORT"]

BEST = "best_test_top1"

BASE = Recipe(
    dataset="tiny_imagenet", model="m1", epochs=20, batch=256, lr=1e-3, optimizer="radam",
    optimizer_options={"weight_decay": 1e-4}, schedule="step", milestones=(7 / 20, 14 / 20),
    augment="set1+set2", normalise="imagenet", watch_test=True,
)  # fmt: skip
EVERY_5 = {"milestones": (5 / 20, 10 / 20, 15 / 20)}
EVERY_7 = {"milestones": BASE.milestones}
EVERY_10 = {"milestones": (10 / 20,)}
NO_STEP = {"schedule": "constant", "milestones": ()}
EIGHT = {"epochs": 8, "milestones": (7 / 8,)}

SET1 = BASE.replace(augment="set1")
SLOW = BASE.replace(lr=1e-4, **EVERY_5)
M4 = BASE.replace(model="m4")
M4_SLOW = SLOW.replace(model="m4")
R18 = BASE.replace(model="resnet18_imagenet")
R18_SLOW = R18.replace(lr=1e-4, **NO_STEP)
POST = BASE.replace(model="resnet34_imagenet", **EVERY_10)
PRE = BASE.replace(model="preact_resnet34_imagenet")
DENSE = BASE.replace(model="densenet161", **EIGHT)

LESSON = {"train_size": 20_000, "test_size": 4000, "epochs": 7}
SHORT = LESSON | {"epochs": 4}  # of all networks but M1
SMALL = {"train_size": 200, "test_size": 100}
LARGE = SMALL | {"epochs": 1, "train_size": 32}  # the large nets only show that they run


def _row(name: str, title: str, full: Recipe, note: str = "", **presets: Any) -> Row:
    """A row that the report prints; its lesson is long, unless it says otherwise."""
    presets = {"lesson": SHORT, "long": True, "smoke": LARGE} | presets
    return Row(id=f"001-{name}", title=title, full=full, note=note, **presets)


def _control(name: str, title: str, full: Recipe, of: str, **presets: Any) -> Row:
    """A row that the report does not have, beside the one that it changes in a single thing."""
    presets = {"smoke": SMALL} | presets
    return Row(
        id=f"001-{name}", title=title, full=full, optional=True, note=f"control of {of}", **presets
    )


def _constant(row: Row) -> Row:
    """The schedule of the text, in which the rate begins to fall with AlexNet, after this row."""
    return _control(f"{row.id.removeprefix('001-')}C", f"{row.title}, constant",
                    row.full.replace(**NO_STEP), f"{row.id}: the schedule of the text",
                    smoke=row.smoke)  # fmt: skip


M1 = {"lesson": LESSON, "long": False, "smoke": SMALL}  # the one small network
FALLS_EVERY_5 = "the rate falls every 5 epochs, as its curve shows"
PRINTED = (
    _row("E1", "M1, set 1, rate 1e-3", SET1,
         "the rate falls every 7 epochs and starts at 1e-3, unless a row says otherwise", **M1),
    _row("E2", "M1, sets 1+2, rate 1e-3", BASE, **M1),
    _row("E3", "M1, sets 1+2, rate 1e-4", SLOW, FALLS_EVERY_5, **M1),
    _row("E4", "M4, sets 1+2, rate 1e-4", M4_SLOW, FALLS_EVERY_5),
    _row("E5", "M4, sets 1+2, rate 1e-3", M4),
    _row("E6", "AlexNet, one layer more", BASE.replace(model="alexnet_plus")),
    _row("E7", "ResNet-18", R18, long=False),
    _row("E8", "ResNet-18, rate 1e-4", R18_SLOW, "the rate never falls, as its curve shows"),
    _row("E9", "ResNet-34", POST, "the rate falls at epoch 10, as its curve shows"),
    _row("E10", "ResNet-34, pre-activation", PRE),
    _row("E11", "DenseNet-161, 8 epochs", DENSE, lesson=LESSON | {"epochs": 1}),
)  # fmt: skip

CONTROLS = (
    _control("E1D", "M1, set 1, twice the epochs", SET1.replace(epochs=40),
             "001-E1: as many updates as 001-E2", smoke=SMALL | {"epochs": 4}),
    _control("E1T", "M1, set 1 twice an epoch", SET1.replace(augment="set1+set1"),
             "001-E2: as many images and updates an epoch, no set 2", lesson=LESSON),
    _control("E1S", "M1, set 2 alone", SET1.replace(augment="set2"),
             "001-E1: the other set, as many updates", lesson=LESSON),
    _control("E1F", "M1, mirrored images alone", SET1.replace(augment="flip"),
             "001-E1: set 1 without its crop", lesson=LESSON),
    _control("E3S", "M1, rate 1e-4, falling every 7 epochs", SLOW.replace(**EVERY_7),
             "001-E3: the schedule of 001-E2"),
    _control("E4S", "M4, rate 1e-4, falling every 7 epochs", M4_SLOW.replace(**EVERY_7),
             "001-E4: the schedule of 001-E5", smoke=LARGE),
    _control("E8S", "ResNet-18, rate 1e-4, falling every 7 epochs",
             R18_SLOW.replace(schedule="step", **EVERY_7), "001-E8: the schedule of 001-E7",
             smoke=LARGE),
    _control("E9S", "ResNet-34, falling every 7 epochs", POST.replace(**EVERY_7),
             "001-E9: the schedule of 001-E10", smoke=LARGE),
    _control("E10L", "ResNet-34, pre-activation, falling at epoch 10",
             PRE.replace(**EVERY_10), "001-E10: the schedule of 001-E9", smoke=LARGE),
    _control("E9E", "ResNet-34, 8 epochs", POST.replace(**EIGHT),
             "001-E9: the epochs and the schedule of 001-E11", smoke=LARGE),
    *map(_constant, PRINTED[:5]),
)  # fmt: skip

OWN = own("001", "ResNet-18 with a 3x3 stem, 100 epochs",
          anchor="zeyuanyin's ResNet-18, last of 100 epochs: the same layers, another recipe (twice"
          " the rate and the batch, less weight decay)",
          dataset="tiny_imagenet", model="resnet18_cifar", epochs=100, watch_test=True,
          smoke=LARGE)  # fmt: skip

SAID = functools.partial(published_sentence, "001")
AUGMENTATION = (
    higher("001-E2", "001-E1", points=100 * printed("001-E2", "test_top1_gain"), id="set 2 added",
           sentence=SAID("introduction of additional augmentation"),
           text="M1 gains by set 2 on top of set 1; the report reads 7.5 points from the peak of"
           " one and the end of the other"),
    higher("001-E2", "001-E1T", id="set 2, not more updates",
           text="At as many updates, sets 1+2 still beat set 1 twice"),
    higher("001-E1T", "001-E1", id="more updates alone",
           text="Set 1 twice an epoch beats set 1 once"),
    higher("001-E1S", "001-E1", id="set 2 alone", text="Set 2 alone beats set 1 alone"),
    higher("001-E1F", "001-E1", id="the crop of set 1",
           text="Without its crop, which enlarges only the training images, set 1 is better"),
)  # fmt: skip


def _rates(model: str, fast: str, slow: str, sentence: str) -> tuple[Claim, ...]:
    """1e-3 beats 1e-4: as the report has it, and with one schedule for both."""
    return (
        ahead(fast, slow, metric=BEST, id=f"the higher rate, {model}", sentence=sentence,
              text=f"{model}: rate 1e-3 beats 1e-4"),
        higher(fast, f"{slow}S", metric=BEST, id=f"the higher rate, one schedule, {model}",
               text=f"{model}: with the same schedule, too, 1e-3 beats 1e-4"),
    )  # fmt: skip


# two accuracies of runs with all the images: on a part of them both are lower, and not alike
HALF = replace(
    ratio("001-E2", "001-E3", metric="train_top1", at_least=1.5, at_most=2.5,
          printed=round(quotient("001-E2", "001-E3", "train_top1"), 2), id="half the training",
          sentence=SAID("twice as lower"),
          text="M1 knows about twice as much of its training images at 1e-3 as at 1e-4"),
    needs=Needs(data="complete"),
)  # fmt: skip
TING = published(report="001").query("source.str.startswith('J. Ting')")["value"].item()
RATES = (
    *_rates("M1", "001-E2", "001-E3", SAID("is much better")),
    *_rates("M4", "001-E5", "001-E4", SAID("a trend that learning rate")),
    *_rates("ResNet-18", "001-E7", "001-E8", SAID("outperforming ResNet18")),
    within("001-E3", TING, REPRODUCED, id="M1 as in Ting's report", sentence=SAID("by J. Ting"),
           text="M1 at 1e-4 ends where Ting's report has it"),
    HALF,
    equal("001-E4", "001-E3", id="M4 at the low rate", sentence=SAID("on the level of baseline"),
          text="At 1e-4, M4 is on the level of M1"),
    equal("001-E8", "001-E5", metric=BEST, id="the lower rate wastes depth",
          sentence=SAID("equal to performance of M4"),
          text="ResNet-18 at 1e-4 is as good as M4 at 1e-3, give or take 3 points"),
)  # fmt: skip


NETWORKS = (
    ranking(("001-E11", "001-E9", "001-E7", "001-E5", "001-E2"), metric=BEST, id="depth",
            sentence=SAID("increase in the deepness"),
            text="Deeper is better: DenseNet-161, ResNet-34, ResNet-18, M4, M1, best first"),
    higher("001-E2", "001-E6", metric=BEST, id="AlexNet below M1", sentence=SAID("not promising"),
           text="M1 beats AlexNet, which has a hundred times its parameters"),
    at_most("001-E6", printed("001-E6"), metric=BEST, id="AlexNet's ceiling",
            sentence=SAID("never reached 20%"), text="AlexNet never reaches 20 %"),
    at_most("001-E6", 0.0, metric="train_lead_top1", id="AlexNet, training below test",
            sentence=SAID("never reached 20%"),
            text="AlexNet's training top-1, measured with dropout and on augmented images, is"
            " below its test top-1 in every epoch"),
    ahead("001-E10", "001-E9", metric=BEST, id="pre-activation",
          sentence=SAID("improved residual block"), text="Pre-activation beats post-activation"),
    higher("001-E10", "001-E9S", metric=BEST, id="pre-activation, both every 7",
           text="With one schedule, falling every 7 epochs, pre-activation still beats"
           " post-activation"),
    higher("001-E10L", "001-E9", metric=BEST, id="pre-activation, both at 10",
           text="With one schedule, falling at epoch 10, pre-activation still beats"
           " post-activation"),
    higher("001-E11", "001-E9E", metric=BEST, id="DenseNet, equal epochs",
           text="At equal epochs, DenseNet-161 is ahead of ResNet-34"),
    ratio("001-E11", "001-E9", metric="seconds_per_epoch", at_least=2.5, at_most=3.5,
          printed=printed("001-E11", "seconds_per_epoch_ratio"), id="what DenseNet costs",
          sentence=SAID("3 times higher"),
          text="An epoch of DenseNet-161 takes about three times one of ResNet-34"),
    higher("001-Z", "001-E11", metric=BEST, id="stem and recipe",
           text="ResNet-18 with a 3x3 stem, on a usual recipe of today, beats the report's best"
           " network, DenseNet-161"),
)  # fmt: skip


def _peak(row: str, model: str, fall: int) -> Claim:
    """A network of 20 epochs is best in the first epoch after the rate falls, or near it."""
    return within(row, (fall + 1) / 20, 2 / 20, metric="best_epoch_share",
                  id=f"the peak is at the first fall, {model}",
                  sentence=SAID("at the shift of learning rate"),
                  text=f"{model} is best in the first epoch after the rate falls, the"
                  f" {fall + 1}th of 20, give or take two")  # fmt: skip


OVERFITTING = (
    _peak("001-E2", "M1", 7),
    _peak("001-E5", "M4", 7),
    _peak("001-E7", "ResNet-18", 7),
    _peak("001-E9", "ResNet-34", 10),
    _peak("001-E10", "ResNet-34 with pre-activation", 7),
    within("001-E5", 8 / 20, 2 / 20, metric="lowest_loss_share", id="M4's loss bounces back",
           sentence=SAID("bounces back"),
           text="M4's test loss is lowest at the first fall of the rate and rises from there,"
           " give or take two epochs"),
    at_most("001-E1", 0.05, metric="loss_rise", id="the test loss keeps falling",
            sentence=SAID("decreasing trend"),
            text="M1's test loss falls to the end with set 1: it ends at most 0.05 above its"
            " lowest (our limit)"),
    higher("001-E2", "001-E1", metric="loss_rise", id="the test loss turns",
           sentence=SAID("starts to over fit"),
           text="M1's test loss climbs again with sets 1+2 and not with set 1"),
    higher("001-E8", "001-E3", metric="loss_rise", id="no fall, a larger net",
           text="At 1e-4 without a fall, ResNet-18's test loss climbs again; M1's, with falls,"
           " does not"),
    lower("001-E10", "001-E9", metric="decay_top1", id="pre-activation does not decay",
          sentence=SAID("improves the stability"),
          text="After its peak, pre-activation loses less than post-activation"),
    lower("001-E10", "001-E9S", metric="decay_top1", id="no decay, both every 7",
          text="With one schedule, too, pre-activation loses less after its peak"),
)  # fmt: skip

CLAIMS = (
    *AUGMENTATION,
    *RATES,
    *NETWORKS,
    *OVERFITTING,
    *reproduced(PRINTED, without=["001-E6"]),  # of which a limit is printed, not a score
)

REPORT = Report(
    id="001",
    name="tiny_imagenet_survey",
    title="Seven networks on Tiny-ImageNet",
    notebook="02_tiny_imagenet_survey",
    rows=(*PRINTED, *CONTROLS, OWN),
    claims=CLAIMS,
    proof=("001-E1", "001-E2"),
)
