"""Report 003: SimpleNet, small ResNeXts and wide ResNets on CIFAR-100, six hours for each.

The report is four weekly submissions of a course. It states the architectures, he_normal and Adam
for the ResNeXts, no augmentation, six hours a model, an early stopper for the wide ResNets, and
10 and 50 epochs for SimpleNet. It leaves open: batch, learning rate, pixel scaling, epochs of
every other row, the stopper's patience, what it watched, cardinality, and the ResNeXt head.

We chose, once for all rows: Keras's Adam at a constant 1e-3, batch 128, pixels in [0, 1], no
augmentation, 5,000 training images held out for everything that must be watched. Where epochs are
not stated a run has SimpleNet's 50; the stopper waits 5 epochs for a better validation loss and
keeps the last weights, as Keras does unless told otherwise.
"""

from __future__ import annotations

import functools

from labkit.compare import higher, monotone, peak_at, published_sentence, ranking, ratio
from labkit.recipe import Recipe
from labkit.reports.own import own
from labkit.reports.printed import ahead, reproduced
from labkit.reports.rows import Report, Row

__all__ = ["REPORT"]

KERAS = Recipe(
    dataset="cifar100", model="simplenet", epochs=50, batch=128, lr=1e-3, optimizer="adam",
    optimizer_options={"eps": 1e-7}, normalise="unit", validation=5000,
)  # fmt: skip
RESNEXT = KERAS.replace(model="resnext29_32x4d")
LINEAR = {"final_relu": False}  # the dense layer's outputs as they are
FLAT = {"pooled": False}  # a dense layer that reads the whole map
PATIENCE = {"patience": 5}

