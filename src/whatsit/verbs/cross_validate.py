"""How good a recipe is on few pictures: trained several times, each time tested on others."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.errors import DataError
from whatsit.evaluation.metrics import Interval, wilson_interval
from whatsit.images.audit import audit
from whatsit.images.batches import decode_batches
from whatsit.images.near import near_duplicates
from whatsit.images.scan import Dataset, Picture, label_numbers
from whatsit.progress import SILENT, Reporter
from whatsit.training.clock import Clock
from whatsit.training.recipe import Recipe
from whatsit.verbs.data import open_data, split_data
from whatsit.verbs.plan import make_plan

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
    folder: str | Path,
    *,
    folds: int = FOLDS,
    recipe: str = "fast",
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> CrossValidation:
    """Train `folds` times on a folder of class folders, as `train` does, each time testing on another part.

    Args:
        folder: of class folders, without splits of its own.
        folds: parts; every class needs as many different pictures, and two more to train and to choose by.
        recipe, settings, seed: as for `train`.
        reporter: is told about progress.

    Raises:
        DataError: a class has too few pictures, or the folder comes with splits. Else as `train` does.
    """
    dataset = open_data(folder, reporter)
    if any(picture.split for picture in dataset.pictures):
        raise DataError(f"{folder}: these pictures come with splits; cross-validation needs to deal them itself")
    plan = make_plan(recipe, None, None, seed, settings or {})
    parts = _deal(dataset, folds, reporter)
    total = np.zeros((len(dataset.classes), len(dataset.classes)), np.int64)
    with tempfile.TemporaryDirectory(prefix="whatsit-") as scratch:
        for fold in range(folds):
            held = [part == fold for part in parts]
            dealt = tuple(
                replace(picture, split="test" if test else "train")
                for picture, test in zip(dataset.pictures, held, strict=True)
            )
            fresh = split_data(replace(dataset, pictures=dealt), plan.seed, SILENT)
            total += _confusion(fresh, plan, Path(scratch) / str(fold))
    return CrossValidation(dataset.classes, tuple(tuple(map(int, row)) for row in total), folds)


def _confusion(dataset: Dataset, plan: Recipe, folder: Path) -> npt.NDArray[np.int64]:
    """What a model trained on a part of the data says of the test pictures, `[true, answer]`.

    The network that was fitted answers; the graph that would ship is proven to say the same (`whatsit verify`).
    """
    from whatsit.models.backend import load_keras

    load_keras()
    from whatsit.training.loop import in_slices
    from whatsit.training.train import train_by_recipe

    folder.mkdir()
    clock = Clock(None, SILENT.say)
    model = train_by_recipe(dataset, plan, folder, clock, time.perf_counter(), SILENT, trial=True).keras_model()
    height, width = (int(side) for side in model.input.shape[1:3])
    found = np.zeros((len(dataset.classes), len(dataset.classes)), np.int64)
    for batch in decode_batches(dataset.of("test"), dataset.read, (height, width)):
        if len(batch.pixels):
            answers = in_slices(model, batch.pixels).argmax(axis=1)
            np.add.at(found, (label_numbers(batch.good, dataset.classes), answers), 1)
    return found


def _deal(dataset: Dataset, folds: int, reporter: Reporter) -> Sequence[int]:
    """The fold of each picture: every class alike in all, near-duplicates in one."""
    looked = audit(dataset)
    names = {picture.name: place for place, picture in enumerate(looked.pictures)}
    group = list(range(len(looked.pictures)))
    for places in near_duplicates(looked.thumbs, sides=looked.sides, warn=reporter.warn):
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
