"""What ten seeds of a short training on synthetic images gave: the band of sweep/test_bands.py.

`python tests/band.py` trains them again and writes band.json, for when the stand-in, the
recipe or the network is meant to change.
"""

import json
import os
import tempfile
from pathlib import Path

import torch

from labkit.recipe import Recipe
from labkit.train.fit import fit

BAND = Path(__file__).with_name("band.json")
RECIPE = Recipe(
    dataset="synthetic_cifar10", model="mnist_net", epochs=3, batch=50, optimizer="adam", lr=1e-3,
    train_size=500, test_size=1000, precision="fp32",
)  # fmt: skip


def top1(seed: int) -> float:
    """The test accuracy of a fresh training."""
    return fit(RECIPE.replace(seed=seed), fresh=True).record["test"]["top1"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LABKIT_RUNS"] = folder
        values = {"digest": RECIPE.digest, "torch": torch.__version__,
                  "scores": [top1(seed) for seed in range(10)]}  # fmt: skip
    BAND.write_text(json.dumps(values, indent=1) + "\n")
