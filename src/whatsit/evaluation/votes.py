"""Fit the votes of an ensemble on the validation images, and test each member."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whatsit.bundle.ensemble import Vote
from whatsit.bundle.format import Bundle
from whatsit.errors import DataError
from whatsit.evaluation.evaluate import evaluate_pictures
from whatsit.events import Reporter
from whatsit.images.scan import Dataset
from whatsit.runtime.predictor import Predictor
from whatsit.training.selection import fit_votes


def fit_member_votes(
    models: Sequence[str | Path], bundles: Sequence[Bundle], dataset: Dataset, reporter: Reporter
) -> tuple[tuple[Vote, ...], float]:
    """Return the members' votes, and what their calibrated logits are multiplied by."""
    validation, logits, tests = dataset.of("validation"), [], []
    for number, (model, bundle) in enumerate(zip(models, bundles, strict=True), 1):
        predictor = Predictor(bundle)
        validating, testing = (
            reporter.stage(f"{what} {model} ({number} of {len(models)})") for what in ("Validating", "Testing")
        )
        answers = evaluate_pictures(predictor, dataset, validation, validating)
        if answers.failed:
            name, reason = answers.failed[0]
            raise DataError(f"{dataset.source}: {name} cannot be read any more: {reason}")
        logits.append(np.log(np.maximum(answers.probabilities, 1e-12)))
        tests.append(evaluate_pictures(predictor, dataset, dataset.of("test"), testing).metrics)
    fitted = fit_votes(logits, validation.numbers(dataset.classes))
    votes = zip(models, fitted.weights, tests, strict=True)
    return tuple(Vote(str(model), weight, test.accuracy) for model, weight, test in votes), fitted.sharpness
