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
_RIDGES = (3.0, 0.3, 0.03, 0.003)  # penalties, times the number of pictures; of equally good ones the larger is taken
_TRIAL = 2000  # validation pictures by which the ridge is chosen
_SLICE = 4096  # pictures at a time


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

    The probe is ridge regression to one target a class, in closed form, with the penalty that does best on the
    validation pictures. Small data sets are drawn several times and averaged.

    Args:
        train, validation, test: features float `[N, F]` and labels int `[N]`, 0 to `classes - 1`.
        classes: K.
        seed: of the draws.
    """
    features, labels = train
    standard = _Standard.of(features)
    rng = np.random.default_rng(seed)
    some = rng.permutation(len(validation[1]))[:_TRIAL]
    trial = validation[0][some], validation[1][some]
    by_class = [np.flatnonzero(labels == k) for k in range(classes)]
    shares = [share for share in SHARES if share * len(labels) >= 2 * classes] or [1.0]
    draws = 5 if len(labels) <= 3000 else 2 if len(labels) <= 10_000 else 1
    hits: list[list[Floats]] = [[] for _ in shares]
    counts = [0] * len(shares)
    for draw in range(draws):
        orders = [rng.permutation(own) for own in by_class]
        moments = _Moments(standard, classes)
        taken: list[int] = [0] * classes
        ridges: tuple[float, ...] = _RIDGES
        for place, share in enumerate(shares):
            if share == 1.0 and draw:
                continue  # all pictures are the same pictures in every draw
            wanted = [max(1, round(share * len(order))) for order in orders]  # each share holds the smaller ones
            rows = [order[had:want] for order, had, want in zip(orders, taken, wanted, strict=True)]
            moments.add(features, labels, np.concatenate(rows))
            taken = wanted
            counts[place] = sum(taken)
            found, ridges = _best(moments, ridges, *trial)
            hits[place].append((found.predict(test[0]) == test[1]).astype(float))
    right = [np.mean(draws_of_share, axis=0) for draws_of_share in hits]
    recall = [[row[test[1] == k].mean() if (test[1] == k).any() else np.nan for k in range(classes)] for row in right]
    accuracy = tuple(float(row.mean()) for row in right)
    return LearningCurve(tuple(shares), tuple(counts), accuracy, np.array(recall))


def probe(dataset: Dataset, frozen: FrozenNetwork, width: int, seed: int, reporter: Reporter) -> LearningCurve:
    """`learning_curve` on a data set that is split, with the features of a frozen network, the last `width` of them."""
    parts = []
    for name in SPLITS:
        found = frozen.features(dataset, name, ("original",), reporter)
        labels = np.array(label_numbers(found.pictures, dataset.classes))
        parts.append((found.views["original"][:, -width:], labels))
    frozen.make_room()
    train, validation, test = parts
    return learning_curve(train, validation, test, len(dataset.classes), seed)


def _best(
    moments: _Moments, ridges: tuple[float, ...], features: Floats, labels: Labels
) -> tuple[_Probe, tuple[float, ...]]:
    """The probe with the penalty that does best on the validation pictures, and the penalties to try with more pictures.

    The more training pictures, the smaller the penalty that is best: so the same again, and the next smaller one.
    """
    probes = [moments.solve(ridge) for ridge in ridges]
    best = int(np.argmax([(probe.predict(features) == labels).mean() for probe in probes]))
    place = _RIDGES.index(ridges[best])
    return probes[best], _RIDGES[place : place + 2]


@dataclass(frozen=True)
class _Standard:
    """Zero mean and unit variance for every feature."""

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, features: Floats) -> _Standard:
        some = features[:: max(1, len(features) // _SLICE)].astype(np.float32)
        scale = some.std(axis=0)
        return cls(some.mean(axis=0), scale + 0.1 * scale.mean() + 1e-9)

    def apply(self, features: Floats) -> Floats:
        standard: Floats = (features.astype(np.float32) - self.mean) / self.scale
        return standard


@dataclass(frozen=True)
class _Probe:
    standard: _Standard
    weights: Floats  # [F, K]
    offset: Floats  # [K]

    def predict(self, features: Floats) -> Labels:
        parts = (features[start : start + _SLICE] for start in range(0, len(features), _SLICE))
        found: Labels = np.concatenate(
            [(self.standard.apply(part) @ self.weights + self.offset).argmax(axis=1) for part in parts]
        )
        return found


class _Moments:
    """What ridge regression needs to know of the pictures so far; more can be added to it.

    While there are fewer pictures than features, they are kept themselves and the smaller of two equal systems is solved.
    """

    def __init__(self, standard: _Standard, classes: int) -> None:
        self._standard = standard
        width = len(standard.mean)
        self._kept: Floats | None = np.empty((0, width), np.float32)
        self._labels = np.empty(0, np.int64)
        self._inner = np.zeros((0, 0), np.float32)
        self._sum, self._classes = np.zeros(width, np.float64), classes
        self._cross = np.zeros((width, classes), np.float64)

    def add(self, features: Floats, labels: Labels, rows: Labels) -> None:
        """Add the pictures in these rows of features `[N, F]` and labels `[N]`."""
        for start in range(0, len(rows), _SLICE):
            part = rows[start : start + _SLICE]
            x = self._standard.apply(features[part])
            self._sum += x.sum(axis=0, dtype=np.float64)
            self._cross += x.T @ np.eye(self._classes, dtype=np.float32)[labels[part]]
            self._labels = np.append(self._labels, labels[part])
            if self._kept is not None:
                self._kept = np.concatenate([self._kept, x])
                if len(self._kept) > x.shape[1]:
                    self._inner, self._kept = self._kept.T @ self._kept, None
            else:
                self._inner += x.T @ x

    def solve(self, ridge: float) -> _Probe:
        """The probe, with a penalty of `ridge` times the number of pictures."""
        from scipy.linalg import solve

        count = len(self._labels)
        mean = (self._sum / count).astype(np.float32)
        share = np.bincount(self._labels, minlength=self._classes).astype(np.float32) / count
        strength = np.float32(ridge * count)
        if self._kept is not None:
            x = self._kept - mean
            inner = x @ x.T
            inner[np.diag_indices_from(inner)] += strength
            targets = np.eye(self._classes, dtype=np.float32)[self._labels] - share
            weights = x.T @ solve(inner, targets, assume_a="pos")
        else:
            inner = self._inner - count * np.outer(mean, mean)
            inner[np.diag_indices_from(inner)] += strength
            cross = self._cross.astype(np.float32) - count * np.outer(mean, share)
            weights = solve(inner, cross, assume_a="pos", overwrite_a=True)
        return _Probe(self._standard, weights, share - mean @ weights)
