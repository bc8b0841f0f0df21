"""How a bundle gets what is measured on it: its thresholds, its test figures, its golden pictures and its card."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from whatsit.bundle.format import Bundle, Conformal, UnknownRule
from whatsit.bundle.read import read_bundle
from whatsit.bundle.write import write_bundle
from whatsit.evaluation.card import model_card
from whatsit.evaluation.evaluate import Evaluation, evaluate_pictures, leakage_figures
from whatsit.evaluation.reference import golden_pictures
from whatsit.images.scan import Dataset
from whatsit.models.unknown import METHOD
from whatsit.progress import Reporter
from whatsit.runtime.predictor import Predictor

THRESHOLD_PICTURES = 5000  # validation pictures; the chance of a quantile moves by half a percent with so many


def set_thresholds(bundle: Bundle, dataset: Dataset, reporter: Reporter) -> Bundle:
    """Fit what is set by the answers of the shipped graph on the validation pictures."""
    from whatsit.training.calibration import acceptance_threshold, conformal_scores

    pictures = dataset.of("validation")
    order = np.random.default_rng(0).permutation(len(pictures))[:THRESHOLD_PICTURES]
    seen = evaluate_pictures(
        Predictor(bundle), dataset, [pictures[i] for i in order], reporter.stage("Setting thresholds (validation)")
    )
    threshold, accepts = acceptance_threshold(seen.ood_scores)
    scores = conformal_scores(seen.labels, seen.probabilities)
    return replace(
        bundle,
        unknown=UnknownRule(METHOD, threshold, accepts),
        conformal=Conformal(tuple(float(score) for score in scores)),
    )


def ship(bundle: Bundle, path: Path, dataset: Dataset, reporter: Reporter) -> tuple[Predictor, Evaluation]:
    """Write the bundle, open it as anybody would, measure it on the test pictures, write the figures into it, and open that."""
    write_bundle(bundle, path)
    shipped = read_bundle(path)
    evaluation = evaluate_pictures(
        Predictor(shipped), dataset, dataset.of("test"), reporter.stage("Testing the shipped model")
    )
    bundle = replace(
        shipped, test=evaluation.figures.to_json(), golden=golden_pictures(shipped, dataset, evaluation.pictures)
    )
    bundle = replace(bundle, card=model_card(bundle, leakage=leakage_figures(evaluation, dataset.leakage)))
    write_bundle(bundle, path)
    return Predictor(bundle), evaluation


def versions() -> dict[str, str]:
    """What a bundle was made with."""
    found = {"python": platform.python_version()}
    for package in (
        "whatsit",
        "tensorflow-cpu",
        "tensorflow",
        "keras",
        "onnx",
        "onnxruntime",
        "openvino",
        "numpy",
        "pillow",
    ):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
