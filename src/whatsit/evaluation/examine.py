"""Examines a freshly trained model for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whatsit.evaluation.criteria import check_criteria, is_from_scratch
from whatsit.evaluation.evaluate import Evaluation, measure_coverage, measure_leakage
from whatsit.evaluation.examination import Examination
from whatsit.evaluation.mistakes import find_mistakes
from whatsit.evaluation.more_pictures import probe_curve
from whatsit.evaluation.out_of_distribution import try_unknown
from whatsit.evaluation.shortcuts import look_for_shortcuts, sample_pixels
from whatsit.evaluation.speed import Speed, megabytes
from whatsit.events import Reporter
from whatsit.runtime.explain import Explainer
from whatsit.runtime.predictor import Predictor

if TYPE_CHECKING:
    from whatsit.training.trained import Trained


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
    """Examine the predictor of the bundle at `path` on its data set's test pictures.

    `limits` are the criteria, `seconds` the time since the first picture was read.
    """
    dataset, bundle = trained.dataset, predictor.bundle
    seed = int(bundle.provenance["recipe"]["seed"])
    curve = probe_curve(trained, seed, reporter, from_scratch=is_from_scratch(bundle))
    progress = reporter.stage("Questioning the model")
    explainer = Explainer(predictor)
    shortcuts = look_for_shortcuts(explainer, sample_pixels(dataset, test, predictor))
    progress(1, 3)
    ood = try_unknown(predictor, test.ood_scores)
    progress(2, 3)
    mistakes = find_mistakes(explainer, dataset, test)
    progress(3, 3)
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
        coverage=measure_coverage(predictor, test, trained.right),
        ood=ood,
        shortcuts=shortcuts,
        warnings=trained.warnings,
        training_notes=(
            *([f"Of what was tried, this ships: {trained.ships}"] if trained.ships else []),
            *trained.notes,
        ),
        notes=dataset.notes,
        leakage=measure_leakage(test, dataset.leakage),
        unreadable=unreadable_of(trained, test),
        seconds=seconds,
    )


def unreadable_of(trained: Trained, test: Evaluation) -> Sequence[tuple[str, str]]:
    """Return every picture that was left out, with the reason."""
    return (*trained.dataset.unreadable, *test.failed)
