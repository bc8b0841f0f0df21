"""Folds for cross-validation: near-duplicates and groups stay in one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whatsit.errors import DataError
from whatsit.events import Reporter
from whatsit.images.audit import audit
from whatsit.images.groups import connect, with_column
from whatsit.images.near import pairs_looked_for_once
from whatsit.images.scan import Dataset, Picture


def deal_folds(dataset: Dataset, folds: int, reporter: Reporter) -> Sequence[int]:
    """Return the fold of each image, from 0; -1 for the unreadable.

    Every class is spread evenly over the folds.

    Raises:
        DataError: a class has fewer different images than folds.
    """
    looked = audit(dataset)
    digests = [picture.digest for picture in looked.pictures]
    pairs = pairs_looked_for_once(looked.thumbs, looked.sides, reporter.warn)
    near = connect((digests[i], digests[j]) for i, j in pairs.tolist())
    alike = with_column(looked.pictures, near)
    by_class: dict[str, dict[bytes, list[Picture]]] = {label: {} for label in dataset.classes}
    for picture in looked.pictures:
        by_class[picture.label].setdefault(alike.get(picture.digest, picture.digest), []).append(picture)
    rng = np.random.default_rng(0)
    fold_of: dict[bytes, int] = {}
    # A group that several classes have pictures of goes where the class with the fewest groups has it.
    for label, groups in sorted(by_class.items(), key=lambda item: len(item[1])):
        if len(groups) < folds:
            count = sum(map(len, groups.values()))
            raise DataError(
                f"{dataset.source}: of the {count:,} pictures of the class '{label}', {len(groups)} are different (those of one "
                f"group count as one); at least {folds} are needed"
            )
        keys = list(groups)
        for number, place in enumerate(rng.permutation(len(keys))):
            fold_of.setdefault(keys[place], number % folds)
    readable = {picture.name for picture in looked.pictures}
    return [fold_of[alike.get(p.digest, p.digest)] if p.name in readable else -1 for p in dataset.pictures]
