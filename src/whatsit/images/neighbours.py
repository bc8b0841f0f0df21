"""Nearest neighbours of vectors, exact for few, by an index of cells for many."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from whatsit.arrays import Float32, Int64
from whatsit.images.stored_arrays import Rows, new_array, pieces, release, take_rows

EXACT = 10_000  # vectors up to which all are compared with all, which takes a second
MOST = 3_000_000  # vectors of which an index is made; it takes 400 bytes of memory for each
MOST_EXACT = 200_000  # without an index
_DIMENSIONS = 96
_BLOCK = 512  # vectors that are compared with all others at a time
_PROBED = 12  # cells that are searched, of about the square root of the number of vectors
_LEARNED = 64  # vectors of each cell that its centre is learned from
_SAMPLE = 2000  # vectors that the principal components are computed from
_ROWS = 4096  # vectors that are float32 at a time


class Neighbours:
    """An index of vectors by the cosine between them.

    Few vectors, or any number where faiss is not installed, are compared exactly, in quadratic time. Many are found in
    the cells of an inverted file (Jégou et al., "Product quantization for nearest neighbor search", 2011, without the
    quantization), which gives the same result each time, unlike graphs that are built on several threads.
    """

    def __init__(self, vectors: Rows, *, centred: bool) -> None:
        """Index the vectors, `[N, F]` of any number type, less their mean where `centred`."""
        self.vectors, _ = principal_components(vectors, min(_DIMENSIONS, *vectors.shape), centred=centred)
        for some in pieces(self.vectors):
            some /= np.maximum(np.linalg.norm(some, axis=1, keepdims=True), 1e-6)
        self._cells = None if len(vectors) <= EXACT else _cells(self.vectors)

    def nearest(self, numbers: Int64, count: int, least: float) -> tuple[Int64, Float32]:
        """Return the `count` nearest others of some vectors, nearest first.

        Args:
            numbers: which vectors, int64 `[M]`.
            count: of neighbours, at least 1.
            least: the smallest cosine of a neighbour.

        Returns:
            Their numbers, int64 `[M, count]`, -1 where a vector has fewer, and their cosines, float32 `[M, count]`.
        """
        found = np.full((len(numbers), count), -1, np.int64)
        similar = np.full((len(numbers), count), -1, np.float32)
        for start in range(0, len(numbers), _BLOCK):
            block = numbers[start : start + _BLOCK]
            rows, others, cosines = self._similar(block, count, least)
            rows, others, cosines = (values[others != block[rows]] for values in (rows, others, cosines))
            order = np.lexsort((others, -cosines, rows))
            rows, others, cosines = rows[order], others[order], cosines[order]
            ranks = np.arange(len(rows)) - np.searchsorted(rows, rows)
            near = ranks < count
            found[start + rows[near], ranks[near]] = others[near]
            similar[start + rows[near], ranks[near]] = cosines[near]
        return found, similar

    def _similar(self, block: Int64, count: int, least: float) -> tuple[Int64, Int64, Float32]:
        """Return the rows of the block, the numbers and the cosines of similar vectors."""
        if self._cells is None:
            products = self.vectors[block] @ self.vectors.T
            rows, others = np.divmod(np.flatnonzero(products >= least), products.shape[1])
            return rows, others, products[rows, others]
        cosines, numbers = self._cells.search(self.vectors[block], count + 1)
        rows, columns = np.nonzero((numbers >= 0) & (cosines >= least))
        return rows, numbers[rows, columns], cosines[rows, columns]


def _cells(vectors: Float32) -> Any:
    """Return an index of faiss; None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    count, dimensions = vectors.shape
    cells = round(np.sqrt(count))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimensions), dimensions, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = _LEARNED
    index.nprobe = min(_PROBED, cells)
    index.train(vectors)
    for some in pieces(vectors, 64 * _ROWS):
        index.add(some)
    return index


def can_search(count: int) -> bool:
    """Return whether that many vectors can be searched in reasonable time and memory."""
    return count <= (MOST if find_spec("faiss") else MOST_EXACT)


def principal_components(vectors: Rows, count: int, *, centred: bool = True) -> tuple[Float32, Float32]:
    """Project vectors on the `count` directions of the largest variance.

    Args:
        vectors: of any number type, `[N, F]`; never copied as a whole.
        count: at most F and N.
        centred: subtract the mean; without it, what all vectors share is one of the directions.

    Returns:
        The vectors, centred or not, in these directions, float32 `[N, count]`, and the variance of each direction, ascending.
    """
    sample = np.sort(np.random.default_rng(0).permutation(len(vectors))[:_SAMPLE])
    some = take_rows(vectors, sample).astype(np.float32)
    mean = some.mean(axis=0) if centred else np.zeros(some.shape[1], np.float32)
    some -= mean
    if len(some) < some.shape[1]:  # of the two products that have the same variances, the smaller one
        variances, sides = np.linalg.eigh(some @ some.T / len(some))
        axes = some.T @ sides[:, -count:]
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-9)
    else:
        variances, axes = np.linalg.eigh(some.T @ some / len(some))
    axes, variances = np.ascontiguousarray(axes[:, -count:]), variances[-count:]
    result = new_array((len(vectors), axes.shape[1]), np.float32)
    for start in range(0, len(vectors), _ROWS):
        result[start : start + _ROWS] = (vectors[start : start + _ROWS].astype(np.float32) - mean) @ axes
        release(result)
        release(vectors)
    return result, variances
