"""`whatsit compare`: two models on the same labelled pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from whatsit.bundle.read import run_folder
from whatsit.errors import DataError
from whatsit.evaluation.comparison_page import render
from whatsit.evaluation.evaluate import evaluate_pictures
from whatsit.evaluation.paired import ModelComparison, compare_evaluations
from whatsit.events import SILENT, Reporter
from whatsit.files import write_text
from whatsit.images.data import open_data, report_data
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset
from whatsit.run.record import read_split
from whatsit.runtime.predictor import Predictor


def compare(
    first: str | Path,
    second: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    runtime: str = "auto",
    reporter: Reporter = SILENT,
) -> ModelComparison:
    """Compare two models on the test split of DATA, or on all of it without one.

    Both predict the same pictures, so the difference is that of pairs: its interval is narrower than those of two accuracies.
    Pictures of classes that one of the models does not know are left out, and those that either was trained on, as far as run
    folders say so.

    Args:
        first: a `.whatsit` file or a run folder.
        second: the same, compared with the first.
        data: labelled pictures, as for `train`.
        out: a page to write, with the pictures that they name differently.
        runtime: as for `Predictor`.
        reporter: takes events.

    Returns:
        Both accuracies, their paired difference with its interval, each class, and the pictures that
        are named differently.

    Raises:
        DataError: there are no pictures to compare on.
        BundleError: a model cannot be read.
    """
    predictors = [Predictor(model, runtime=runtime) for model in (first, second)]
    dataset = open_data(data, reporter)
    report_data(dataset, reporter)
    pictures = _fair(dataset, predictors, (first, second), reporter)
    evaluations = [
        evaluate_pictures(predictor, dataset, pictures, reporter.stage(f"Evaluating {model}"))
        for predictor, model in zip(predictors, (first, second), strict=True)
    ]
    found = compare_evaluations((str(first), str(second)), *evaluations)
    if out is not None:
        write_text(Path(out), render(found, dataset))
    return found


def _fair(
    dataset: Dataset, predictors: list[Predictor], models: tuple[str | Path, str | Path], reporter: Reporter
) -> Pictures:
    """Return the pictures that both know the class of, and neither was trained on."""
    pictures = dataset.of("test") or dataset.pictures
    known = set(predictors[0].classes) & set(predictors[1].classes)
    there = np.array([label in known for label in pictures.label_names], bool)[pictures.labels]
    if not there.all():
        odd = sorted({*pictures.take(~there).counts()})
        reporter.warn(
            f"{(~there).sum():,} pictures of classes that not both models know are left out, such as {odd[0]}"
        )
    pictures = pictures.take(there)
    for model in models:
        folder = run_folder(model)
        if folder is None:
            reporter.warn(
                f"{model}: which pictures it was trained on is not known; give its run folder, or pictures that are new to both"
            )
            continue
        recorded = read_split(folder)
        seen = np.isin(pictures.keys, recorded.take(~recorded.where("test")).keys)
        if seen.any():
            reporter.warn(f"{seen.sum():,} pictures that {model} was trained on are left out")
            pictures = pictures.take(~seen)
    if not len(pictures):
        raise DataError(
            f"{dataset.source}: there is no picture of a class that both models know and that neither was trained on; give other "
            f"pictures"
        )
    return pictures
