"""Cross-validation: how good a recipe is on few images, each of them tested once."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.cache import working
from whatsit.errors import DataError
from whatsit.evaluation.metrics import Interval, wilson_interval
from whatsit.events import SILENT, Reporter
from whatsit.images.batches import decode_batches
from whatsit.images.data import open_data, split_data
from whatsit.images.folds import deal_folds
from whatsit.images.pictures import SPLITS, label_numbers
from whatsit.images.scan import Dataset
from whatsit.run.plan import make_plan
from whatsit.training.clock import Clock
from whatsit.training.recipe import Recipe
from whatsit.training.start import train_dataset

FOLDS = 3


@dataclass(frozen=True)
class CrossValidation:
    """The predictions of all folds; no model had seen an image it was tested on."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]  # [true][predicted]
    folds: int

    @property
    def n(self) -> int:
        """The number of tested images."""
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        """The number of right predictions."""
        return sum(row[place] for place, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share of right predictions."""
        return self.right / self.n

    @property
    def accuracy_ci95(self) -> Interval:
        """The interval by Wilson (1927), as if all were tested by one model."""
        return wilson_interval(self.right, self.n)

    def recall(self) -> dict[str, float]:
        """Return, for each class, the share of its images that was predicted as it."""
        rows = zip(self.classes, self.confusion, strict=True)
        return {label: row[place] / sum(row) for place, (label, row) in enumerate(rows) if sum(row)}


@working()
def cross_validate(
    folder: str | Path,
    *,
    folds: int = FOLDS,
    recipe: str = "fast",
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> CrossValidation:
    """Train as `train` does, once for each fold, and test on that fold.

    Args:
        folder: of class folders, without splits of its own.
        folds: every class needs as many different images, and two more for training and validation.
        recipe: as for `train`.
        settings: as for `train`.
        seed: as for `train`.
        reporter: gets progress and warnings.

    Raises:
        DataError: a class has too few images, or the folder comes with splits; otherwise as `train` does.
    """
    dataset = open_data(folder, reporter)
    if not dataset.pictures.where(None).all():
        raise DataError(
            f"{folder}: these pictures come with splits; cross-validation makes its own; give class folders"
        )
    plan = make_plan(recipe, None, None, seed, settings or {})
    parts = deal_folds(dataset, folds, reporter)
    total = np.zeros((len(dataset.classes), len(dataset.classes)), np.int64)
    with tempfile.TemporaryDirectory(prefix="whatsit-") as scratch:
        for fold in range(folds):
            splits = np.where(parts == fold, SPLITS.index("test"), SPLITS.index("train"))
            fresh = split_data(replace(dataset, pictures=dataset.pictures.with_splits(splits)), plan.seed, SILENT)
            total += _confusion(fresh, plan, Path(scratch) / str(fold))
    return CrossValidation(dataset.classes, tuple(tuple(map(int, row)) for row in total), folds)


def _confusion(dataset: Dataset, plan: Recipe, folder: Path) -> npt.NDArray[np.int64]:
    """Return the confusion matrix on the test images, by the fitted Keras network."""
    folder.mkdir()
    trained = train_dataset(dataset, plan, folder, Clock(None, SILENT.say), SILENT, trial=True)
    found = np.zeros((len(dataset.classes), len(dataset.classes)), np.int64)
    for batch in decode_batches(dataset.of("test"), dataset.read, trained.input_size):
        if len(batch.pixels):
            answers = trained.probabilities(batch.pixels).argmax(axis=1)
            np.add.at(found, (label_numbers(batch.good, dataset.classes), answers), 1)
    return found
