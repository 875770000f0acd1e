"""Plain stacks of convolutions: the nets of Keras's MNIST example, MBN, M1 and M4."""

from __future__ import annotations

from torch import nn

from labkit.models.layers import glorot, keras_norm


def mnist_net(classes: int, *, size: int = 32, channels: int = 3) -> nn.Sequential:
    """The small net of Keras's MNIST example, as report 002 trains it.

    Idea: two unpadded convolutions, one pooling step, one wide dense layer. On 28x28x1 with ten
    classes it is the table that the report prints (1,199,882 parameters); on CIFAR-100 it has
    1,638,052. Source: keras.io/examples/vision/mnist_convnet, in its older form mnist_cnn.
    Published: 38.1 % on CIFAR-100 after 15 epochs (report 002).
    """
    side = (size - 4) // 2
    return glorot(
        nn.Sequential(
            nn.Conv2d(channels, 32, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(64 * side * side, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(128, classes),
        )
    )


def mbn(classes: int, *, size: int = 32, channels: int = 3) -> nn.Sequential:
    """MBN: eight 3x3 convolutions with batch normalisation, in four pairs (report 002).

    Idea: normalise after every convolution, so that a deep plain stack trains on a CPU's budget.
    15,795,556 parameters on CIFAR-100, 15,786,340 of them trainable. Source:
    github.com/LeoTungAnh/CNN-CIFAR-100, "batch norm model 4". Published: 66.15 % after its own
    350 short epochs, 61 % after report 002's 15.
    """
    layers: list[nn.Module] = []
    before = channels
    for width in (256, 512, 512, 512):
        for _ in range(2):
            layers += [nn.Conv2d(before, width, 3, padding=1), keras_norm(width)]
            layers += [nn.ReLU(inplace=True)]
            before = width
        layers += [nn.MaxPool2d(2), nn.Dropout(0.2)]
    head = nn.BatchNorm1d(1024, eps=0.005, momentum=0.05)
    nn.init.constant_(head.weight, 0.9)
    nn.init.normal_(head.bias, std=0.05)
    layers += [nn.Flatten(), nn.Linear(512 * (size // 16) ** 2, 1024), nn.ReLU(inplace=True)]
    layers += [nn.Dropout(0.2), head, nn.Linear(1024, classes)]
    return glorot(nn.Sequential(*layers))
