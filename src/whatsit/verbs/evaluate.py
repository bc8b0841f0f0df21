"""`whatsit evaluate`: measure a shipped model on labelled pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from whatsit.bundle.read import run_folder
from whatsit.evaluation.evaluate import Evaluation, evaluate_pictures
from whatsit.events import SILENT, Reporter
from whatsit.images.data import open_data, report_data, report_unreadable, require_classes
from whatsit.run.data import with_new_names
from whatsit.run.record import trained_on
from whatsit.run_files import METRICS
from whatsit.runtime.predictor import Predictor


def evaluate(model: str | Path, data: str | Path, *, runtime: str = "auto", reporter: Reporter = SILENT) -> Evaluation:
    """Measure a model on the test split of DATA, or on all of it without one.

    Args:
        model: a `.whatsit` file or a run folder.
        data: labelled pictures, as for `train`.
        runtime: as for `Predictor`.
        reporter: gets progress and warnings.

    Returns:
        The metrics, with 95 % intervals; shares are from 0 to 1.

    Raises:
        BundleError: the model cannot be read.
        DataError: the data cannot be used, or have a class that the model does not know, or the run's list of its pictures
            is damaged.
    """
    predictor = Predictor(model, runtime=runtime)
    dataset = open_data(data, reporter)
    report_data(dataset, reporter)
    dataset = with_new_names(dataset, predictor.bundle)
    require_classes(dataset, predictor.classes)
    pictures = dataset.of("test") or dataset.pictures
    known = trained_on(model)
    if known is not None and (seen := int(np.isin(pictures.keys, known).sum())):
        reporter.warn(
            f"{seen:,} of these {len(pictures):,} pictures were used in training, so the metrics flatter the model; "
            f"the honest ones are in {run_folder(model)}/{METRICS}"
        )
    evaluation = evaluate_pictures(predictor, dataset, pictures, reporter.stage("Evaluating"))
    report_unreadable(evaluation.failed, reporter)
    return evaluation
