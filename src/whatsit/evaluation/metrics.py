"""Metrics: plain functions of labels int `[N]` and probabilities float `[N, K]`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[Any]
Probabilities = npt.NDArray[Any]

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is found: shares from 0 to 1, and its number of pictures."""

    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True)
class Figures:
    """The figures of a model on a labelled set."""

    accuracy: float
    accuracy_ci95: tuple[float, float]
    loss: float  # mean negative log probability of the true class, nats
    ece: float
    per_class: dict[str, ClassFigures]
    confusion: list[list[int]]  # [true][predicted]
    n: int

    def to_json(self) -> dict[str, Any]:
        """As `whatsit evaluate --json` prints it."""
        return {
            "accuracy": self.accuracy,
            "accuracy_ci95": list(self.accuracy_ci95),
            "loss": self.loss,
            "ece": self.ece,
            "per_class": {label: vars(figures) for label, figures in self.per_class.items()},
            "confusion": self.confusion,
            "n": self.n,
        }


def figures(labels: Labels, probabilities: Probabilities, classes: tuple[str, ...]) -> Figures:
    """Every figure at once. Raises `ValueError` for an empty set."""
    if len(labels) == 0:
        raise ValueError("no pictures to evaluate on")
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, len(classes))
    right = int(np.trace(confusion))
    return Figures(
        accuracy=right / len(labels),
        accuracy_ci95=wilson_interval(right, len(labels)),
        loss=log_loss(labels, probabilities),
        ece=calibration_error(labels, probabilities),
        per_class=dict(zip(classes, class_figures(confusion), strict=True)),
        confusion=confusion.tolist(),
        n=len(labels),
    )


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Counts `[true, predicted]`."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def class_figures(confusion: npt.NDArray[np.int64]) -> list[ClassFigures]:
    """Precision, recall and F1 of each class; a share of nothing counts as 0."""
    found = np.diag(confusion).astype(float)
    named, present = confusion.sum(axis=0), confusion.sum(axis=1)
    precision = np.divide(found, named, out=np.zeros_like(found), where=named > 0)
    recall = np.divide(found, present, out=np.zeros_like(found), where=present > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(found), where=both > 0)
    rows = zip(precision, recall, f1, present, strict=True)
    return [ClassFigures(float(p), float(r), float(f), int(n)) for p, r, f, n in rows]


def wilson_interval(right: int, total: int, z: float = _Z95) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson 1927); sound also for few pictures and at 0 and 1."""
    share = right / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Mean negative log probability of the true class, in nats; probabilities below 1e-12 count as that."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.log(1.0 / np.clip(own, 1e-12, 1.0)).mean())


def calibration_error(labels: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins of the top probability (Guo et al. 2017), 0 to 1."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    gap = np.bincount(place, weights=right, minlength=bins) - np.bincount(place, weights=confidence, minlength=bins)
    return float(np.abs(gap[count > 0]).sum() / len(labels))
