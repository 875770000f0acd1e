"""SimpleNet v1 (Hasanpour et al. 2016, arXiv:1608.06037)."""

from __future__ import annotations

from torch import nn

from labkit.models.layers import glorot, keras_norm, named

__all__ = ["simplenet"]

# (filters, kernel) of each convolution; every group but the last ends in 2x2 pooling
GROUPS = (
    ((64, 3), (128, 3), (128, 3), (128, 3)),
    ((128, 3), (128, 3), (256, 3)),
    ((256, 3), (256, 3)),
    ((512, 3), (2048, 1), (256, 1)),
    ((256, 3),),
)


def simplenet(classes: int, *, channels: int = 3) -> nn.Sequential:
    """Thirteen convolutions in a plain line, each with BN and ReLU, and no shortcut.

    Paper: Hasanpour, Rouhani, Fayyaz, Sabokrou 2016, arXiv:1608.06037. Idea: a careful plain net
    keeps up with deeper ones at a fraction of their parameters. Made for 32x32 pixels; BN averages
    move by 0.05 a step, as report 003 says, and initialisation is Keras's.
    Parameters: 5,521,508 trainable for 100 classes, 5,498,378 for 10, convolution biases included
    (the advertised 5.48 M leaves out biases and BN). Published on CIFAR-100: 78.24 % after 550
    epochs (the authors' log), 63.56 % after 50 (report 003).
    """
    stages, before = {}, channels
    for number, group in enumerate(GROUPS, start=1):
        layers: list[nn.Module] = []
        for filters, kernel in group:
            layers += [
                nn.Conv2d(before, filters, kernel, padding=kernel // 2),
                keras_norm(filters, momentum=0.95),
                nn.ReLU(inplace=True),
            ]
            before = filters
        # before the last ReLU: the same result for a quarter of the ReLU's work
        layers.insert(-1, nn.MaxPool2d(2) if number < len(GROUPS) else nn.AdaptiveMaxPool2d(1))
        stages[f"stage{number}"] = nn.Sequential(*layers)
    head = nn.Sequential(nn.Flatten(), nn.Linear(before, classes))
    return glorot(named(**stages, head=head))
