"""Metrics of a classifier: plain functions of arrays.

Labels are int `[N]`, probabilities float `[N, K]`, confusion matrices int `[true, predicted]`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Int64, Labels, Probabilities
from whatsit.training.intervals import Z95 as Z95
from whatsit.training.intervals import Interval as Interval
from whatsit.training.intervals import wilson_interval as wilson_interval

BINS = 15  # of equal width, of the reliability diagram and the calibration error


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class: shares from 0 to 1, with 95 % intervals."""

    precision: float
    recall: float
    f1: float
    n: int
    precision_ci95: Interval
    recall_ci95: Interval
    f1_ci95: Interval
    auroc: float | None  # this class against all others; None without pictures of both
    average_precision: float | None


@dataclass(frozen=True)
class Averages:
    """Means over the classes: of equal weight (macro), or by pictures (weighted)."""

    precision: float
    recall: float
    f1: float
    precision_ci95: Interval
    recall_ci95: Interval
    f1_ci95: Interval


@dataclass(frozen=True)
class Bin:
    """Pictures of about the same top probability."""

    confidence: float  # its mean
    accuracy: float
    n: int


@dataclass(frozen=True)
class Metrics:
    """All metrics of a model on a labelled set."""

    accuracy: float
    accuracy_ci95: Interval
    top5_accuracy: float  # the true class is among the five most probable
    loss: float  # mean negative log probability of the true class, nats
    ece: float
    macro: Averages
    weighted: Averages
    per_class: dict[str, ClassMetrics]
    confusion: list[list[int]]  # [true][predicted]
    n: int
    reliability: list[Bin]  # the reliability diagram, at least 10 pictures a bin where there are enough

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and lists, as `whatsit evaluate --json` prints them."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Metrics:
        """Read what `to_json` returned. Raises `ValueError` for anything else."""
        try:
            single = ("accuracy", "accuracy_ci95", "top5_accuracy", "loss", "ece", "n")
            metrics = cls(
                **{name: _checked(name, value[name]) for name in single},
                macro=Averages(**_checked_row(value["macro"])),
                weighted=Averages(**_checked_row(value["weighted"])),
                per_class={label: ClassMetrics(**_checked_row(row)) for label, row in value["per_class"].items()},
                confusion=[[_checked("n", cell) for cell in row] for row in value["confusion"]],
                reliability=[Bin(**_checked_row(row)) for row in value.get("reliability", [])],
            )
            rows, classes = metrics.confusion, len(metrics.per_class)
            if [len(row) for row in rows] != [classes] * classes:
                raise ValueError("the confusion matrix does not fit the classes")
            right = sum(row[k] for k, row in enumerate(rows))
            if metrics.n != sum(map(sum, rows)) or not metrics.n or abs(metrics.accuracy - right / metrics.n) > 1e-6:
                raise ValueError("the confusion matrix does not fit the accuracy")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"these are no test metrics: {type(error).__name__} {str(error)[:100]}") from None
        return metrics


def _checked_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _checked(name, value) for name, value in row.items()}


def _checked(name: str, value: Any) -> Any:
    """Return a value of `to_json` as what its name says. Raises `ValueError`."""
    if name == "n":
        count = int(value)
        if not 0 <= count < 2**53:
            raise ValueError(f"{count} is no number of pictures")
        return count
    if name.endswith("_ci95"):
        low, high = (_checked("", end) for end in value)
        if low > high:
            raise ValueError("an interval ends before it begins")
        return low, high
    if value is None and name in ("auroc", "average_precision"):
        return None
    number = float(value)
    if not (math.isfinite(number) if name == "loss" else 0 <= number <= 1):
        raise ValueError(f"{number:g} is no share from 0 to 1" if name != "loss" else "the loss is no number")
    return number


