"""The report of a run: an examination of the shipped model, written beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from whatsit.bundle.write import write_bundle
from whatsit.evaluation.card import model_card
from whatsit.evaluation.examination import Examination
from whatsit.evaluation.examine import examine
from whatsit.evaluation.shipping import THRESHOLD_PICTURES, Shipped
from whatsit.evaluation.update import Update
from whatsit.events import Reporter
from whatsit.images.scan import Dataset
from whatsit.training.clock import Afterwards

if TYPE_CHECKING:
    from whatsit.training.trained import Trained

# Measured on a slow processor with AVX2; a fast one takes two thirds of it.
PREDICTIONS = 600  # that the report asks for
SHIPPING, REPORT = 9.0, 6.0  # seconds that depend little on the model or the images


def write_examination(
    shipped: Shipped,
    trained: Trained,
    criteria: Mapping[str, float],
    seconds: float,
    reporter: Reporter,
    update: Update | None = None,
) -> Examination | None:
    """Examine the model, write the report beside it, and add the findings to its card.

    Args:
        shipped: the model.
        trained: what it was made of.
        criteria: as `load_criteria` gives them.
        seconds: that the run has taken so far.
        reporter: gets the stages and the warnings.
        update: what changed against an earlier model.

    Returns:
        What the report is made of; None, with a warning, where it could not be made.
    """
    from whatsit.evaluation.report import write_report

    path, predictor = shipped.path, shipped.predictor
    try:
        exam = examine(predictor, path, trained, shipped.test, shipped.speed, criteria, seconds, reporter)
        exam = replace(exam, update=update)
        drawing = reporter.stage("Writing the report")
        write_report(path.parent, exam)
        drawing(1, 1)
        write_bundle(replace(predictor.bundle, card=model_card(predictor.bundle, exam)), path)
    except Exception as error:  # no error here is worth the loss of hours of training
        reporter.warn(
            f"the report could not be made ({type(error).__name__}: {error}); the model and its metrics are complete"
        )
        return None
    for alarm in exam.alarms[len(exam.warnings) :]:  # those were reported when training ended
        reporter.warn(alarm)
    return exam


def afterwards(dataset: Dataset, *, report: bool) -> Afterwards:
    """Return the work that follows training, as measured: thresholds, test, report."""
    test = len(dataset.of("test"))
    pictures = min(len(dataset.of("validation")), THRESHOLD_PICTURES) + test
    # Of test pictures the report has features computed, too, for the linear probe.
    return Afterwards(pictures, SHIPPING, Afterwards(test + PREDICTIONS, REPORT) if report else None)
