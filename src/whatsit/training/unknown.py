"""The fit of the unknown score on the features of the training images.

See `models/unknown.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.models.unknown import SMALLEST_NORM, Mahalanobis

DIRECTIONS = 128
MAX_PICTURES = 10_000  # more change the metrics by nothing that can be measured, and take time
# Spread below which features and directions do not count: rounding, 1e-6 of a feature between two runtimes, would stand out.
# Seven trained networks had a mean scale of 0.14 to 0.78 of a feature's root mean square and a rest of 0.03 to 0.29, so single
# quiet features fall below the floor and the rest does not. Decision 19 has what a higher floor cost.
LEAST_SCALE = 0.04  # share of the root mean square of a feature, which is 1 / sqrt(F) at length one
LEAST_SCALE_OF_FEW = 0.4  # divided by F: of few features the rounding does not average out
LEAST_REST = 0.01  # share of the variance of a standardized feature
LEAST_REST_OF_FEW = 2.0  # divided by F, as for the scale: decides below 200 features, and at most `MOST_REST`
MOST_REST = 0.5
FEW = 500  # training images by which a trial fits it


def fit_mahalanobis(embedding: npt.NDArray[Any], labels: npt.NDArray[Any], classes: int, seed: int = 0) -> Mahalanobis:
    """Fit the distance on training pictures.

    Args:
        embedding: float `[N, F]`, what the head sees of them.
        labels: int `[N]`, 0 to `classes - 1`, every class among them.
        classes: K.
        seed: of the search for the main directions (Halko et al. 2011).
    """
    from sklearn.utils.extmath import randomized_svd

    # In place throughout: with many pictures this is among the largest arrays of a training run.
    x = embedding.astype(np.float32)
    x /= np.maximum(np.maximum(x.max(axis=1), -x.min(axis=1)), SMALLEST_NORM)[:, None]
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1.0)
    mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0)
    width = x.shape[1]
    scale = np.maximum(scale, max(0.1 * scale.mean(), LEAST_SCALE / math.sqrt(width), LEAST_SCALE_OF_FEW / width))
    mean, scale = _as_float32(mean), _as_float32(scale)
    x -= mean.astype(np.float32)
    x /= scale.astype(np.float32)
    centres = np.stack([x[labels == k].mean(axis=0, dtype=np.float64) for k in range(classes)])
    for k in range(classes):
        x[labels == k] -= centres[k].astype(np.float32)
    count, features = x.shape
    freedom = max(count - classes, 1)
    directions = max(1, min(DIRECTIONS, freedom // 2, features // 2))
    _, spread, axes = randomized_svd(x, directions, n_iter=3, random_state=seed)
    variances = np.square(spread.astype(np.float64)) / freedom
    total = float(np.einsum("nf,nf->f", x, x).sum(dtype=np.float64)) / freedom
    floor = max(LEAST_REST, min(LEAST_REST_OF_FEW / features, MOST_REST))
    rest = max((total - variances.sum()) / max(features - directions, 1), floor)
    return Mahalanobis(mean, scale, axes.T.astype(np.float64), np.maximum(variances, rest), rest, centres)


def _as_float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values as a graph stores them, for a reference computed from the same."""
    return values.astype(np.float32).astype(np.float64)


def enough_rows(
    labels: npt.NDArray[Any], classes: int, seed: int = 0, most: int = MAX_PICTURES
) -> npt.NDArray[np.int64]:
    """Return rows to fit on: all, or some of each class in proportion, at least one."""
    if len(labels) <= most:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    kept = []
    for k in range(classes):
        rows = np.flatnonzero(labels == k)
        kept.append(rng.permutation(rows)[: max(1, len(rows) * most // len(labels))])
    return np.sort(np.concatenate(kept))