def compute_metrics(
    labels: Labels, probabilities: Probabilities, classes: tuple[str, ...], predicted: Labels | None = None
) -> Metrics:
    """Compute all metrics. Raises `ValueError` for an empty set.

    `predicted` are the answers, by default the most probable classes. What is about probabilities (loss, calibration error,
    top 5, AUROC) does not depend on them.
    """
    if len(labels) == 0:
        raise ValueError("no pictures to evaluate on")
    predicted = probabilities.argmax(axis=1) if predicted is None else predicted
    confusion = confusion_matrix(labels, predicted, len(classes))
    per_class = class_metrics(confusion, labels, probabilities)
    right = int(np.trace(confusion))
    counts = confusion.sum(axis=1)
    return Metrics(
        accuracy=right / len(labels),
        accuracy_ci95=wilson_interval(right, len(labels)),
        top5_accuracy=top_accuracy(labels, probabilities, 5),
        loss=log_loss(labels, probabilities),
        ece=calibration_error(labels, probabilities),
        macro=averages(per_class, (counts > 0) / (counts > 0).sum(), confusion),
        weighted=averages(per_class, counts / counts.sum(), confusion),
        per_class=dict(zip(classes, per_class, strict=True)),
        confusion=confusion.tolist(),
        n=len(labels),
        reliability=reliability(labels, probabilities, least=min(10, len(labels) // 4)),
    )


def confusion_matrix(labels: Labels, predicted: Labels, classes: int) -> Int64:
    """Count the pictures by `[true, predicted]` class."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def top_accuracy(labels: Labels, probabilities: Probabilities, top: int) -> float:
    """Return the share of pictures whose true class is among the `top` most probable.

    Of equally probable classes the earlier one counts as more probable.
    """
    own = probabilities[np.arange(len(labels)), labels][:, None]
    ahead = (probabilities > own) | ((probabilities == own) & (np.arange(probabilities.shape[1]) < labels[:, None]))
    return float((ahead.sum(axis=1) < top).mean())


def class_metrics(confusion: Int64, labels: Labels, probabilities: Probabilities) -> list[ClassMetrics]:
    """Compute the metrics of each class.

    A share of nothing counts as 0, with an interval from 0 to 1.
    The interval of F1 = 2s / (1 + s) is that of s = TP / (TP + FP + FN), which is a share (F*, Hand et al. 2021).
    """
    found = []
    for k in range(len(confusion)):
        right, named, present = int(confusion[k, k]), int(confusion[:, k].sum()), int(confusion[k].sum())
        low, high = wilson_interval(right, named + present - right)
        mixed = 0 < present < len(labels)
        found.append(
            ClassMetrics(
                precision=right / named if named else 0.0,
                recall=right / present if present else 0.0,
                f1=2 * right / (named + present) if named + present else 0.0,
                n=present,
                precision_ci95=wilson_interval(right, named),
                recall_ci95=wilson_interval(right, present),
                f1_ci95=(2 * low / (1 + low), 2 * high / (1 + high)),
                auroc=auroc(labels == k, probabilities[:, k]) if mixed else None,
                average_precision=average_precision(labels == k, probabilities[:, k]) if mixed else None,
            )
        )
    return found


def averages(per_class: list[ClassMetrics], weights: npt.NDArray[np.float64], confusion: Int64) -> Averages:
    """Average over the classes; a class of weight 0 does not count.

    The intervals combine those of the classes by the method of variance estimates recovery (MOVER, Zou & Donner 2008),
    which holds near 0 and 1, where a bootstrap does not (see decision 29). Recalls of different classes are independent
    and precisions nearly so; F1s are not, as a mistake lowers two of them, so their correlations are counted.
    """
    values: dict[str, Any] = {}
    for name in ("precision", "recall", "f1"):
        correlations = f1_correlations(confusion) if name == "f1" else np.eye(len(per_class))
        mean = np.array([getattr(metrics, name) for metrics in per_class])
        low, high = np.array([getattr(metrics, f"{name}_ci95") for metrics in per_class]).T
        centre = float(weights @ mean)
        parts = (weights * (mean - low), weights * (high - mean))
        down, up = (math.sqrt(max(float(part @ correlations @ part), 0.0)) for part in parts)
        values |= {name: centre, f"{name}_ci95": (max(0.0, centre - down), min(1.0, centre + up))}
    return Averages(**values)


def f1_correlations(confusion: Int64) -> npt.NDArray[np.float64]:
    """Return the correlations of the classes' F1s, `[K, K]`.

    By the delta method on multinomial counts (Takahashi et al. 2022): the gradient of F1 has mean 0, so with shares p,
    d = row sum + column sum and f = F1, the covariance of two classes is `(p_kl + p_lk) f_k f_l / (d_k d_l)`.
    Half a picture is spread over the cells, so that nothing is divided by 0.
    """
    shares = confusion + 0.5 / confusion.size
    shares = shares / shares.sum()
    own, both = np.diag(shares), shares.sum(axis=0) + shares.sum(axis=1)
    f1 = 2 * own / both
    slope = f1 / both
    covariance = (shares + shares.T) * np.outer(slope, slope)
    missed = both - 2 * own
    np.fill_diagonal(covariance, np.square(2 * (1 - f1) / both) * own + missed * np.square(slope))
    spread = np.sqrt(np.diag(covariance))
    correlations: npt.NDArray[np.float64] = covariance / np.outer(spread, spread)
    return correlations


@dataclass(frozen=True)
class Pair:
    """Two classes that are taken for each other."""

    one: str
    other: str
    one_as_other: int  # pictures of `one` that were predicted as `other`
    other_as_one: int

    @property
    def count(self) -> int:
        """Return the mistakes in both directions."""
        return self.one_as_other + self.other_as_one


def confused_pairs(metrics: Metrics) -> list[Pair]:
    """Return the classes that are taken for each other, the most frequent first."""
    counts, names = metrics.confusion, list(metrics.per_class)
    both = np.triu(np.array(counts) + np.array(counts).T, 1)
    pairs = [Pair(names[i], names[j], counts[i][j], counts[j][i]) for i, j in zip(*np.nonzero(both), strict=True)]
    return sorted(pairs, key=lambda pair: -pair.count)


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean negative log probability of the true class, in nats."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.log(1.0 / np.clip(own, 1e-12, 1.0)).mean())


def reliability(labels: Labels, probabilities: Probabilities, bins: int = BINS, least: int = 1) -> list[Bin]:
    """Return the reliability diagram of the top probability.

    The bins are of equal width, in order. A bin of fewer than `least` pictures is joined with the next ones.
    """
    confidence, place = _binned(probabilities, bins)
    right = probabilities.argmax(axis=1) == labels
    groups: list[npt.NDArray[np.bool_]] = []
    for mine in (place == number for number in range(bins)):
        if groups and groups[-1].sum() < least:
            groups[-1] = groups[-1] | mine
        elif mine.any():
            groups.append(mine)
    if len(groups) > 1 and groups[-1].sum() < least:
        last = groups.pop()
        groups[-1] = groups[-1] | last
    return [Bin(float(confidence[mine].mean()), float(right[mine].mean()), int(mine.sum())) for mine in groups]


def calibration_error(labels: Labels, probabilities: Probabilities, bins: int = BINS) -> float:
    """Return the expected calibration error, 0 to 1 (Guo et al. 2017)."""
    return sum(abs(b.accuracy - b.confidence) * b.n for b in reliability(labels, probabilities, bins)) / len(labels)


def calibration_error_by_luck(probabilities: Probabilities, bins: int = BINS, draws: int = 200) -> float:
    """Return what the error of perfect probabilities is below 95 times in 100.

    Right and wrong are drawn by the probabilities themselves (consistency resampling, Broecker & Smith 2007).
    """
    rng = np.random.default_rng(0)
    confidence, place = _binned(probabilities, bins)
    sums = np.bincount(place, weights=confidence, minlength=bins)
    errors = []
    for _ in range(draws):
        right = rng.random(len(confidence)) < confidence
        gap = np.bincount(place, weights=right, minlength=bins) - sums
        errors.append(np.abs(gap).sum() / len(confidence))
    return float(np.quantile(errors, 0.95))


def _binned(probabilities: Probabilities, bins: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int_]]:
    """Return each picture's top probability, and the number of its bin."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    return confidence, np.minimum((confidence * bins).astype(int), bins - 1)


def roc_curve(positive: Labels, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return false and true positive rates, 0 to 1, at every threshold."""
    hits, misses = _counts_from_the_top(positive, scores)
    return np.append(0.0, misses / misses[-1]), np.append(0.0, hits / hits[-1])


def precision_recall_curve(positive: Labels, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return recall and precision at every threshold, the strictest first."""
    hits, misses = _counts_from_the_top(positive, scores)
    return hits / hits[-1], hits / (hits + misses)


def auroc(positive: Labels, scores: npt.NDArray[Any]) -> float:
    """Return the area under the ROC curve.

    That is the chance that a positive scores above a negative. Ties count half.
    """
    false, true = roc_curve(positive, scores)
    return float(np.trapezoid(true, false))


def average_precision(positive: Labels, scores: npt.NDArray[Any]) -> float:
    """Return the area under the precision-recall curve as a sum of steps."""
    recall, precision = precision_recall_curve(positive, scores)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def _counts_from_the_top(positive: Labels, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Count positives and negatives at or above each score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    hits = np.cumsum(positive[order].astype(np.int64))[last]
    return hits, last + 1 - hits
