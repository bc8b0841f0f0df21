"""Predictions for labelled pictures: metrics, coverage, effect of leakage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Bools
from whatsit.bundle.costs import Costs, decide
from whatsit.errors import DataError, ImageError
from whatsit.evaluation.metrics import Interval, Metrics, compute_metrics, wilson_interval
from whatsit.images.leakage import describe_leakage
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset, Leakage
from whatsit.runtime.predictor import Predictor
from whatsit.runtime.wording import percent

PROMISES = (0.80, 0.90, 0.95, 0.99)  # coverages of prediction sets


@dataclass(frozen=True)
class Evaluation:
    """Predictions for every picture that could be read."""

    classes: tuple[str, ...]
    pictures: Pictures
    labels: npt.NDArray[Any]  # int [N]
    probabilities: npt.NDArray[np.float32]  # [N, K]
    ood_scores: npt.NDArray[np.float64]  # [N]; NaN where the bundle has no such score
    unknown: npt.NDArray[np.bool_]  # [N]: which were called unknown
    failed: list[tuple[str, str]]  # (name, reason) of the unreadable
    costs: Costs | None = None  # of the model: by these it answers

    @cached_property
    def metrics(self) -> Metrics:
        """Return the metrics of these predictions."""
        return compute_metrics(self.labels, self.probabilities, self.classes, self.predicted)

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """Return the number of the class that is answered for each picture, `[N]`."""
        return decide(self.costs, self.probabilities)

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Return which predictions are right, `[N]`."""
        right: npt.NDArray[np.bool_] = self.predicted == self.labels
        return right


def evaluate_pictures(
    predictor: Predictor,
    dataset: Dataset,
    pictures: Pictures,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Predict labelled pictures. Raises `DataError` where none can be read."""
    read = np.ones(len(pictures), bool)
    probabilities = np.empty((len(pictures), len(predictor.classes)), np.float32)
    scores, unknown = np.empty(len(pictures)), np.empty(len(pictures), bool)
    failed: list[tuple[str, str]] = []
    for place, (picture, answer) in enumerate(predictor.answers_each(pictures, dataset.read)):
        if isinstance(answer, ImageError):
            failed.append((picture.name, str(answer)))
            read[place] = False
        else:
            probabilities[place], scores[place] = answer.probabilities, answer.ood_score
            unknown[place] = predictor.is_unknown(answer)
        if progress and ((place + 1) % 64 == 0 or place + 1 == len(pictures)):
            progress(place + 1, len(pictures))
    if not read.any():
        reason = f", such as {failed[0][0]}: {failed[0][1]}" if failed else ""
        raise DataError(f"{dataset.source}: there is no readable picture to evaluate on{reason}")
    if failed:
        pictures = pictures.take(read)
        probabilities, scores, unknown = probabilities[read], scores[read], unknown[read]
    labels = pictures.numbers(predictor.classes)
    return Evaluation(
        predictor.classes, pictures, labels, probabilities, scores, unknown, failed, predictor.bundle.costs
    )


@dataclass(frozen=True)
class Coverage:
    """How often prediction sets of a promised coverage hold the true class."""

    promised: float
    measured: float
    measured_ci95: Interval
    size: float  # classes in a set, on average
    single: bool = False  # whether the most probable class alone kept the promise on the validation pictures

    def note(self, classes: int) -> str:
        """Say how to read this row, for a model of that many classes; or nothing."""
        if self.size == classes:
            return "every class: too few validation pictures to promise so much"
        alone, kept = self.size == 1 and self.single, self.measured_ci95[1] >= self.promised
        if alone and not kept:
            return "the single answer kept this promise on the validation pictures, but not on the test pictures"
        if alone:
            return "the single answer already keeps this promise"
        return "" if kept else "not kept on the test pictures"


def measure_coverage(predictor: Predictor, test: Evaluation, validation: Bools) -> list[Coverage]:
    """Measure prediction sets at each of `PROMISES`; none without conformal scores.

    `validation` is bool `[M]`, whether the most probable class is the true one for each validation picture.
    """
    found = []
    for promise in PROMISES if predictor.bundle.conformal else ():
        inside = predictor.in_set(test.probabilities, promise)
        held = int(inside[np.arange(len(inside)), test.labels].sum())
        size = float(inside.sum(axis=1).mean())
        single = int(validation.sum()) >= math.ceil((len(validation) + 1) * promise)  # as conformal scores promise it
        found.append(Coverage(promise, held / len(inside), wilson_interval(held, len(inside)), size, single))
    return found


@dataclass(frozen=True)
class LeakageMetrics:
    """How many test pictures leak, and the accuracy on the others."""

    near_duplicates: int
    exact_copies: int
    same_group: int
    tested: int  # pictures in all
    right: int  # predictions for those that do not leak
    note: str  # what leaks, with an example; empty where nothing does

    @property
    def pictures(self) -> int:
        """Return the number of test pictures that leak."""
        return self.near_duplicates + self.exact_copies + self.same_group

    @property
    def n(self) -> int:
        """Return the number of test pictures that do not leak."""
        return self.tested - self.pictures

    @property
    def accuracy(self) -> float | None:
        """Return the accuracy on those that do not leak; None where all leak."""
        return self.right / self.n if self.n else None

    @property
    def accuracy_ci95(self) -> Interval | None:
        """Return the interval of that accuracy (Wilson 1927)."""
        return wilson_interval(self.right, self.n) if self.n else None

    @property
    def sentence(self) -> str:
        """Say what leaks, and the accuracy without it; empty where nothing leaks."""
        if not self.note:
            return ""
        if self.accuracy is None or self.accuracy_ci95 is None:
            return f"{self.note}; no test pictures remain without them"
        low, high = self.accuracy_ci95
        interval = f"95 % interval {percent(low)} to {percent(high)}, n {self.n:,}"
        return f"{self.note}; without them the accuracy is {percent(self.accuracy)} ({interval})"

    def to_json(self) -> dict[str, Any]:
        """Return the entry of `metrics.json`."""
        return {
            "pictures": self.pictures,
            "share": self.pictures / self.tested,
            "near_duplicates": self.near_duplicates,
            "exact_copies": self.exact_copies,
            "same_group": self.same_group,
            "note": self.note,
            "without": {"accuracy": self.accuracy, "accuracy_ci95": self.accuracy_ci95, "n": self.n},
        }


def measure_leakage(test: Evaluation, leakage: Leakage) -> LeakageMetrics:
    """Count the test pictures that leak, and the right predictions for the others."""
    leaking = [test.pictures.among(kind) for kind in (leakage.near, leakage.copies, leakage.grouped)]
    near, copies, grouped = (int(kind.sum()) for kind in leaking)
    right = int((test.right & ~np.any(leaking, axis=0)).sum())
    return LeakageMetrics(near, copies, grouped, len(test.pictures), right, describe_leakage(leakage, test.pictures))
