"""A linear probe (Alain & Bengio 2016): ridge regression on frozen features.

It has one target a class, and a closed form.

It takes a second, cannot diverge, and needs no choice of a learning rate: what every trained head is held against.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from whatsit.arrays import Array, Labels
from whatsit.images.stored_arrays import is_stored, pieces, take_rows

RIDGES = (3.0, 0.3, 0.03, 0.003)  # penalties, times the number of images; of equally good ones the larger is taken
TRIAL = 2000  # validation images by which the penalty is chosen
_SLICE = 4096  # images at a time


def fit_probe(
    train: tuple[Array, Labels], validation: tuple[Array, Labels], classes: int, seed: int = 0
) -> LinearProbe:
    """Fit the probe, with the penalty that does best on the validation images.

    Args:
        train: features float `[N, F]` and labels int `[N]`, 0 to `classes - 1`.
        validation: the same, by which the penalty is chosen.
        classes: K.
        seed: of the draw of at most `TRIAL` validation images.
    """
    moments = Moments(Standard.of(train[0]), classes)
    moments.add(*train, np.arange(len(train[1])))
    return best_penalty(moments, RIDGES, *trial_of(validation, np.random.default_rng(seed)))[0]


def trial_of(validation: tuple[Array, Labels], rng: np.random.Generator) -> tuple[Array, Labels]:
    """Return the validation images by which a penalty is chosen."""
    some = rng.permutation(len(validation[1]))[:TRIAL]
    return take_rows(validation[0], some), validation[1][some]


def best_penalty(
    moments: Moments, ridges: tuple[float, ...], features: Array, labels: Labels
) -> tuple[LinearProbe, tuple[float, ...]]:
    """Return the probe with the best penalty, and the penalties to try next.

    Validation images judge; next means with more training images.

    The more training images, the smaller the best penalty: so the same again, and the next smaller one.
    """
    probes = [moments.solve(ridge) for ridge in ridges]
    best = int(np.argmax([(probe.predict(features) == labels).mean() for probe in probes]))
    place = RIDGES.index(ridges[best])
    return probes[best], RIDGES[place : place + 2]


@dataclass(frozen=True)
class Standard:
    """Zero mean and unit variance for every feature."""

    mean: Array
    scale: Array

    @classmethod
    def of(cls, features: Array) -> Standard:
        """Return the standard of a sample of features float `[N, F]`.

        Those that hardly vary are not scaled up.
        """
        rows = np.arange(0, len(features), max(1, len(features) // _SLICE))
        some = take_rows(features, rows).astype(np.float32)
        scale = some.std(axis=0)
        return cls(some.mean(axis=0), scale + 0.1 * scale.mean() + 1e-9)

    def apply(self, features: Array) -> Array:
        """Return standardized features, float32 `[N, F]`."""
        standard: Array = (features.astype(np.float32) - self.mean) / self.scale
        return standard


@dataclass(frozen=True)
class LinearProbe:
    """A linear classifier of standardized features."""

    standard: Standard
    weights: Array  # [F, K]
    offset: Array  # [K]

    def scores(self, features: Array) -> Array:
        """Return the regression's values, float32 `[N, K]`: about 1 for the class."""
        return np.concatenate([*self._parts(features)])

    def predict(self, features: Array) -> Labels:
        """Return the class of the largest score, int `[N]`."""
        return np.concatenate([scores.argmax(axis=1) for scores in self._parts(features)])

    def _parts(self, features: Array) -> Iterator[Array]:
        """Yield the scores of some images at a time."""
        for part in pieces(features, _SLICE):
            yield self.standard.apply(part) @ self.weights + self.offset


class Moments:
    """The sums that ridge regression needs of the images so far; more can be added.

    While there are fewer images than features, they are kept themselves and the smaller of two equal systems is solved.
    """

    def __init__(self, standard: Standard, classes: int) -> None:
        self._standard = standard
        width = len(standard.mean)
        self._kept: Array | None = np.empty((0, width), np.float32)
        self._labels = np.empty(0, np.int64)
        self._inner = np.zeros((0, 0), np.float32)
        self._sum, self._classes = np.zeros(width, np.float64), classes
        self._cross = np.zeros((width, classes), np.float64)

    def add(self, features: Array, labels: Labels, rows: Labels) -> None:
        """Add the images in these rows of features `[N, F]` and labels `[N]`."""
        if is_stored(features):
            rows = np.sort(rows)  # a file is read from its start to its end
        for start in range(0, len(rows), _SLICE):
            part = rows[start : start + _SLICE]
            x = self._standard.apply(take_rows(features, part))
            self._sum += x.sum(axis=0, dtype=np.float64)
            self._cross += x.T @ np.eye(self._classes, dtype=np.float32)[labels[part]]
            self._labels = np.append(self._labels, labels[part])
            if self._kept is not None:
                self._kept = np.concatenate([self._kept, x])
                if len(self._kept) > x.shape[1]:
                    self._inner, self._kept = self._kept.T @ self._kept, None
            else:
                self._inner += x.T @ x

    def solve(self, ridge: float) -> LinearProbe:
        """Return the probe with the best penalty, and the penalties to try next.

        Validation images judge; next means with more training images.
        """
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
        return LinearProbe(self._standard, weights, share - mean @ weights)
