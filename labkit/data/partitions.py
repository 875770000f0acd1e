"""The coarse groups of report 000: CIFAR-100 cut into three or four parts by hand.

The groups, their order and their oddities are the report's: `worm` is a small object, `beetle`,
`lizard` and `dinosaur` stay on land when the other small animals leave, `beaver` stays on land
while `otter` and `seal` are aquatic. The names of the groups are ours.
"""

from __future__ import annotations

__all__ = ["PARTITIONS"]

_SMALL = """apple bottle bowl can clock cup keyboard lamp mushroom orange orchid pear plate poppy
    rose sunflower sweet_pepper telephone tulip worm"""
_SMALL_ANIMALS = "bee butterfly caterpillar cockroach snail snake spider"
_LAND = """baby bear beaver beetle boy camel cattle chimpanzee dinosaur elephant fox girl hamster
    kangaroo leopard lion lizard man mouse porcupine possum rabbit raccoon shrew skunk squirrel
    tiger wolf woman"""
_AQUATIC = """aquarium_fish crab crocodile dolphin flatfish lobster otter ray seal shark trout
    turtle whale"""
_LARGE = """bed bicycle bridge bus castle chair cloud couch forest house lawn_mower maple_tree
    motorcycle mountain oak_tree palm_tree pickup_truck pine_tree plain road rocket sea skyscraper
    streetcar table tank television tractor train wardrobe willow_tree"""


def _names(*groups: str) -> tuple[str, ...]:
    return tuple(sorted(name for group in groups for name in group.split()))


PARTITIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "three": {  # 20 + 49 + 31 classes
        "small objects": _names(_SMALL),
        "animals and people": _names(_SMALL_ANIMALS, _LAND, _AQUATIC),
        "large objects and scenes": _names(_LARGE),
    },
    "four": {  # 27 + 29 + 31 + 13 classes
        "small objects and small animals": _names(_SMALL, _SMALL_ANIMALS),
        "land animals and people": _names(_LAND),
        "large objects and scenes": _names(_LARGE),
        "aquatic animals": _names(_AQUATIC),
    },
}
