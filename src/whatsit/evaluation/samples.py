"""Pictures that stand for many: evenly spread, or every class in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, zip_longest
from typing import TypeVar

from whatsit.images.pictures import Picture

Item = TypeVar("Item")


def evenly(items: Sequence[Item], count: int) -> Sequence[Item]:
    """Return `count` items at even steps from the first on."""
    return items[:: max(1, len(items) // count)][:count]


def in_turn(pictures: Iterable[Picture], classes: Sequence[str], count: int) -> list[Picture]:
    """Return the first picture of every class, then the second, up to `count`."""
    by_class: dict[str, list[Picture]] = {label: [] for label in classes}
    for picture in pictures:
        by_class[picture.label].append(picture)
    turns = zip_longest(*by_class.values())
    return list(islice((picture for turn in turns for picture in turn if picture is not None), count))
