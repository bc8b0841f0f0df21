"""Metrics: plain functions of labels int `[N]`, probabilities float `[N, K]` and confusion matrices `[true, predicted]`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[Any]
Probabilities = npt.NDArray[Any]
Interval = tuple[float, float]

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is found: shares from 0 to 1 with 95 % intervals, and its number of pictures."""

    precision: float
    recall: float
    f1: float
    n: int
    precision_ci95: Interval
    recall_ci95: Interval
    f1_ci95: Interval
    auroc: float | None  # of telling this class from all others; None where there are no others, or none of it
    average_precision: float | None


@dataclass(frozen=True)
class Averages:
    """Over the classes: each counting alike (macro), or by its number of pictures (weighted)."""

    precision: float
    recall: float
    f1: float
    precision_ci95: Interval
    recall_ci95: Interval
    f1_ci95: Interval


@dataclass(frozen=True)
class Figures:
    """The figures of a model on a labelled set."""

    accuracy: float
    accuracy_ci95: Interval
    top5_accuracy: float  # the true class is among the five most probable
    loss: float  # mean negative log probability of the true class, nats
    ece: float
    macro: Averages
    weighted: Averages
    per_class: dict[str, ClassFigures]
    confusion: list[list[int]]  # [true][predicted]
    n: int

    def to_json(self) -> dict[str, Any]:
        """As `whatsit evaluate --json` prints it: plain dicts and lists."""
        return asdict(self)


def figures(labels: Labels, probabilities: Probabilities, classes: tuple[str, ...]) -> Figures:
    """Every figure at once. Raises `ValueError` for an empty set."""
    if len(labels) == 0:
        raise ValueError("no pictures to evaluate on")
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, len(classes))
    per_class = class_figures(confusion, labels, probabilities)
    right = int(np.trace(confusion))
    counts = np.array([f.n for f in per_class], float)
    return Figures(
        accuracy=right / len(labels),
        accuracy_ci95=wilson_interval(right, len(labels)),
        top5_accuracy=top_accuracy(labels, probabilities, 5),
        loss=log_loss(labels, probabilities),
        ece=calibration_error(labels, probabilities),
        macro=averages(per_class, (counts > 0) / (counts > 0).sum()),
        weighted=averages(per_class, counts / counts.sum()),
        per_class=dict(zip(classes, per_class, strict=True)),
        confusion=confusion.tolist(),
        n=len(labels),
    )


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Counts `[true, predicted]`."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def top_accuracy(labels: Labels, probabilities: Probabilities, top: int) -> float:
    """The share of pictures whose true class is among the `top` most probable; the earlier class wins a tie."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    ahead = (probabilities > own) | ((probabilities == own) & (np.arange(probabilities.shape[1]) < labels[:, None]))
    return float((ahead.sum(axis=1) < top).mean())


def class_figures(confusion: npt.NDArray[np.int64], labels: Labels, probabilities: Probabilities) -> list[ClassFigures]:
    """The figures of each class; a share of nothing counts as 0, with an interval from 0 to 1.

    The interval of F1 = 2s / (1 + s) is that of s = TP / (TP + FP + FN), which is a share (F*, Hand et al. 2021).
    """
    found = []
    for k in range(len(confusion)):
        right, named, present = int(confusion[k, k]), int(confusion[:, k].sum()), int(confusion[k].sum())
        low, high = wilson_interval(right, named + present - right)
        f1 = 2 * right / (named + present) if named + present else 0.0
        own = probabilities[:, k]
        mixed = 0 < present < len(labels)
        found.append(
            ClassFigures(
                precision=right / named if named else 0.0,
                recall=right / present if present else 0.0,
                f1=f1,
                n=present,
                precision_ci95=wilson_interval(right, named),
                recall_ci95=wilson_interval(right, present),
                f1_ci95=(2 * low / (1 + low), 2 * high / (1 + high)),
                auroc=auroc(labels == k, own) if mixed else None,
                average_precision=average_precision(labels == k, own) if mixed else None,
            )
        )
    return found


def averages(per_class: list[ClassFigures], weights: npt.NDArray[np.float64]) -> Averages:
    """Weighted means over the classes; their intervals are put together from those of the classes by the method of
    variance estimates recovery (MOVER, Zou & Donner 2008), which holds up near 0 and 1 where resampling does not.
    """
    values: dict[str, Any] = {}
    for name in ("precision", "recall", "f1"):
        mean = np.array([getattr(f, name) for f in per_class])
        low, high = np.array([getattr(f, f"{name}_ci95") for f in per_class]).T
        centre = float(weights @ mean)
        values[name] = centre
        down, up = (math.sqrt(float(np.square(weights * (edge - mean)).sum())) for edge in (low, high))
        values[f"{name}_ci95"] = (max(0.0, centre - down), min(1.0, centre + up))
    return Averages(**values)


def wilson_interval(right: int, total: int, z: float = _Z95) -> Interval:
    """The 95 % confidence interval of a share (Wilson 1927); sound also for few pictures and at 0 and 1."""
    if not total:
        return 0.0, 1.0
    share = right / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Mean negative log probability of the true class, in nats; probabilities below 1e-12 count as that."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.log(1.0 / np.clip(own, 1e-12, 1.0)).mean())


@dataclass(frozen=True)
class Bin:
    """Pictures of about the same top probability."""

    confidence: float  # its mean
    accuracy: float
    n: int


def reliability(labels: Labels, probabilities: Probabilities, bins: int = 15) -> list[Bin]:
    """The reliability diagram: the bins of equal width of the top probability that hold pictures, in order."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(float(confidence[mine].mean()), float(right[mine].mean()), int(mine.sum()))
        for mine in (place == number for number in range(bins))
        if mine.any()
    ]


def calibration_error(labels: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins of the top probability (Guo et al. 2017), 0 to 1."""
    return sum(abs(b.accuracy - b.confidence) * b.n for b in reliability(labels, probabilities, bins)) / len(labels)


def roc_curve(positive: Labels, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """False and true positive rates, each from 0 to 1, at every threshold; both kinds must be there."""
    hits, misses = _counts_from_the_top(positive, scores)
    return np.append(0.0, misses / misses[-1]), np.append(0.0, hits / hits[-1])


def precision_recall_curve(positive: Labels, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Recall and precision at every threshold, the strictest first; there must be positives."""
    hits, misses = _counts_from_the_top(positive, scores)
    return hits / hits[-1], hits / (hits + misses)


def auroc(positive: Labels, scores: npt.NDArray[Any]) -> float:
    """The area under the ROC curve: the chance that a positive scores above a negative; ties count half."""
    false, true = roc_curve(positive, scores)
    return float(np.trapezoid(true, false))


def average_precision(positive: Labels, scores: npt.NDArray[Any]) -> float:
    """The area under the precision-recall curve as a sum of steps."""
    recall, precision = precision_recall_curve(positive, scores)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _counts_from_the_top(positive: Labels, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Positives and negatives at or above each distinct score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    hits = np.cumsum(positive[order].astype(np.int64))[last]
    return hits, last + 1 - hits