# what the papers do instead, within 50 epochs: milestones are their own shares of the run
PAPER = KERAS.replace(lr=0.1, schedule="step", augment="crop_flip", normalise="standard")
SIMPLENET_PAPER = PAPER.replace(
    optimizer="adadelta", optimizer_options={"rho": 0.9, "eps": 1e-3, "weight_decay": 1e-3},
    milestones=tuple(epoch / 550 for epoch in (100, 190, 306, 390, 440, 540)),
)  # fmt: skip
WRN_PAPER = PAPER.replace(
    model="wrn16_4", optimizer="sgd",
    optimizer_options={"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    milestones=(0.3, 0.6, 0.8), gamma=0.2,
)  # fmt: skip

# fewer than 450 updates leave the running statistics (momentum 0.99) short of the activations, and
# a stopper would act on losses that are theirs: its patience outlasts these six epochs of 79
LESSON = {"train_size": 10_000, "validation": 1000, "test_size": 2000, "epochs": 6}
TINY = {"train_size": 50, "validation": 100, "test_size": 100}
# the widest nets only show that they run: one image of a few classes, nothing held out
HEAVY = {"train_size": 16, "test_size": 100, "epochs": 1}

# the report's WideResnet1 to WideResnet6: model, N, k, and whether a class hour has time for it
WIDE = {
    1: ("wrn16_2", 2, 2, True),
    2: ("wrn16_4", 2, 4, True),
    3: ("wrn16_8", 2, 8, False),
    4: ("wrn16_16", 2, 16, False),
    5: ("wrn28_2", 4, 2, True),
    6: ("wrn28_4", 4, 4, False),
}
# the report's ResNext1 to ResNext3: channels from stage to stage, and how it prints them
SMALL = {
    1: ("32, 16, 8", "init: 32; 1: 32, 16; 2: 16, 8"),
    2: ("64, 32, 16, 8", "init: 64; 1: 64, 32; 2: 32, 16; 3: 16, 8"),
    3: ("16, 8, 4, 4", "init: 16; 1: 16, 8; 2: 8, 4; 3: 4, 4"),
}


def _wide(number: int) -> Row:
    """A wide ResNet under the early stopper, which must have something held out to watch."""
    model, blocks, k, light = WIDE[number]
    return Row(id=f"003-W{number}", title=f"WideResnet{number}, N = {blocks}, k = {k}",
               full=KERAS.replace(model=model, **PATIENCE), lesson=LESSON, long=not light,
               smoke=TINY | PATIENCE if light else HEAVY)  # fmt: skip


def _wide_fixed(number: int) -> Row:
    """The same net with a fixed number of epochs."""
    model, blocks, k, light = WIDE[number]
    title = f"WideResnet{number}, N = {blocks}, k = {k}, fixed epochs"
    return Row(id=f"003-W{number}F", title=title, full=KERAS.replace(model=model),
               smoke=TINY if light else HEAVY, optional=True,
               note="control: the same run without the early stopper")  # fmt: skip


def _small(number: int) -> Row:
    """A small ResNeXt whose paths share half of the channels."""
    channels, printed = SMALL[number]
    return Row(id=f"003-X{number}", title=f"ResNext{number} ({channels})",
               full=RESNEXT.replace(model=f"resnext{number}_a"),
               lesson=LESSON, smoke=TINY, note=printed)  # fmt: skip


def _small_flat(number: int) -> Row:
    """The same net with another head."""
    return Row(id=f"003-X{number}H", title=f"ResNext{number} ({SMALL[number][0]}), flattened head",
               full=RESNEXT.replace(model=f"resnext{number}_a", options=FLAT),
               smoke=TINY, optional=True,
               note="control: the other head; the report does not say which it has")  # fmt: skip


def _small_paths(number: int) -> Row:
    """The same net in the other reading: 32 paths of 4 channels."""
    return Row(id=f"003-X{number}B", title=f"ResNext{number} ({SMALL[number][0]}), 32 paths",
               full=RESNEXT.replace(model=f"resnext{number}_b"), smoke=TINY, optional=True,
               note="control: the other reading of what the report leaves open")  # fmt: skip


ROWS = (
    Row(id="003-S10", title="SimpleNet, 10 epochs", full=KERAS.replace(epochs=10),
        smoke={**TINY, "epochs": 1}, note="the beginning of 003-S50, which alone has a lesson"),
    Row(id="003-S50", title="SimpleNet, 50 epochs", full=KERAS, lesson=LESSON, smoke=TINY),
    Row(id="003-X0", title="ResNeXt, 64 filters", full=RESNEXT.replace(epochs=10, watch_test=True),
        lesson=LESSON, long=True, smoke=HEAVY,
        note="read as ResNeXt-29 (32x4d), 10 epochs; the report prints its best score so far"),
    *map(_small, SMALL),
    *map(_wide, WIDE),
    Row(id="003-R2", title="Res2NeXt-29, 6c x 24w x 4s",
        full=RESNEXT.replace(model="res2next29_6c24w4s", epochs=10), smoke=HEAVY, optional=True,
        note="announced, not finished: no published number; 10 epochs, as for X0"),
    *map(_small_paths, SMALL),
    *map(_small_flat, SMALL),
    Row(id="003-X2L", title="ResNext2 without the ReLU on its logits",
        full=RESNEXT.replace(model="resnext2_a", options=LINEAR),
        lesson=LESSON, smoke=TINY, optional=True,
        note="control: the same net with plain logits"),
    Row(id="003-X0L", title="ResNeXt-29 (32x4d), 50 epochs", full=RESNEXT, smoke=HEAVY,
        optional=True, note="control: channels double from stage to stage instead of halving"),
    *map(_wide_fixed, WIDE),
    Row(id="003-W1K", title="WideResnet1, N = 2, k = 2, another batch normalisation",
        full=KERAS.replace(model="wrn16_2", options={"quick_norm": True}, **PATIENCE),
        lesson=LESSON, smoke=TINY | PATIENCE, optional=True,
        note="control: BN as in titu1994's public Keras code, with averages that do not lag"),
    Row(id="003-S50P", title="SimpleNet, 50 epochs of its authors' recipe", full=SIMPLENET_PAPER,
        smoke=TINY, optional=True,
        note="control: Adadelta, steps, weight decay, crops and flips"),
    Row(id="003-W2P", title="WRN-16-4, 50 epochs of its authors' recipe", full=WRN_PAPER,
        smoke=TINY, optional=True, note="control: SGD, steps, weight decay, crops and flips"),
    own("003", "WRN-28-10, 200 epochs",
        anchor="DeVries and Taylor's WRN-28-10 with cutout, which has dropout 0.3, PyTorch's batch"
        " normalisation (ours is Keras's) and a rate that falls in steps",
        dataset="cifar100", model="wrn28_10", epochs=200, augment="crop_flip_cutout8",
        smoke=HEAVY),
)  # fmt: skip

SAID = functools.partial(published_sentence, "003")
SIX_HOURS = SAID("training time of 6 hours")
CLAIMS = (
    ranking(("003-S50", "003-W6", "003-X2"), id="families", sentence=SIX_HOURS,
            text="SimpleNet is ahead of the best wide ResNet, and that of the best small ResNeXt"),
    ahead("003-W5", "003-X2", id="worst wide above best ResNeXt",
          text="The worst wide ResNet is ahead of the best small ResNeXt"),
    ratio("003-W6", "003-S50", metric="seconds", at_least=0.8, at_most=1.25, sentence=SIX_HOURS,
          id="equal hours, wide ResNet",
          text="The best wide ResNet and SimpleNet have trained for the same time"),
    ratio("003-X2", "003-S50", metric="seconds", at_least=0.8, at_most=1.25, sentence=SIX_HOURS,
          id="equal hours, ResNeXt",
          text="The best small ResNeXt and SimpleNet have trained for the same time"),
    ahead("003-S50", "003-S10", id="more epochs",
          text="Fifty epochs of SimpleNet end higher than ten"),
    ahead("003-W2", "003-W1", id="width pays at first", sentence=SAID("on increasing the depth"),
          text="With two blocks a group, k = 4 is better than k = 2"),
    peak_at(("003-W1", "003-W2", "003-W3", "003-W4"), "003-W2", id="width, stopped early",
            sentence=SAID("till a particular width"),
            text="With two blocks a group, accuracy rises with the width up to k = 4, then falls"),
    monotone(("003-W1F", "003-W2F", "003-W3F", "003-W4F"), "rising", id="width, fixed epochs",
             sentence=SAID("fixed the number of epochs"),
             text="With a fixed number of epochs accuracy would rise with the width throughout"),
    higher("003-W4F", "003-W4", id="the early stopper", sentence=SAID("early-stopper"),
           text="The early stopper cost the widest net accuracy"),
    ahead("003-W6", "003-W5", id="width at N = 4",
          text="With four blocks a group, k = 4 is better than k = 2"),
    ahead("003-W6", "003-W2", id="depth at k = 4",
          text="At k = 4, four blocks a group are better than two"),
    ahead("003-W1", "003-W5", id="depth at k = 2",
          text="At k = 2, two blocks a group are better than four"),
    ranking(("003-X2", "003-X1", "003-X3"), id="small ResNeXts",
            text="More and wider ResNeXt stages are better: ResNext2, ResNext1, ResNext3"),
    higher("003-X0L", "003-X2", id="halving",
           text="Halving the channels holds the small ResNeXts back: doubling is better (ours)"),
    higher("003-X2L", "003-X2", id="ReLU on the logits",
           text="A ReLU on the logits costs accuracy (ours)"),
    higher("003-Z", "003-S50", id="a recipe of today",
           text="A wide ResNet on a usual recipe of today is ahead of the report's best model"),
    *reproduced(row for row in ROWS if not row.optional),
)  # fmt: skip

REPORT = Report(
    id="003",
    name="simplenet_resnext_wrn",
    title="SimpleNet, small ResNeXts and wide ResNets, six hours each",
    notebook="04_simplenet_resnext_wrn",
    rows=ROWS,
    claims=CLAIMS,
    proof=("003-S10", "003-X2", "003-W1"),
)
