"""`whatsit compare`: two models on the same labelled pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from whatsit.errors import DataError, UsageError
from whatsit.evaluation.comparison_page import render, require_page
from whatsit.evaluation.evaluate import evaluate_pictures
from whatsit.evaluation.paired import ModelComparison, compare_evaluations
from whatsit.events import SILENT, Reporter
from whatsit.files import write_text
from whatsit.images.data import open_data, report_data
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset
from whatsit.images.split import without_conflicts
from whatsit.run.data import open_as_in_run
from whatsit.run.record import trained_on
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
    Pictures of classes that one of the models does not know are left out, those that either was trained on, as far as run
    folders say so, and, as in training, those that lie under several labels.

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
        UsageError: `out` is no .html file.
        DataError: there are no pictures to compare on.
        BundleError: a model cannot be read.
    """
    require_page(out)
    predictors = [Predictor(model, runtime=runtime) for model in (first, second)]
    dataset = open_data(data, reporter)
    report_data(dataset, reporter)
    found = _compare_on(dataset, predictors, (first, second), reporter)
    if out is not None:
        write_text(Path(out), render(found, dataset))
    return found


def compare_runs(first: str | Path, second: str | Path, *, reporter: Reporter = SILENT) -> ModelComparison:
    """Compare two runs as `compare` does, on the test pictures of the first.

    Where those are not there any more, on those of the second. Raises `UsageError` or `DataError` where neither are, or none
    of them is fair to both.
    """
    models, predictors = (first, second), [Predictor(model) for model in (first, second)]
    reasons: list[UsageError | DataError] = []
    for model, predictor in zip(models, predictors, strict=True):
        try:
            dataset = open_as_in_run(model, predictor.bundle, None, reporter)
            return _compare_on(dataset, predictors, models, reporter)
        except (UsageError, DataError) as error:
            reasons.append(error)
    raise reasons[0]


def _compare_on(
    dataset: Dataset, predictors: list[Predictor], models: tuple[str | Path, str | Path], reporter: Reporter
) -> ModelComparison:
    pictures = _fair(dataset, predictors, models, reporter)
    evaluations = [
        evaluate_pictures(predictor, dataset, pictures, reporter.stage(f"Evaluating {model}"))
        for predictor, model in zip(predictors, models, strict=True)
    ]
    return compare_evaluations((str(models[0]), str(models[1])), *evaluations)


def _fair(
    dataset: Dataset, predictors: list[Predictor], models: tuple[str | Path, str | Path], reporter: Reporter
) -> Pictures:
    """Return pictures of one label, which both know, and that neither was trained on."""
    given = len(dataset.notes)
    dataset = without_conflicts(dataset)
    for note in dataset.notes[given:]:
        reporter.warn(note)
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
        learned = trained_on(model)
        if learned is None:
            reporter.warn(
                f"{model}: which pictures it was trained on is not known; give its run folder, or pictures that are new to both"
            )
            continue
        seen = np.isin(pictures.keys, learned)
        if seen.any():
            reporter.warn(f"{seen.sum():,} pictures that {model} was trained on are left out")
            pictures = pictures.take(~seen)
    if not len(pictures):
        raise DataError(
            f"{dataset.source}: there is no picture of a class that both models know and that neither was trained on; give other "
            f"pictures"
        )
    return pictures
