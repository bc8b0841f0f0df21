"""The score by which a graph tells pictures that belong to none of its classes.

Mahalanobis distance to the nearest class mean (Lee et al. 2018, "A simple unified framework for detecting
out-of-distribution samples") of features scaled to length one (Mueller & Hein 2025, "Mahalanobis++"), with the shared
covariance as in probabilistic principal component analysis (Tipping & Bishop 1999): some directions with a variance of
their own, one variance for all others. That takes a small part of the memory of a full covariance and needs few pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.models.to_onnx import Graph

Floats = npt.NDArray[np.float64]

METHOD = "Mahalanobis distance on normalised features (Lee et al. 2018; Mueller & Hein 2025)"
_SMALLEST_NORM = 1e-6


@dataclass(frozen=True)
class Mahalanobis:
    """What the distance is measured by, for F features, D directions and K classes."""

    mean: Floats  # [F], of the features scaled to length one
    scale: Floats  # [F], their standard deviations
    directions: Floats  # [F, D], orthonormal, in standardized features
    variances: Floats  # [D], along the directions
    rest: float  # the variance along every other direction
    centres: Floats  # [K, F], class means of the standardized features

    def standardize(self, embedding: npt.NDArray[Any]) -> Floats:
        """Float `[N, F]` to length one, then to zero mean and unit variance."""
        norm = np.maximum(np.linalg.norm(embedding.astype(np.float64), axis=1, keepdims=True), _SMALLEST_NORM)
        standard: Floats = (embedding / norm - self.mean) / self.scale
        return standard

    def score(self, embedding: npt.NDArray[Any]) -> Floats:
        """The reference for the graph: float `[N, F]` to `[N]`, the root of the mean squared distance; about 1 where known."""
        z = self.standardize(embedding)
        distances = []
        for centre in self.centres:
            away = z - centre
            along = away @ self.directions
            others = np.square(away).sum(axis=1) - np.square(along).sum(axis=1)
            distances.append((np.square(along) / self.variances).sum(axis=1) + others / self.rest)
        nearest: Floats = np.maximum(np.min(distances, axis=0), 0.0)
        score: Floats = np.sqrt(nearest / len(self.mean))
        return score

    def add_to(self, graph: Graph, embedding: str) -> str:
        """Add the score to a graph and return the name of its value, `[N]`.

        With z the standardized features, s² the variance of the rest, U the directions and c a class mean,
        the squared distance is `|z|²/s² - |zA|² - 2 z·g + h` with `A = U sqrt(1/s² - 1/variances)`,
        `g = c/s² - A Aᵀc` and `h = c·g`: two products, with `[F, D]` and `[F, K]`.
        """
        features = len(self.mean)
        inward = self.directions * np.sqrt(np.maximum(1.0 / self.rest - 1.0 / self.variances, 0.0))
        pull = self.centres / self.rest - (self.centres @ inward) @ inward.T
        offset = (self.centres * pull).sum(axis=1)
        axis = graph.constant("unknown.axis", np.array([1], np.int64))

        def squares(value: str) -> str:
            return graph.op("ReduceSumSquare", [value, axis], (1,))

        norm = graph.op("ReduceL2", [embedding, axis], (1,))
        norm = graph.op("Max", [norm, graph.constant("unknown.smallest", np.array(_SMALLEST_NORM))], (1,))
        z = graph.op("Div", [embedding, norm], (features,))
        z = graph.op("Mul", [z, graph.constant("unknown.scale", 1.0 / self.scale)], (features,))
        z = graph.op("Sub", [z, graph.constant("unknown.mean", self.mean / self.scale)], (features,))
        spread = graph.op("Mul", [squares(z), graph.constant("unknown.rest", np.array(1.0 / self.rest))], (1,))
        along = graph.op("MatMul", [z, graph.constant("unknown.inward", inward)], (inward.shape[1],))
        spread = graph.op("Sub", [spread, squares(along)], (1,))
        weights = [graph.constant("unknown.pull", -2.0 * pull.T), graph.constant("unknown.offset", offset)]
        nearest = graph.op("Gemm", [z, *weights], (len(offset),))
        nearest = graph.op("ReduceMin", [nearest, axis], (1,))
        distance = graph.op("Relu", [graph.op("Add", [spread, nearest], (1,))], (1,))
        distance = graph.op("Mul", [distance, graph.constant("unknown.share", np.array(1.0 / features))], (1,))
        return graph.op("Squeeze", [graph.op("Sqrt", [distance], (1,)), axis], ())
