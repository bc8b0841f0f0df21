"""How good a recipe is on few pictures: trained several times, each time tested on others."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.errors import DataError
from whatsit.evaluation.metrics import Figures, Interval, wilson_interval
from whatsit.files import spreadsheet_safe, write_text
from whatsit.images.audit import audit
from whatsit.images.near import near_duplicates
from whatsit.images.scan import Dataset, Picture
from whatsit.progress import SILENT, Reporter
from whatsit.verbs.data import open_data
from whatsit.verbs.train import train

FOLDS = 3


@dataclass(frozen=True)
class CrossValidation:
    """What came of all folds: every picture was tested once, by a model that had seen neither it nor one nearly the same."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]  # [true][answer]
    folds: int

    @property
    def n(self) -> int:
        """Pictures tested."""
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        """Right answers."""
        return sum(row[place] for place, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.right / self.n

    @property
    def accuracy_ci95(self) -> Interval:
        """By Wilson (1927), as if all were tested by one model."""
        return wilson_interval(self.right, self.n)

    def recall(self) -> dict[str, float]:
        """Of each class, the share that was found."""
        return {
            label: row[place] / sum(row)
            for place, (label, row) in enumerate(zip(self.classes, self.confusion, strict=True))
            if sum(row)
        }


def cross_validate(
    folder: str | Path, *, folds: int = FOLDS, reporter: Reporter = SILENT, **options: Any
) -> CrossValidation:
    """Train `folds` times on a folder of class folders, by the same `train`, each time testing on another part.

    Args:
        folder: of class folders, without splits of its own.
        folds: parts; every class needs as many different pictures, and two more to train and to choose by.
        options: as for `train`: `recipe`, `settings`, `seed`, ...

    Raises:
        DataError: a class has too few pictures, or the folder comes with splits. Else as `train` does.
    """
    dataset = open_data(folder, reporter)
    if any(picture.split for picture in dataset.pictures):
        raise DataError(f"{folder}: these pictures come with splits; cross-validation needs to deal them itself")
    parts = _deal(dataset, folds)
    total: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="whatsit-") as scratch:
        for fold in range(folds):
            table = _table(dataset, folder, [part == fold for part in parts])
            write_text(Path(scratch) / f"{fold}.csv", table)
            run = train(Path(scratch) / f"{fold}.csv", out=Path(scratch) / f"run{fold}", report=False, **options)
            total.append(run.test)
    confusion = np.sum([np.array(figures.confusion) for figures in total], axis=0)
    return CrossValidation(dataset.classes, tuple(tuple(map(int, row)) for row in confusion), folds)


def _deal(dataset: Dataset, folds: int) -> Sequence[int]:
    """The fold of each picture: every class alike in all, near-duplicates in one."""
    looked = audit(dataset)
    names = {picture.name: place for place, picture in enumerate(looked.pictures)}
    group = list(range(len(looked.pictures)))
    for places in near_duplicates(looked.thumbs, sides=looked.sides):
        for place in places:
            group[place] = places[0]
    by_class: dict[str, list[int]] = {}
    for place, picture in enumerate(looked.pictures):
        of_class = by_class.setdefault(picture.label, [])
        if group[place] not in of_class:
            of_class.append(group[place])
    rng = np.random.default_rng(0)
    fold_of: dict[int, int] = {}
    for label in dataset.classes:
        members = by_class.get(label, [])
        if len(members) < folds:
            raise DataError(
                f"{dataset.source}: the class '{label}' has {len(members)} different pictures; at least {folds} are needed"
            )
        for number, place in enumerate(rng.permutation(members)):
            fold_of.setdefault(int(place), number % folds)
    return [_fold(picture, names, group, fold_of) for picture in dataset.pictures]


def _fold(picture: Picture, names: dict[str, int], group: list[int], fold_of: dict[int, int]) -> int:
    place = names.get(picture.name)
    return -1 if place is None else fold_of[group[place]]


def _table(dataset: Dataset, folder: str | Path, tested: Sequence[bool]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["path", "label", "split"])
    for picture, held in zip(dataset.pictures, tested, strict=True):
        path = str(Path(folder).resolve() / picture.name)
        cells = (spreadsheet_safe(path), spreadsheet_safe(picture.label))
        writer.writerow([*cells, "test" if held else "train"])
    return text.getvalue()
