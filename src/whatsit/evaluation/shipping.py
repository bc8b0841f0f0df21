"""What is measured on a bundle's own graph: thresholds, test metrics and speed.

They go into the bundle, with reference predictions and the model card.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whatsit.bundle.costs import Costs, Prices, rounded
from whatsit.bundle.format import Bundle, Conformal, UnknownRule
from whatsit.bundle.read import read_bundle
from whatsit.bundle.write import write_bundle
from whatsit.evaluation.card import model_card
from whatsit.evaluation.evaluate import Evaluation, LeakageMetrics, evaluate_pictures, measure_leakage
from whatsit.evaluation.prices import fit_costs, measure_costs
from whatsit.evaluation.reference import choose_references, drawn_references
from whatsit.evaluation.speed import Speed, measure_speed, megabytes
from whatsit.events import Reporter
from whatsit.graph.costs import with_costs
from whatsit.images.scan import Dataset
from whatsit.models.unknown import METHOD
from whatsit.runtime.predictor import Predictor

THRESHOLD_PICTURES = 5000  # of the validation split; the chance of a quantile moves by half a percent with these


@dataclass(frozen=True)
class Shipped:
    """A bundle that is written and opened, with what was measured of it."""

    path: Path
    predictor: Predictor
    test: Evaluation
    leakage: LeakageMetrics
    speed: Speed

    @property
    def megabytes(self) -> float:
        """The size of the file now: the report adds to the card in it."""
        return megabytes(self.path)


def set_thresholds(
    predictor: Predictor, dataset: Dataset, reporter: Reporter, prices: Prices | None = None
) -> Predictor:
    """Return the predictor with thresholds, fitted on validation images.

    That of unknown images only where the bundle has a score for them. With `prices` it answers what costs least.
    """
    from whatsit.training.calibration import acceptance_threshold, conformal_scores

    pictures = dataset.of("validation")
    order = np.random.default_rng(0).permutation(len(pictures))[:THRESHOLD_PICTURES]
    seen = evaluate_pictures(
        predictor, dataset, pictures.take(order), reporter.stage("Setting thresholds (validation)")
    )
    unknown = UnknownRule(METHOD, *acceptance_threshold(seen.ood_scores)) if predictor.bundle.unknown else None
    scores = conformal_scores(seen.labels, seen.probabilities)
    bundle = replace(
        predictor.bundle,
        unknown=unknown,
        conformal=Conformal(tuple(float(score) for score in scores)),
    )
    if prices is not None:
        bundle = with_prices(bundle, prices, seen, reporter)
    return predictor.with_bundle(bundle)


def with_prices(bundle: Bundle, prices: Prices | None, seen: Evaluation | None, reporter: Reporter) -> Bundle:
    """Return a bundle that answers what costs least.

    Without `prices` it answers the most probable class. `seen` are the validation images, by which promises are kept; a warning
    says which cannot be made.
    """
    if prices is None:
        return replace(bundle, costs=None, graph=with_costs(bundle.graph, None))
    costs = fit_costs(prices, seen) if seen else Costs(rounded(prices.decisive(bundle.classes, {})), prices)
    for promise in costs.promises:
        (reporter.say if promise.is_made else reporter.warn)(promise.sentence)
    return replace(bundle, costs=costs, graph=with_costs(bundle.graph, costs.matrix))


def ship_unmeasured(bundle: Bundle, path: Path) -> None:
    """Write a bundle of which nothing is measured, with drawn reference pictures."""
    bundle = replace(bundle, references=drawn_references(bundle))
    write_bundle(replace(bundle, card=model_card(bundle)), path)


def ship(predictor: Predictor, path: Path, dataset: Dataset, reporter: Reporter) -> Shipped:
    """Write a predictor's bundle, read it again, and add its metrics on test images."""
    write_bundle(predictor.bundle, path)
    predictor = predictor.with_bundle(read_bundle(path))
    testing = reporter.stage("Testing the shipped model")
    test = evaluate_pictures(predictor, dataset, dataset.of("test"), testing)
    leakage, bundle = measure_leakage(test, dataset.leakage), predictor.bundle
    costs = measure_costs(test)
    metrics = test.metrics.to_json() | ({"costs": costs.to_json()} if costs else {})
    if bundle.unknown:
        metrics["refused"] = float(test.unknown.mean())
    bundle = replace(bundle, test=metrics, references=choose_references(bundle, dataset, test.pictures))
    bundle = replace(bundle, card=model_card(bundle, leakage=leakage))
    write_bundle(bundle, path)
    predictor = predictor.with_bundle(bundle)
    return Shipped(path, predictor, test, leakage, measure_speed(predictor))
