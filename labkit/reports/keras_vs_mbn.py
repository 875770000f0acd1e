"""Report 002: the small net of Keras's MNIST example against MBN, on CIFAR-100.

The report states batch 256, 15 epochs, pixels in [0, 1] and both architectures. It leaves the
optimizers, the augmentation and the validation split open; ours follow the source that it cites
for MBN (github.com/LeoTungAnh/CNN-CIFAR-100: RMSprop at 1e-4, rotation by up to 20 degrees and
flips, 80/20 split) and Keras's own default Adam for the small net.

Rows S1 to S9 are that source's own way to MBN: nine steps from three convolutions, at its rate
and its split. Its epochs are of 100 steps. With augmentation a step is a batch of 64, so 350 of
them are 56 passes over the images; without, no batch is given and Keras makes a hundred batches
of the 40,000 images, so that its 400 epochs are 400 passes at batch 400. S4 stands there in two
cells of 400 epochs, of which the second goes on from the first. Its "batch norm model 2" has no
printed accuracy and no row.
"""

from __future__ import annotations

import functools

from labkit.compare import higher, lower, overlap, published_sentence, ranking, ratio
from labkit.recipe import Recipe
from labkit.reports.own import own
from labkit.reports.printed import ahead, quotient, reproduced, worded
from labkit.reports.rows import Report, Row

__all__ = ["REPORT"]

SMALL = Recipe(
    dataset="cifar100", model="mnist_net", epochs=15, batch=256, lr=1e-3, optimizer="adam",
    optimizer_options={"eps": 1e-7}, normalise="unit", validation=10_000,
)  # fmt: skip
MBN = SMALL.replace(
    model="mbn", lr=1e-4, optimizer="rmsprop", optimizer_options={"alpha": 0.9, "eps": 1e-7},
    augment="rotate20_flip",
)  # fmt: skip
SOURCE = MBN.replace(batch=64)
BARE = SOURCE.replace(batch=400, epochs=400, augment="none")
# at the rate 1 of its paper (Zeiler 2012, arXiv:1212.5701), with Keras's rho and epsilon
ADADELTA = {
    "lr": 1.0, "optimizer": "adadelta", "optimizer_options": {"rho": 0.95, "eps": 1e-7},
}  # fmt: skip
ADAM = {"optimizer": SMALL.optimizer, "optimizer_options": SMALL.optimizer_options}

LESSON = {"epochs": 10}
# for MBN: three of its own epochs, because fewer than 450 updates leave the running statistics
# (momentum 0.99) short of the activations
LARGE = {"epochs": 3, "train_size": 40_000, "validation": 2000, "test_size": 2000}
SMOKE = {"epochs": 2, "train_size": 200, "validation": 100, "test_size": 100}
TINY = {"epochs": 1, "train_size": 100, "test_size": 100}

PRINTED = (
    Row(id="002-M1", title="MNIST net", full=SMALL, lesson=LESSON, smoke=SMOKE),
    Row(id="002-M2", title="MBN, eight convolutions with batch normalisation", full=MBN,
        lesson=LARGE, long=True, smoke=SMOKE,
        note="too dear for a class hour on a CPU, where 002-T2 stands in for it"),
)  # fmt: skip
CONTROLS = (
    Row(id="002-T2", title="MBN at a quarter of its width, on the MNIST net's recipe",
        full=SMALL.replace(model="mbn", options={"thinner": 4}),
        lesson=LESSON, smoke=SMOKE | {"epochs": 1}, optional=True,
        note="ours: the same depth at a sixteenth of the cost, and one recipe for both nets"),
    Row(id="002-C1", title="MNIST net on MBN's own recipe", full=MBN.replace(model="mnist_net"),
        lesson=LESSON, smoke=SMOKE, optional=True,
        note="control: the same optimizer and augmentation for both models"),
    Row(id="002-C2", title="MNIST net with Adadelta", full=SMALL.replace(**ADADELTA), smoke=TINY,
        optional=True, note="control: the optimizer of the example that the net is taken from"),
    Row(id="002-V1", title="MNIST net on all training images", full=SMALL.replace(validation=0),
        smoke=TINY, optional=True,
        note="control: nothing held out, as the report may have had it"),
)  # fmt: skip
# what is new in each step, its recipe, and what else there is to say of its budget
STEPS = (
    ("three convolutions", BARE.replace(model="cnn_simple")),
    ("three convolutions, Adam", BARE.replace(model="cnn_simple", **ADAM)),
    ("wider", BARE.replace(model="cnn_wider")),
    (
        "four convolutions in pairs",
        BARE.replace(model="cnn_deeper", epochs=800),
        ", which is two cells of 400 epochs",
    ),
    ("three convolutions, augmentation", SOURCE.replace(model="cnn_simple", epochs=64)),
    ("wider pairs, dropout", SOURCE.replace(model="cnn_dropout", epochs=64)),
    ("wider still, one BN", SOURCE.replace(model="cnn_bn1", epochs=112)),
    ("three pairs, BN everywhere", SOURCE.replace(model="cnn_bn3", epochs=56)),
    ("MBN", SOURCE.replace(epochs=56)),
)
OWN = own("002", "MBN, 200 epochs", anchor="VGG-13 with BN, the nearest plain stack",
          dataset="cifar100", model="mbn", epochs=200, smoke=TINY)  # fmt: skip


def _step(number: int, change: str, recipe: Recipe, budget: str = "") -> Row:
    """One of the nine steps of the source."""
    return Row(id=f"002-S{number}", title=f"the source's step {number}: {change}", full=recipe,
               smoke=TINY, optional=True,
               note=f"of the source that the report builds on, at its budget{budget}")  # fmt: skip


NAMES = {
    "002-M1": "the MNIST net", "002-M2": "MBN", "002-T2": "MBN at a quarter of its width",
}  # fmt: skip
SAID = functools.partial(published_sentence, "002")
CLAIMS = (
    ahead("002-M2", "002-M1", sentence=SAID("22.9% increase")),
    lower("002-M2", "002-M1", metric="test_loss"),
    higher("002-T2", "002-M1", sentence=SAID("increased number of layers"),
           text="On one recipe, MBN leads even at a quarter of its width"),
    ratio("002-M2", "002-M1", metric="seconds", at_least=8, at_most=32, device="cpu",
          printed=quotient("002-M2", "002-M1", "seconds"), sentence=SAID("simple enough")),
    ratio("002-M2", "002-M1", metric="parameters", at_least=9, at_most=10),
    overlap("002-M1", "002-M2", sentence=SAID("similar images")),
    overlap("002-M1", "002-T2", sentence=SAID("similar images")),
    ranking(("002-S9", "002-S8", "002-S7", "002-S6", "002-S1"),
            text="The source: MBN is best, and each step towards it gains (step 1, then 6 to 9)"),
    higher("002-S1", "002-S4",
           text="The source: without dropout, the deeper net is worse than the small one"),
    higher("002-Z", "002-S9",
           text="MBN is better on a usual recipe of today than on its source's"),
)  # fmt: skip

REPORT = Report(
    id="002",
    name="keras_vs_mbn",
    title="Keras's small MNIST net against MBN",
    notebook="03_keras_vs_mbn",
    rows=(*PRINTED, *CONTROLS, *(_step(n, *step) for n, step in enumerate(STEPS, 1)), OWN),
    claims=(*worded(CLAIMS, NAMES), *reproduced(PRINTED)),
    proof=("002-M1", "002-T2"),
)
