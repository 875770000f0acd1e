"""Report 002: the small net of Keras's MNIST example against MBN, on CIFAR-100.

The report states batch 256, 15 epochs, pixels in [0, 1] and both architectures. It leaves the
optimizers, the augmentation and the validation split open; ours follow the source that it cites
for MBN (github.com/LeoTungAnh/CNN-CIFAR-100: RMSprop at 1e-4, rotation by up to 20 degrees and
flips, 80/20 split) and Keras's own default Adam for the small net.
"""

from __future__ import annotations

from labkit.compare import higher, lower, overlap, ratio
from labkit.recipe import Recipe
from labkit.reports.rows import Row, Study

SMALL = Recipe(
    dataset="cifar100",
    model="mnist_net",
    epochs=15,
    batch=256,
    optimizer="adam",
    optimizer_options={"eps": 1e-7},
    lr=1e-3,
    normalise="unit",
    validation=10_000,
)
MBN = SMALL.replace(
    model="mbn",
    optimizer="rmsprop",
    optimizer_options={"alpha": 0.9, "eps": 1e-7},
    lr=1e-4,
    augment="rotate20_flip",
)
THIN = {"thinner": 4}
LESSON = {"epochs": 10}
SMOKE = {"epochs": 3, "train_size": 4000, "validation": 500, "test_size": 1000}

STUDY = Study(
    id="002",
    name="keras_vs_mbn",
    title="Keras's small MNIST net against MBN",
    notebook="03_keras_vs_mbn",
    rows=(
        Row(id="002-M1", title="MNIST net", full=SMALL, lesson=LESSON, smoke=SMOKE),
        Row(
            id="002-M2",
            title="MBN, eight convolutions with batch normalisation",
            full=MBN,
            smoke={"train_size": 200, "validation": 100, "test_size": 1000},
            note="too dear for a class hour on a CPU, where 002-T2 stands in for it",
        ),
        Row(
            id="002-T2",
            title="MBN at a quarter of its width, on the MNIST net's recipe",
            full=SMALL.replace(model="mbn", options=THIN),
            lesson=LESSON,
            smoke=SMOKE | {"train_size": 2000},
            optional=True,
            note="ours: the same depth at a sixteenth of the cost, and one recipe for both nets",
        ),
        Row(
            id="002-C1",
            title="MNIST net on MBN's own recipe",
            full=MBN.replace(model="mnist_net"),
            lesson=LESSON,
            smoke=SMOKE,
            optional=True,
            note="control: the same optimizer and augmentation for both models",
        ),
    ),
    claims=(
        higher("002-M2", "002-M1", points=22.9),
        lower("002-M2", "002-M1", metric="test_loss"),
        higher("002-T2", "002-M1", text="on one recipe, MBN leads even at a quarter of its width"),
        ratio("002-M2", "002-M1", metric="seconds", at_least=8, printed=16),
        ratio("002-M2", "002-M1", metric="parameters", at_least=9, at_most=10, printed=9.6),
        overlap("002-M1", "002-M2"),
        overlap("002-M1", "002-T2"),
    ),
)
