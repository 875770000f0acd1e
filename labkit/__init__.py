"""labkit: five reports on CNN image classification, as models, recipes and records.

    import labkit as lk
    report = lk.report("keras_vs_mbn", preset="smoke")
    run = report.run("002-M1")

Names are imported when first used, so that `import labkit` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labkit import compare, figures
    from labkit.data import DATASETS, Data, Split, load
    from labkit.data.augment import AUGMENTS
    from labkit.data.batches import batches
    from labkit.data.partitions import PARTITIONS
    from labkit.errors import InputError
    from labkit.models import MODELS, build, summary
    from labkit.parameters import checked_parameters
    from labkit.recipe import Hierarchy, Recipe
    from labkit.records import Record, recorded
    from labkit.reports import REPORTS
    from labkit.session import Session as report
    from labkit.train.evaluate import predict, score
    from labkit.train.fit import Run, fit

_HOME = {
    "AUGMENTS": "data.augment",
    "DATASETS": "data",
    "Data": "data",
    "Hierarchy": "recipe",
    "InputError": "errors",
    "MODELS": "models",
    "PARTITIONS": "data.partitions",
    "REPORTS": "reports",
    "Recipe": "recipe",
    "Record": "records",
    "Run": "train.fit",
    "Split": "data",
    "batches": "data.batches",
    "build": "models",
    "checked_parameters": "parameters",
    "compare": "",
    "figures": "",
    "fit": "train.fit",
    "load": "data",
    "predict": "train.evaluate",
    "recorded": "records",
    "report": "session",
    "score": "train.evaluate",
    "summary": "models",
}
_RENAMED = {"report": "Session"}

__all__ = [
    "AUGMENTS",
    "DATASETS",
    "MODELS",
    "PARTITIONS",
    "REPORTS",
    "Data",
    "Hierarchy",
    "InputError",
    "Recipe",
    "Record",
    "Run",
    "Split",
    "batches",
    "build",
    "checked_parameters",
    "compare",
    "figures",
    "fit",
    "load",
    "predict",
    "recorded",
    "report",
    "score",
    "summary",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"labkit has no {name!r}; it has {', '.join(__all__)}")
    home = _HOME[name]
    if not home:
        return importlib.import_module(f"labkit.{name}")
    attribute = _RENAMED.get(name, name)
    value = getattr(importlib.import_module(f"labkit.{home}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
