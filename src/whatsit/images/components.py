"""Long vectors made short, so that tens of thousands of them can be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_SAMPLE = 2000  # vectors that the components are computed from
_ROWS = 4096  # vectors that are float32 at a time


def principal_components(vectors: npt.NDArray[Any], count: int, *, centred: bool = True) -> tuple[Floats, Floats]:
    """The `count` directions of the largest variance, in which most of the distances lie.

    Args:
        vectors: of any number type, `[N, F]`; never copied as a whole.
        count: at most F and N.
        centred: take the mean away; without it, what all vectors share is one of the directions.

    Returns:
        The vectors, centred or not, in these directions, float32 `[N, count]`, and the variance of each direction, ascending.
    """
    some = vectors[np.sort(np.random.default_rng(0).permutation(len(vectors))[:_SAMPLE])].astype(np.float32)
    mean = some.mean(axis=0) if centred else np.zeros(some.shape[1], np.float32)
    some -= mean
    if len(some) < some.shape[1]:  # of the two products that have the same variances, the smaller one
        variances, sides = np.linalg.eigh(some @ some.T / len(some))
        axes = some.T @ sides[:, -count:]
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-9)
    else:
        variances, axes = np.linalg.eigh(some.T @ some / len(some))
    axes, variances = np.ascontiguousarray(axes[:, -count:]), variances[-count:]
    result = np.empty((len(vectors), axes.shape[1]), np.float32)
    for start in range(0, len(vectors), _ROWS):
        result[start : start + _ROWS] = (vectors[start : start + _ROWS].astype(np.float32) - mean) @ axes
    return result, variances
