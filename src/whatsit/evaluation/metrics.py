"""Metrics: plain functions of labels int `[N]`, probabilities float `[N, K]` and confusion matrices `[true, predicted]`."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    """Over the classes that have pictures: each counting alike (macro), or by its number of pictures (weighted)."""

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
    reliability: list[Bin]  # the reliability diagram, of 10 pictures a bin at the least where there are enough

    def to_json(self) -> dict[str, Any]:
        """As `whatsit evaluate --json` prints it: plain dicts and lists."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Figures:
        """What `to_json` gave. Raises `ValueError` where it is something else: a model file may be anybody's."""
        try:
            classes = list(value["per_class"])
            confusion = [[_count(cell) for cell in row] for row in value["confusion"]]
            if [len(row) for row in confusion] != [len(classes)] * len(classes):
                raise ValueError("the confusion matrix does not fit the classes")
            n, right = _count(value["n"]), sum(row[k] for k, row in enumerate(confusion))
            if n != sum(map(sum, confusion)) or n == 0 or abs(_share(value["accuracy"]) - right / n) > 1e-6:
                raise ValueError("the confusion matrix does not fit the accuracy")
            return cls(
                accuracy=_share(value["accuracy"]),
                accuracy_ci95=_interval(value["accuracy_ci95"]),
                top5_accuracy=_share(value["top5_accuracy"]),
                loss=_number(value["loss"]),
                ece=_share(value["ece"]),
                macro=Averages(**_shares(value["macro"])),
                weighted=Averages(**_shares(value["weighted"])),
                per_class={
                    label: ClassFigures(**_shares(row), n=_count(row["n"])) for label, row in value["per_class"].items()
                },
                confusion=confusion,
                n=_count(value["n"]),
                reliability=[
                    Bin(_share(b["confidence"]), _share(b["accuracy"]), _count(b["n"]))
                    for b in value.get("reliability", [])
                ],
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"these are no test figures: {type(error).__name__} {str(error)[:100]}") from None


_AREAS = ("auroc", "average_precision")


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a figure is no number")
    return number


def _share(value: Any) -> float:
    share = _number(value)
    if not 0 <= share <= 1:
        raise ValueError(f"{share:g} is no share from 0 to 1")
    return share


def _interval(value: Any) -> Interval:
    low, high = map(_share, value)
    if low > high:
        raise ValueError("an interval ends before it begins")
    return low, high


def _count(value: Any) -> int:
    count = int(value)
    if not 0 <= count < 2**53:
        raise ValueError(f"{count} is no number of pictures")
    return count


def _shares(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a table of shares and intervals, all but its count. The areas may be missing."""
    return {
        name: _interval(value)
        if name.endswith("_ci95")
        else None
        if value is None and name in _AREAS
        else _share(value)
        for name, value in row.items()
        if name != "n"
    }


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
        macro=averages(per_class, (counts > 0) / (counts > 0).sum(), confusion),
        weighted=averages(per_class, counts / counts.sum(), confusion),
        per_class=dict(zip(classes, per_class, strict=True)),
        confusion=confusion.tolist(),
        n=len(labels),
        reliability=reliability(labels, probabilities, least=min(10, len(labels) // 4)),
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


def averages(
    per_class: list[ClassFigures], weights: npt.NDArray[np.float64], confusion: npt.NDArray[np.int64]
) -> Averages:
    """Weighted means over the classes; a class of weight 0 does not count.

    Their intervals are put together from those of the classes by the method of variance estimates recovery (MOVER,
    Zou & Donner 2008), which holds up near 0 and 1. Recalls of different classes are independent and precisions nearly so;
    F1s are not, as a mistake lowers two of them, so their correlations are taken in (`f1_correlations`).
    """
    independent = np.eye(len(per_class))
    values: dict[str, Any] = {}
    for name in ("precision", "recall", "f1"):
        correlations = f1_correlations(confusion) if name == "f1" else independent
        mean = np.array([getattr(f, name) for f in per_class])
        low, high = np.array([getattr(f, f"{name}_ci95") for f in per_class]).T
        centre = float(weights @ mean)
        values[name] = centre
        parts = (weights * (mean - low), weights * (high - mean))
        down, up = (math.sqrt(max(float(part @ correlations @ part), 0.0)) for part in parts)
        values[f"{name}_ci95"] = (max(0.0, centre - down), min(1.0, centre + up))
    return Averages(**values)


def f1_correlations(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Of the F1s of the classes, `[K, K]`, by the delta method on multinomial counts (Takahashi et al. 2022).

    The gradient of F1 has mean 0, so with shares p, d = row sum + column sum and f = F1, the covariance of two classes is
    `(p_kl + p_lk) f_k f_l / (d_k d_l)`. Half a picture is spread over the cells, so that nothing is divided by 0.
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


def wilson_interval(right: int, total: int, z: float = _Z95) -> Interval:
    """The 95 % confidence interval of a share (Wilson 1927); sound also for few pictures and at 0 and 1."""
    if not total:
        return 0.0, 1.0
    share = right / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    low = 0.0 if right == 0 else max(0.0, (centre - spread) / scale)
    return low, 1.0 if right == total else min(1.0, (centre + spread) / scale)


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Mean negative log probability of the true class, in nats; probabilities below 1e-12 count as that."""
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.log(1.0 / np.clip(own, 1e-12, 1.0)).mean())


def reliability(labels: Labels, probabilities: Probabilities, bins: int = 15, least: int = 1) -> list[Bin]:
    """The reliability diagram: the bins of equal width of the top probability, in order, each joined with the next ones
    until it holds at least so many pictures.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
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


def calibration_error(labels: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins of the top probability (Guo et al. 2017), 0 to 1."""
    return sum(abs(b.accuracy - b.confidence) * b.n for b in reliability(labels, probabilities, bins)) / len(labels)


def calibration_error_by_luck(probabilities: Probabilities, bins: int = 15, draws: int = 200) -> float:
    """The calibration error that perfectly calibrated answers of this kind stay below 95 times in 100.

    Right and wrong are drawn by the probabilities themselves (consistency resampling, Broecker & Smith 2007).
    """
    rng = np.random.default_rng(0)
    confidence = probabilities.max(axis=1).astype(np.float64)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    sums = np.bincount(place, weights=confidence, minlength=bins)
    errors = []
    for _ in range(draws):
        right = rng.random(len(confidence)) < confidence
        gap = np.bincount(place, weights=right, minlength=bins) - sums
        errors.append(np.abs(gap).sum() / len(confidence))
    return float(np.quantile(errors, 0.95))


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
