"""Evidence: for each row the best records that there are, and what they are, in words.

A page shows what is known, not what was just tried. Runs on synthetic images are never evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

from labkit.compare.values import Rows

__all__ = [
    "ENOUGH", "FULL", "LESSON", "PART", "SYNTHETIC_IMAGES", "SYNTHETIC_RUN", "Evidence", "budget",
    "caption", "evidence", "too_short", "updates",
]  # fmt: skip

FULL = "at the report's own budget"
PART = "for the report's own number of epochs"
LESSON = "seen in class"
SYNTHETIC_IMAGES = "synthetic images"  # by these words a page knows what is no evidence
SYNTHETIC_RUN = f"{SYNTHETIC_IMAGES}, which prove the code and nothing else"
BUDGETS = (FULL, PART, LESSON)  # the best first
ENOUGH = 300  # updates, below which a network has hardly begun: its accuracy says nothing of it
SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "tiny_imagenet": "Tiny-ImageNet"}
SHARES = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth", 10: "a tenth"}


class Evidence(Sequence[Mapping[str, Any]]):
    """The records of some rows, all seeds, in the order of the rows; `str` says what they are.

    Args:
        rows: the records of each row that was asked for; a row without any is untested.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = {row: tuple(records) for row, records in rows.items() if records}
        self.untested = tuple(row for row, records in rows.items() if not records)
        self._records = tuple(record for records in self.rows.values() for record in records)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __str__(self) -> str:
        known = caption(self) if self else "no record"
        return f"{known}; untested: {', '.join(self.untested)}" if self.untested else known

    def __repr__(self) -> str:
        return f"<Evidence of {', '.join(self.rows) or 'no row'}: {self}>"

    @property
    def first(self) -> Evidence:
        """One record a row, that of its first seed: for pictures of single answers."""
        rows = {row: records[:1] for row, records in self.rows.items()}
        return Evidence(rows | dict.fromkeys(self.untested, ()))


def evidence(rows: Iterable[str], own: Rows, recorded: Rows, *, alike: bool = False) -> Evidence:
    """For each row its best records: this notebook's before the recorded ones, at each budget.

    The report's own budget comes first, then its epochs on fewer images, then a lesson. Records
    of another kind (synthetic images, a changed number of epochs) are none, nor is a lesson of
    fewer than ENOUGH updates.

    Args:
        rows: ids, in the order in which they are wanted.
        own: the runs of this notebook, by row.
        recorded: those that are published with it, by row.
        alike: all rows at one budget, that which most of them have; the others are untested there.
    """
    rows = list(rows)
    tiers = [_tier(rows, own, recorded, wanted) for wanted in BUDGETS]
    if alike:
        return Evidence(max(tiers, key=lambda tier: sum(map(bool, tier.values()))))
    return Evidence({row: next((t[row] for t in tiers if t[row]), ()) for row in rows})


def budget(record: Mapping[str, Any]) -> str:
    """FULL, PART or LESSON; SYNTHETIC_RUN, and the name of any other preset as it is."""
    if record["data"]["synthetic"]:
        return SYNTHETIC_RUN
    if record["preset"] == "full":
        return FULL if record["data"]["complete"] else PART
    return LESSON if record["preset"] == "lesson" else f"at preset {record['preset']}"


def updates(record: Mapping[str, Any]) -> int:
    """How many steps the optimizer took; in a system, those of the model that had the fewest."""
    batch, steps = record["recipe"]["batch"], {}
    for epoch in record["rows"]:
        part = epoch.get("part", "")
        steps[part] = steps.get(part, 0) + math.ceil(epoch["images"] / batch)
    return min(steps.values(), default=0)


def too_short(record: Mapping[str, Any]) -> bool:
    """Whether a lesson has fewer than ENOUGH updates."""
    return budget(record) == LESSON and updates(record) < ENOUGH


def caption(records: Iterable[Mapping[str, Any]]) -> str:
    """What records are, for a title: their budget, their images and their number of seeds."""
    records = list(records)
    if not records:
        return "no record yet"
    budgets = list(dict.fromkeys(map(budget, records)))
    if SYNTHETIC_RUN in budgets:
        return SYNTHETIC_RUN
    kind = budgets[0] if len(budgets) == 1 else " or ".join(sorted(budgets, key=_rank))
    return f"{kind}, {_images(records)}, {_seeds(records)}"


def _tier(rows: Iterable[str], own: Rows, recorded: Rows, wanted: str) -> dict[str, list]:
    """The records of each row at one budget, this notebook's where it has any."""

    def best(row: str) -> list[Mapping[str, Any]]:
        groups = ([r for r in some.get(row, ()) if _counts(r, wanted)] for some in (own, recorded))
        return next(filter(None, groups), [])

    return {row: best(row) for row in rows}


def _counts(record: Mapping[str, Any], wanted: str) -> bool:
    """Whether a record is evidence at this budget."""
    return budget(record) == wanted and not too_short(record)


def _rank(budget: str) -> int:
    return BUDGETS.index(budget) if budget in BUDGETS else len(BUDGETS)


def _seeds(records: Sequence[Mapping[str, Any]]) -> str:
    """The number of seeds a row, such as "n = 3" or "n = 1 to 3"."""
    rows = [record["row"] for record in records]
    counts = sorted({rows.count(row) for row in rows})
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]} to {counts[-1]}"


def _images(records: Sequence[Mapping[str, Any]]) -> str:
    """The images that a training had, such as "real CIFAR-100" or "a fifth of Tiny-ImageNet"."""
    sets = dict.fromkeys(SETS.get(r["data"]["name"], r["data"]["name"]) for r in records)
    counts = sorted({_reduced(record) for record in records}, key=lambda n: n or math.inf)
    least, most = counts[0], counts[-1]
    if not least:
        words = "real"
    elif least == most:
        words = f"{_share(least, records[0]['data']['published_train'])} of"
    else:
        words = f"{least:,} to {most:,} images of" if most else "all or a part of"
    return f"{words} {' and '.join(sets)}"


def _share(images: int, whole: int) -> str:
    """A number of images, as a part of the whole where the part has a name."""
    part = "" if whole % images else SHARES.get(whole // images)
    return part or f"{images:,} images"


def _reduced(record: Mapping[str, Any]) -> int:
    """How many training images there were, where the budget left some out; else 0.

    A row of the report that is itself about fewer images has at full all that it asks for.
    """
    small = record["preset"] != "full" and record["recipe"].get("train_size", 0)
    if not small and record["data"]["complete"]:
        return 0
    return small or record["data"].get("train") or record["details"]["train_images"]
