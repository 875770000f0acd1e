"""Plain stacks of convolutions: the net of Keras's MNIST example, MBN and its forebears, M1 and M4.

Where a ReLU is followed by max-pooling, the pooling comes first here: the result and its gradient
are the same, for a quarter of the ReLU's work.
"""

from __future__ import annotations

from torch import nn

from labkit.models.layers import Dropout, Flatten, glorot, keras_norm, named

__all__ = ["cnn", "m1", "m4", "mbn", "mnist_net"]


def mnist_net(classes: int, *, size: int = 32, channels: int = 3) -> nn.Sequential:
    """The small net of Keras's MNIST example, as report 002 trains it.

    Source: keras.io, examples/vision/mnist_convnet, in its older form mnist_cnn. Idea: two
    unpadded convolutions, one pooling step, one wide dense layer. Changed for colour images: three
    input channels and a wider dense layer, nothing else.
    Parameters: 1,199,882 on 28x28x1 with 10 classes, the table that the report prints; 1,638,052
    on CIFAR-100. Published: 38.1 % on CIFAR-100 after 15 epochs (report 002).
    """
    side = (size - 4) // 2
    features = nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 64, 3),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        Dropout(0.25),
    )
    head = nn.Sequential(
        Flatten(),
        nn.Linear(64 * side * side, 128),
        nn.ReLU(inplace=True),
        Dropout(0.5),
        nn.Linear(128, classes),
    )
    return glorot(named(features=features, head=head))


def mbn(classes: int, *, thinner: int = 1, size: int = 32, channels: int = 3) -> nn.Sequential:
    """MBN: eight 3x3 convolutions with batch normalisation, in four pairs (report 002).

    Source: github.com/LeoTungAnh/CNN-CIFAR-100, "batch norm model 4". Idea: normalise after every
    convolution, so that a deep plain stack trains within a CPU's budget. Made for 32x32 pixels;
    nothing is changed.
    Parameters: 15,795,556 on CIFAR-100, 15,786,340 of them trainable. Published: 66.15 % after
    350 short epochs (source), 61 % after 15 (report 002).

    `thinner` divides every width: at 4 the same depth costs a sixteenth, with fewer parameters
    than the MNIST net has.
    """
    if thinner < 1:
        raise ValueError(f"mbn: thinner is {thinner}; it must be 1 or more")
    return cnn(
        classes,
        filters=tuple(width // thinner for width in (256, 512, 512, 512)),
        depth=2,
        dense=1024 // thinner,
        dropout=0.2,
        norm="every",
        size=size,
        channels=channels,
    )


def cnn(
    classes: int,
    *,
    filters: tuple[int, ...],
    depth: int,
    dense: int,
    dropout: float,
    norm: str,
    size: int = 32,
    channels: int = 3,
) -> nn.Sequential:
    """The nets on the way to MBN: stages of 3x3 convolutions with pooling, and two dense layers.

    Source: github.com/LeoTungAnh/CNN-CIFAR-100, which ends with MBN and whose steps are rows S1 to
    S8 of report 002. Idea: go one step at a time. `filters` has the width of each stage,
    `depth` its convolutions, `dense` the hidden units; dropout follows every pooling and the
    hidden layer. Batch normalisation is nowhere (`norm` "none"), behind the hidden layer ("head"),
    or also behind every convolution ("every"), which alone pads. Nothing is changed.
    Parameters for 100 classes, as the source prints them: 79,268 (simple), 537,188 (wider),
    936,580 (deeper), 4,367,076 (bn1, 4,366,052 of them trainable) and 4,372,708 (bn3, 4,369,124);
    by our count 1,950,372 (dropout). Published on CIFAR-100 (source): 36 % for the simple net,
    34 % wider, 30 % deeper, 49 % with dropout, 54 % and 63 % with batch normalisation.
    """
    stages, before, side = {}, channels, size
    for number, width in enumerate(filters, start=1):
        stages[f"stage{number}"] = _cnn_stage(before, width, depth, dropout, norm == "every")
        before = width
        side = (side if norm == "every" else side - 2 * depth) // 2
    normalise = [] if norm == "none" else [_head_norm(dense)]
    head = nn.Sequential(
        Flatten(),
        nn.Linear(before * side**2, dense),
        nn.ReLU(inplace=True),
        *([Dropout(dropout)] if dropout else []),
        *normalise,
        nn.Linear(dense, classes),
    )
    return glorot(named(**stages, head=head))


def _cnn_stage(
    before: int, width: int, depth: int, dropout: float, normalised: bool
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(before, width, 3, padding=int(normalised))]
        layers += [keras_norm(width)] if normalised else []
        layers += [nn.ReLU(inplace=True)]
        before = width
    layers.insert(-1, nn.MaxPool2d(2))
    return nn.Sequential(*layers, *([Dropout(dropout)] if dropout else []))


def _head_norm(width: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(width, eps=0.005, momentum=0.05)
    nn.init.constant_(norm.weight, 0.9)
    nn.init.normal_(norm.bias, std=0.05)
    return norm


def m1(classes: int, *, size: int = 64, channels: int = 3) -> nn.Sequential:
    """M1, the baseline of report 001: three convolutions and two dense layers.

    Source: J. Ting's class report on Tiny-ImageNet, whose strings F5-16, F3-16, F3-32 the report
    quotes. Idea: the smallest net worth comparing with. Padding is not stated; ours keeps the
    maps' size, so that 64 pixels become 8. PyTorch's own initialisation.
    Parameters: 584,120 for 200 classes. Published on Tiny-ImageNet: 29.5 % (report 001), 23.8 %
    (Ting).
    """
    return _convolutions(((5, 16),), ((3, 16),), ((3, 32),), classes, size, channels)


def m4(classes: int, *, size: int = 64, channels: int = 3) -> nn.Sequential:
    """M4 of report 001: M1 with every convolution doubled and widened.

    Source: J. Ting's class report on Tiny-ImageNet. Idea: what more depth and width alone buy.
    Padding as in M1, PyTorch's own initialisation.
    Parameters: 2,343,080 for 200 classes. Published on Tiny-ImageNet: 35.9 % (report 001).
    """
    groups = ((5, 32), (5, 32)), ((3, 64), (3, 64)), ((3, 64), (3, 128))
    return _convolutions(*groups, classes, size, channels)


def _convolutions(first, second, third, classes: int, size: int, channels: int) -> nn.Sequential:
    """Three stages of (kernel, filters) convolutions, each with pooling; 256 hidden units."""
    stages, before = {}, channels
    for number, group in enumerate((first, second, third), start=1):
        layers: list[nn.Module] = []
        for kernel, filters in group:
            layers += [nn.Conv2d(before, filters, kernel, padding=kernel // 2)]
            layers += [nn.ReLU(inplace=True)]
            before = filters
        layers.insert(-1, nn.MaxPool2d(2))
        stages[f"stage{number}"] = nn.Sequential(*layers)
    head = nn.Sequential(
        Flatten(),
        nn.Linear(before * (size // 8) ** 2, 256),
        nn.ReLU(inplace=True),
        nn.Linear(256, classes),
    )
    return named(**stages, head=head)
