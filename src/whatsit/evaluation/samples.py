"""Pictures that stand for many: evenly spread, or every class in turn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, zip_longest

import numpy as np

from whatsit.images.pictures import Picture, Pictures


def in_turn(pictures: Iterable[Picture], classes: Sequence[str], count: int) -> list[Picture]:
    """Return the first picture of every class, then the second, up to `count`."""
    columns = Pictures.of(pictures)
    by_label = columns.rows_by_label()
    turns = zip_longest(*(by_label[label][:count].tolist() for label in classes if label in by_label))
    rows = islice((row for turn in turns for row in turn if row is not None), count)
    return [columns[row] for row in rows]


def evenly(pictures: Pictures, classes: Iterable[str], count: int) -> dict[str, list[str]]:
    """Return the names of `count` pictures of each class at even steps."""
    by_label, none = pictures.rows_by_label(), np.empty(0, np.int64)
    rows = {label: by_label.get(label, none) for label in classes}
    return {label: [*pictures.take(own[:: max(1, len(own) // count)][:count]).names()] for label, own in rows.items()}
