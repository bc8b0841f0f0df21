"""`whatsit evaluate`: the figures of a shipped model on labelled pictures."""

from __future__ import annotations

import csv
from pathlib import Path

from whatsit.evaluation.evaluate import Evaluation, evaluate_pictures
from whatsit.images.scan import Picture
from whatsit.progress import SILENT, Reporter
from whatsit.runtime.predictor import Predictor
from whatsit.verbs.data import open_data, require_classes, tell_unreadable


def _trained_on(run: Path, pictures: list[Picture]) -> int:
    """How many of the pictures the run trained on or chose by; 0 where MODEL is not a run folder."""
    if not (run / "split.csv").is_file():
        return 0
    with (run / "split.csv").open(encoding="utf-8", newline="") as file:
        used = {row["sha256"] for row in csv.DictReader(file) if row["split"] != "test"}
    return sum(picture.digest.hex() in used for picture in pictures)


def evaluate(model: str | Path, data: str | Path, *, runtime: str = "auto", reporter: Reporter = SILENT) -> Evaluation:
    """Measure a model on DATA: on its test split where it comes with one, else on every picture.

    Raises:
        BundleError: the model cannot be read. DataError: the data cannot be used, or hold a class unknown to the model.
    """
    predictor = Predictor(model, runtime=runtime)
    dataset = open_data(data, reporter)
    require_classes(dataset, predictor.classes)
    pictures = dataset.of("test") or list(dataset.pictures)
    if seen := _trained_on(Path(model), pictures):
        reporter.warn(
            f"{seen:,} of these {len(pictures):,} pictures were used in training, so the figures flatter the model; "
            f"the honest ones are in {Path(model)}/metrics.json"
        )
    evaluation = evaluate_pictures(predictor, dataset, pictures, reporter.stage("Evaluating"))
    tell_unreadable((*dataset.unreadable, *evaluation.failed), reporter)
    return evaluation
