"""What to label next: a batch of pictures that is both unsure and varied.

Zhdanov 2019, "Diverse mini-batch active learning": the pictures that the model is least sure of, by the margin between its two
most probable classes, are clustered by k-means with the doubt as their weight, and of each cluster the picture nearest
to its centre is taken. `benchmarks/suggest.py` compares it with others, `docs/decisions/0041` has the figures.
"""

from __future__ import annotations

import numpy as np

from whatsit.arrays import Array, Float32, Int64

FACTOR = 10  # times as many candidates as pictures that are wanted; Zhdanov's beta
_ROUNDS = 20  # of k-means, at most


def doubts(probabilities: Array) -> Float32:
    """Return 1 - the margin of the two most probable classes, `[N]`, 0 to 1.

    Args:
        probabilities: float `[N, K]`, calibrated, K at least 2.
    """
    best = np.partition(probabilities.astype(np.float32), -2, axis=1)[:, -2:]
    return np.asarray(1.0 - np.abs(best[:, 1] - best[:, 0]), np.float32)


def choose(rows: Array, weights: Array, count: int, seed: int = 0) -> Int64:
    """Return the numbers of a varied batch, those that stand for the most first.

    Args:
        rows: embeddings of the candidates, float `[M, F]`, each of length 1.
        weights: how much each is worth, float `[M]`, 0 or more.
        count: the number of pictures; with `count >= M` all are returned.
        seed: of the first centres.
    """
    rows, weights = rows.astype(np.float32), np.maximum(weights.astype(np.float64), 1e-6)
    if count >= len(rows):
        return np.argsort(-weights, kind="stable")
    centres = rows[_first_centres(rows, weights, count, np.random.default_rng(seed))]
    nearest = np.full(len(rows), -1)
    for _ in range(_ROUNDS):
        before, nearest = nearest, _distances(rows, centres).argmin(axis=1)
        if np.array_equal(before, nearest):
            break
        for number in range(count):
            own = nearest == number
            if own.any():
                centres[number] = np.average(rows[own], axis=0, weights=weights[own])
    return _of_clusters(_distances(rows, centres), nearest, weights, count)


def _of_clusters(distances: Float32, nearest: Int64, weights: Array, count: int) -> Int64:
    """Return the picture nearest to each centre, the heaviest cluster first.

    A cluster without pictures takes the heaviest picture that is left.
    """
    chosen, left = [], np.ones(len(weights), bool)
    heavy = np.bincount(nearest, weights, minlength=count)
    for number in np.argsort(-heavy, kind="stable"):
        own = np.flatnonzero((nearest == number) & left)
        picked = int(own[distances[own, number].argmin()]) if len(own) else int(np.where(left, weights, -1).argmax())
        chosen.append(picked)
        left[picked] = False
    return np.array(chosen, np.int64)


def _first_centres(rows: Float32, weights: Array, count: int, rng: np.random.Generator) -> Int64:
    """Draw the first centres by k-means++ (Arthur & Vassilvitskii 2007), weighted."""
    chosen = [int(weights.argmax())]
    far = np.full(len(rows), np.inf)
    for _ in range(1, count):
        far = np.minimum(far, _distances(rows, rows[chosen[-1:]])[:, 0])
        shares = far * weights
        shares[chosen] = 0.0
        total = shares.sum()
        if not total > 0:  # only copies are left
            shares = np.where(np.isin(np.arange(len(rows)), chosen), 0.0, weights)
            total = shares.sum()
        chosen.append(int(rng.choice(len(rows), p=shares / total)))
    return np.array(chosen, np.int64)


def _distances(rows: Float32, centres: Float32) -> Float32:
    """Return the squared distances `[M, C]`."""
    squares = np.square(rows).sum(axis=1)[:, None] + np.square(centres).sum(axis=1)[None]
    return np.asarray(np.maximum(squares - 2.0 * rows @ centres.T, 0.0), np.float32)
