"""Folds for cross-validation: near-duplicates and groups stay in one of them."""

from __future__ import annotations

import numpy as np

from whatsit.arrays import Int64
from whatsit.errors import DataError
from whatsit.events import Reporter
from whatsit.images.audit import audit
from whatsit.images.groups import connect, group_numbers, in_order
from whatsit.images.near import near_pairs_of
from whatsit.images.scan import Dataset


def deal_folds(dataset: Dataset, folds: int, reporter: Reporter) -> Int64:
    """Return the fold of each image, from 0; -1 for the unreadable.

    Every class is spread evenly over the folds.

    Raises:
        DataError: a class has fewer different images than folds.
    """
    looked = audit(dataset)
    near = connect(near_pairs_of(looked, reporter.warn))
    numbers, by_label = group_numbers(looked.pictures, near, column=True), looked.pictures.rows_by_label()
    rows_of = {label: by_label.get(label, np.empty(0, np.int64)) for label in dataset.classes}
    groups_of = {label: in_order(numbers[rows]) for label, rows in rows_of.items()}
    rng = np.random.default_rng(0)
    fold_of = np.full(len(looked.pictures) + 1, -1)
    # A group that several classes have pictures of goes where the class with the fewest groups has it.
    for label, groups in sorted(groups_of.items(), key=lambda item: len(item[1])):
        if len(groups) < folds:
            count = len(rows_of[label])
            raise DataError(
                f"{dataset.source}: of the {count:,} pictures of the class '{label}', {len(groups)} are different (those of one "
                f"group count as one); at least {folds} are needed"
            )
        order = groups[rng.permutation(len(groups))]
        fold_of[order] = np.where(fold_of[order] < 0, np.arange(len(order)) % folds, fold_of[order])
    found = np.full(len(dataset.pictures), -1)
    found[dataset.pictures.named(looked.pictures.names())] = fold_of[numbers]
    return found
