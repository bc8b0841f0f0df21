"""Whether more images would help: a linear probe on growing shares of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Array, Labels
from whatsit.events import Reporter
from whatsit.images.pictures import SPLITS
from whatsit.images.scan import Dataset
from whatsit.training.features import FrozenNetwork
from whatsit.training.probe import RIDGES, Moments, Standard, best_penalty, trial_of

BOOTSTRAPS = 200  # of the test pictures
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)


@dataclass(frozen=True)
class LearningCurve:
    """The test result of a linear probe trained on a share of the training images."""

    shares: tuple[float, ...]  # ascending; the last is 1
    pictures: tuple[int, ...]  # trained on, at each share
    accuracy: tuple[float, ...]
    recall: npt.NDArray[np.float64]  # [shares, K]; NaN where the class has no test picture
    by_class: tuple[int, ...] = ()  # training pictures of each class, at share 1
    resampled: npt.NDArray[np.float64] | None = None  # [B, shares, K], by B bootstraps of the test pictures


def learning_curve(
    train: tuple[Array, Labels],
    validation: tuple[Array, Labels],
    test: tuple[Array, Labels],
    classes: int,
    seed: int = 0,
) -> LearningCurve:
    """Train the probe on growing shares of the training images, and test each.

    They are drawn class by class (see `training/probe.py`).

    The penalty is the one that does best on the validation pictures. Small data sets are drawn several times and averaged.

    Args:
        train: features float `[N, F]` and labels int `[N]`, 0 to `classes - 1`.
        validation: the same, by which the penalty is chosen.
        test: the same.
        classes: K.
        seed: of the draws.
    """
    features, labels = train
    standard = Standard.of(features)
    rng = np.random.default_rng(seed)
    trial = trial_of(validation, rng)
    by_class = [np.flatnonzero(labels == k) for k in range(classes)]
    shares = [share for share in SHARES if share * len(labels) >= 2 * classes] or [1.0]
    draws = 5 if len(labels) <= 3000 else 2 if len(labels) <= 10_000 else 1
    hits: list[list[Array]] = [[] for _ in shares]
    counts = [0] * len(shares)
    for draw in range(draws):
        orders = [rng.permutation(own) for own in by_class]
        moments = Moments(standard, classes)
        taken: list[int] = [0] * classes
        ridges: tuple[float, ...] = RIDGES
        for place, share in enumerate(shares):
            if share == 1.0 and draw:
                continue  # all pictures are the same pictures in every draw
            wanted = [max(1, round(share * len(order))) for order in orders]  # each share holds the smaller ones
            rows = [order[had:want] for order, had, want in zip(orders, taken, wanted, strict=True)]
            moments.add(features, labels, np.concatenate(rows))
            taken = wanted
            counts[place] = sum(taken)
            found, ridges = best_penalty(moments, ridges, *trial)
            hits[place].append((found.predict(test[0]) == test[1]).astype(float))
    right = [np.mean(draws_of_share, axis=0) for draws_of_share in hits]
    recall = [[row[test[1] == k].mean() if (test[1] == k).any() else np.nan for k in range(classes)] for row in right]
    accuracy = tuple(float(row.mean()) for row in right)
    sizes = tuple(len(own) for own in by_class)
    resampled = _resampled(np.array(right), test[1], classes, rng)
    return LearningCurve(tuple(shares), tuple(counts), accuracy, np.array(recall), sizes, resampled)


def _resampled(right: Array, labels: Labels, classes: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return the recalls of bootstraps of the test pictures, the same at each share.

    Args:
        right: the share of draws in which each was right, `[shares, N]`.
        labels: `[N]`.
        classes: K.
        rng: draws them.
    """
    found = np.full((BOOTSTRAPS, len(right), classes), np.nan)
    for k in range(classes):
        own = right[:, labels == k]
        if count := own.shape[1]:
            weights = rng.multinomial(count, np.full(count, 1 / count), BOOTSTRAPS)
            found[:, :, k] = weights @ own.T / count
    return found


def learning_curve_of(
    dataset: Dataset, frozen: FrozenNetwork, width: int, seed: int, reporter: Reporter
) -> LearningCurve:
    """Return the curve of a split data set, by the last `width` features."""
    parts = []
    for name in SPLITS:
        found = frozen.features(dataset, name, ("original",), reporter)
        parts.append((found.views["original"][:, -width:], found.pictures.numbers(dataset.classes)))
    train, validation, test = parts
    return learning_curve(train, validation, test, len(dataset.classes), seed)
