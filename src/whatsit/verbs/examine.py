"""Questions a freshly trained model and gathers the answers for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whatsit.evaluation.criteria import check_criteria, is_from_scratch
from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.examination import Examination, find_mistakes, measure_coverage, sample_pixels
from whatsit.evaluation.leakage import leakage_figures
from whatsit.evaluation.shortcuts import PICTURES, look_for_shortcuts
from whatsit.evaluation.speed import Speed, megabytes
from whatsit.evaluation.strangers import meet_strangers
from whatsit.images.scan import typical_size
from whatsit.images.split import limit
from whatsit.progress import Reporter
from whatsit.runtime.explain import Explainer
from whatsit.runtime.predictor import Predictor

if TYPE_CHECKING:
    from whatsit.training.trained import Trained


PROBED = 10_000  # pictures of all splits, for a probe whose features were not computed in training


def examine(
    predictor: Predictor,
    path: Path,
    trained: Trained,
    test: Evaluation,
    speed: Speed,
    limits: Mapping[str, float],
    seconds: float,
    reporter: Reporter,
) -> Examination:
    """Question the predictor, whose bundle is at `path`, on the test pictures of the data set that it was trained on."""
    from whatsit.training.default_network import default_network
    from whatsit.training.learning_curve import learning_curve_of

    dataset, bundle = trained.dataset, predictor.bundle
    seed = int(bundle.provenance["recipe"]["seed"])
    if trained.frozen is None or is_from_scratch(bundle):  # the probe is to stand on a pretrained network
        network = default_network(max(typical_size(dataset)))
        width = network.width
        probed = limit(dataset, math.ceil(PROBED / len(dataset.classes)), seed)
    else:
        network, width, probed = trained.frozen, trained.embedding_width, dataset
    curve = learning_curve_of(probed, network, width, seed, reporter)
    steps = reporter.stage("Questioning the model")
    explainer = Explainer(predictor)
    shortcuts = look_for_shortcuts(explainer, sample_pixels(dataset, test, predictor, PICTURES))
    steps(1, 3)
    strangers = meet_strangers(predictor, test.ood_scores)
    steps(2, 3)
    mistakes = find_mistakes(explainer, dataset, test)
    steps(3, 3)
    counts = bundle.provenance["data"]["pictures"]["train"]
    size = megabytes(path)
    return Examination(
        bundle=bundle,
        test=test,
        history=trained.history,
        best=trained.best,
        checks=check_criteria(limits, bundle, speed.median, size),
        speed=speed,
        megabytes=size,
        most_frequent=max(bundle.classes, key=lambda label: counts.get(label, 0)),
        curve=curve,
        mistakes=mistakes,
        coverage=measure_coverage(predictor, test),
        strangers=strangers,
        shortcuts=shortcuts,
        warnings=trained.warnings,
        notes=dataset.notes,
        leakage=leakage_figures(test, dataset.leakage),
        unreadable=unreadable_of(trained, test),
        seconds=seconds,
    )


def unreadable_of(trained: Trained, test: Evaluation) -> Sequence[tuple[str, str]]:
    """Every picture that was left out, with the reason."""
    return (*trained.dataset.unreadable, *test.failed)
