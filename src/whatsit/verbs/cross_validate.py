"""Cross-validation: how good a recipe is on few images, each of them tested once."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.cache import working
from whatsit.evaluation.cross_validation import CrossValidation
from whatsit.events import SILENT, Reporter, Work
from whatsit.files import write_text
from whatsit.images.batches import decode_batches
from whatsit.images.data import split_data
from whatsit.images.pictures import SPLITS, label_numbers
from whatsit.images.scan import Dataset
from whatsit.run.folds import FoldsAsked, deal
from whatsit.training.clock import Clock
from whatsit.training.recipe import Recipe
from whatsit.training.start import train_dataset

FOLDS = 3


@working()
def cross_validate(
    folder: str | Path,
    *,
    folds: int = FOLDS,
    recipe: str = "fast",
    backbone: str | None = None,
    weights: str | Path | None = None,
    settings: dict[str, Any] | None = None,
    limit: int | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> CrossValidation:
    """Train as `train` does, once for each fold, and test on that fold.

    Args:
        folder: of class folders, without splits of its own.
        folds: every class needs as many different images, and two more for training and validation.
        recipe: as for `train`, but for `best`, which fits into a time limit.
        backbone: as for `train`.
        weights: as for `train`.
        settings: as for `train`.
        limit: as for `train`.
        seed: as for `train`.
        out: a file to write the result into, as JSON.
        reporter: gets progress and warnings.

    Returns:
        The predictions of all folds together, and their metrics: every picture is tested once.

    Raises:
        UsageError: there are fewer than two folds, or the recipe is `best`.
        DataError: a class has too few images, or the folder comes with splits; otherwise as `train` does.
    """
    asked = FoldsAsked(recipe, backbone, weights, settings or {}, limit, seed)
    dataset, plan, parts = deal(folder, folds, asked, reporter)
    total = np.zeros((len(dataset.classes), len(dataset.classes)), np.int64)
    with tempfile.TemporaryDirectory(prefix="whatsit-") as scratch:
        advance = reporter.stage(f"Cross-validating ({folds} folds)", Work.CROSS_VALIDATION)
        for fold in range(folds):
            advance(fold, folds)
            splits = np.where(parts == fold, SPLITS.index("test"), SPLITS.index("train"))
            fresh = replace(dataset, pictures=dataset.pictures.with_splits(splits))
            fresh = split_data(fresh, plan.seed, SILENT, fractions=plan.fractions)
            total += _confusion(fresh, plan, Path(scratch) / str(fold))
        advance(folds, folds)
    found = CrossValidation(dataset.classes, tuple(tuple(map(int, row)) for row in total), folds)
    if out is not None:
        write_text(Path(out), json.dumps(found.to_json(), ensure_ascii=False, indent=1) + "\n")
    return found


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
