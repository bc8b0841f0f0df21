"""A linear probe (Alain & Bengio 2016) on frozen features: a baseline, and cheap enough to draw learning curves with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.images.scan import SPLITS, Dataset, label_numbers
from whatsit.progress import Reporter
from whatsit.training.frozen import FrozenNetwork

Floats = npt.NDArray[Any]
Labels = npt.NDArray[Any]

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
_RIDGES = (0.003, 0.03, 0.3, 3.0)  # of the number of pictures
_TRIAL = 5000  # pictures by which the ridge is chosen


@dataclass(frozen=True)
class LearningCurve:
    """How the probe does on the test pictures when it is trained on a share of the training pictures."""

    shares: tuple[float, ...]  # ascending; the last is 1
    pictures: tuple[int, ...]  # trained on, at each share
    accuracy: tuple[float, ...]
    recall: npt.NDArray[np.float64]  # [shares, K]; NaN where the class has no test picture


def learning_curve(
    train: tuple[Floats, Labels],
    validation: tuple[Floats, Labels],
    test: tuple[Floats, Labels],
    classes: int,
    seed: int = 0,
) -> LearningCurve:
    """Train the probe on growing shares of the training pictures, drawn class by class, and test each.

    The probe is ridge regression to one target a class, in closed form; its strength is the one that does best on the
    validation pictures. Small data sets are drawn several times and averaged.

    Args:
        train, validation, test: features float `[N, F]` and labels int `[N]`, 0 to `classes - 1`.
        classes: K.
        seed: of the draws.
    """
    labels = train[1]
    some = np.random.default_rng(seed).permutation(len(labels))[:_TRIAL]
    ridge = max(_RIDGES, key=lambda r: _accuracy(_fit(train[0][some], labels[some], classes, r), *validation))
    by_class = [np.flatnonzero(labels == k) for k in range(classes)]
    shares = [share for share in SHARES if share * len(labels) >= 2 * classes]
    draws = 5 if len(labels) <= 3000 else 2 if len(labels) <= 10_000 else 1
    counts, accuracy, recall = [], [], []
    for share in shares:
        found = []
        for draw in range(draws if share < 1 else 1):
            rng = np.random.default_rng((seed, draw))  # the same order for every share, so that they are nested
            rows = np.concatenate([rng.permutation(own)[: max(1, round(share * len(own)))] for own in by_class])
            predicted = _predict(_fit(train[0][rows], labels[rows], classes, ridge), test[0])
            found.append((predicted == test[1]).astype(float))
        right = np.mean(found, axis=0)
        counts.append(len(rows))
        accuracy.append(float(right.mean()))
        recall.append([right[test[1] == k].mean() if (test[1] == k).any() else np.nan for k in range(classes)])
    return LearningCurve(tuple(shares), tuple(counts), tuple(accuracy), np.array(recall))


def probe(dataset: Dataset, frozen: FrozenNetwork, seed: int, reporter: Reporter) -> LearningCurve:
    """`learning_curve` on a data set that is split, with the deepest features of a frozen network."""
    parts = []
    for name in SPLITS:
        found = frozen.features(dataset, name, ("original",), reporter)
        labels = np.array(label_numbers(found.pictures, dataset.classes))
        parts.append((found.views["original"][:, -frozen.deepest :], labels))
    train, validation, test = parts
    return learning_curve(train, validation, test, len(dataset.classes), seed)


@dataclass(frozen=True)
class _Probe:
    mean: Floats
    scale: Floats
    weights: Floats  # [F, K]
    offset: Floats  # [K]


def _fit(features: Floats, labels: Labels, classes: int, ridge: float) -> _Probe:
    x = features.astype(np.float32)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale += 0.1 * scale.mean() + 1e-9
    x = (x - mean) / scale
    targets = np.eye(classes, dtype=np.float32)[labels]
    offset = targets.mean(axis=0)
    strength = np.float32(ridge * len(x))
    if x.shape[0] < x.shape[1]:  # the smaller of two equal systems
        inner = x @ x.T
        inner[np.diag_indices_from(inner)] += strength
        weights = x.T @ np.linalg.solve(inner, targets - offset)
    else:
        inner = x.T @ x
        inner[np.diag_indices_from(inner)] += strength
        weights = np.linalg.solve(inner, x.T @ (targets - offset))
    return _Probe(mean, scale, weights, offset)


def _predict(probe: _Probe, features: Floats) -> Labels:
    x = (features.astype(np.float32) - probe.mean) / probe.scale
    found: Labels = (x @ probe.weights + probe.offset).argmax(axis=1)
    return found


def _accuracy(probe: _Probe, features: Floats, labels: Labels) -> float:
    return float((_predict(probe, features) == labels).mean())
