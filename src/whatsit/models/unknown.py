"""The out-of-distribution score of a graph.

Mahalanobis distance to the nearest class mean (Lee et al. 2018, "A simple unified framework for detecting
out-of-distribution samples") of features scaled to length one (Mueller & Hein 2025, "Mahalanobis++"), with the shared
covariance as in probabilistic principal component analysis (Tipping & Bishop 1999): some directions with a variance of
their own, one variance for all others. That takes a small part of the memory of a full covariance and needs few pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Float64
from whatsit.graph.builder import Graph

METHOD = "Mahalanobis distance on normalised features (Lee et al. 2018; Mueller & Hein 2025)"
CANDIDATES = 3  # classes whose distance is computed exactly, where there are too many for all
MOST_NUMBERS = 50_000  # of all class means; with these a subtraction costs a hundredth of what the network does
LEAST = 0.3  # score of an image that lies on a class mean: below it, rounding would decide the digits
SMALLEST_NORM = 1e-6
SQUARABLE = 1e-16  # times the largest feature is at most one where squares of up to a million features fit into float32
_LARGE = 1e30  # above every distance


@dataclass(frozen=True)
class Mahalanobis:
    """The parameters of the distance, for F features, D directions and K classes."""

    mean: Float64  # [F], of the features scaled to length one
    scale: Float64  # [F], their standard deviations
    directions: Float64  # [F, D], orthonormal, in standardized features
    variances: Float64  # [D], along the directions
    rest: float  # the variance along every other direction, at most any of `variances`
    centres: Float64  # [K, F], class means of the standardized features

    def standardize(self, embedding: npt.NDArray[Any]) -> Float64:
        """Scale float `[N, F]` to length one, then to zero mean and unit variance."""
        norm = np.maximum(np.linalg.norm(embedding.astype(np.float64), axis=1, keepdims=True), SMALLEST_NORM)
        standard: Float64 = (embedding / norm - self.mean) / self.scale
        return standard

    def whiten(self, standard: Float64) -> Float64:
        """Scale standardized features `[N, F]` to variance one in every direction.

        That is `z C^(-1/2)` for the covariance C.
        With `rest` s², directions U and standard deviations t along them, that is `(z - z U (1 - s/t) Uᵀ) / s`.
        """
        white: Float64 = (
            standard - (standard @ self.directions) * self._shrinkage @ self.directions.T
        ) / self._deviation
        return white

    @property
    def _deviation(self) -> float:
        return float(np.sqrt(self.rest))

    @property
    def _shrinkage(self) -> Float64:
        shrinkage: Float64 = 1.0 - np.sqrt(self.rest / self.variances)
        return shrinkage

    def score(self, embedding: npt.NDArray[Any]) -> Float64:
        """Return the score of `[N, F]` in float64 `[N]`: the reference for the graph.

        It is about 1 for an image of the classes: the root of the mean squared distance per feature to the nearest class
        mean, plus `LEAST` squared.
        """
        white = self.whiten(self.standardize(embedding))
        distances = [np.square(white - centre).mean(axis=1) for centre in self.whiten(self.centres)]
        score: Float64 = np.sqrt(np.min(distances, axis=0) + LEAST**2)
        return score

    def add_to(self, graph: Graph, embedding: str) -> str:
        """Add the score to a graph and return the name of its value, `[N]`.

        Only squares of differences are summed: the same distance as a difference of sums (such as `|w|² - 2 w·c + |c|²`)
        loses its digits in float32 where the sums are large. That form, one product with `[K, F]`, only
        chooses the classes whose distance is then computed, where they are many.
        """
        standard = self._add_standardized(graph, embedding)
        white = self._add_whitened(graph, standard)
        features = len(self.mean)
        near, count = self._add_candidates(graph, white)
        axis = graph.constant("unknown.axis", np.array([1], np.int64))
        away = graph.op("Sub", [graph.op("Unsqueeze", [white, axis], (1, features)), near], (count, features))
        distances = _add_sum_of_squares(graph, away)
        nearest = graph.op("ReduceMin", [distances, axis], (), keepdims=0)
        share = graph.op("Mul", [nearest, graph.constant("unknown.share", np.array(1.0 / features))], ())
        return graph.op("Sqrt", [graph.op("Add", [share, graph.constant("unknown.least", np.array(LEAST**2))], ())], ())

    def _add_standardized(self, graph: Graph, embedding: str) -> str:
        features = len(self.mean)
        axis = graph.constant("unknown.axis", np.array([1], np.int64))
        # Only where squares would not fit into float32 are features divided first: that rounds, and division by one does not.
        size = graph.op("ReduceMax", [graph.op("Abs", [embedding], (features,)), axis], (1,))
        size = graph.op("Mul", [size, graph.constant("unknown.shrink", np.array(SQUARABLE))], (1,))
        size = graph.op("Max", [size, graph.constant("unknown.one", np.array(1.0))], (1,))
        fitting = graph.op("Div", [embedding, size], (features,))
        squares = graph.op("Unsqueeze", [_add_sum_of_squares(graph, fitting), axis], (1,))
        norm = graph.op("Sqrt", [squares], (1,))
        norm = graph.op("Max", [norm, graph.constant("unknown.smallest", np.array(SMALLEST_NORM))], (1,))
        unit = graph.op("Div", [fitting, norm], (features,))
        # The mean is taken off before the division by what may be small: the other way round two large numbers differ.
        unit = graph.op("Sub", [unit, graph.constant("unknown.mean", self.mean)], (features,))
        return graph.op("Mul", [unit, graph.constant("unknown.scale", 1.0 / self.scale)], (features,))

    def _add_whitened(self, graph: Graph, standard: str) -> str:
        features, directions = self.directions.shape
        axes = graph.constant("unknown.directions", self.directions)
        along = graph.op("MatMul", [standard, axes], (directions,))
        along = graph.op("Mul", [along, graph.constant("unknown.shrinkage", self._shrinkage)], (directions,))
        white = graph.op("Sub", [standard, graph.op("Gemm", [along, axes], (features,), transB=1)], (features,))
        return graph.op("Mul", [white, graph.constant("unknown.rest", np.array(1.0 / self._deviation))], (features,))

    def _add_candidates(self, graph: Graph, white: str) -> tuple[str, int]:
        """Return the class means that may be nearest, whitened `[1 or N, C, F]`, and C."""
        centres = self.whiten(self.centres)
        count, features = centres.shape
        if centres.size <= MOST_NUMBERS:
            return graph.constant("unknown.centres", centres[None]), count
        means = graph.constant("unknown.centres", centres)
        lengths = graph.constant("unknown.lengths", np.square(centres).sum(axis=1))
        distances = graph.op("Gemm", [white, means, lengths], (count,), alpha=-2.0, transB=1)
        places = _add_places_of_smallest(graph, distances)
        return graph.op("Gather", [means, places], (CANDIDATES, features), axis=0), CANDIDATES


def _add_places_of_smallest(graph: Graph, values: str) -> str:
    """Add the places of the smallest values of each row, int64 `[N, CANDIDATES]`.

    Not by TopK or ArgMin, which OpenVINO 2026.4 refuses on processors without AVX2 ("bad combination").
    """
    from onnx import TensorProto

    (count,) = graph.shapes[values]
    axis = graph.constant("unknown.axis", np.array([1], np.int64))
    numbers = graph.constant("unknown.places", np.arange(count, dtype=np.float64)[None])
    last = graph.constant("unknown.last_place", np.array(count - 1.0))
    taken = graph.constant("unknown.taken", np.array(_LARGE))
    found: list[str] = []
    for _ in range(CANDIDATES):
        if found:
            values = graph.op("Where", [graph.op("Equal", [numbers, found[-1]], (count,)), taken, values], (count,))
        least = graph.op("ReduceMin", [values, axis], (1,))
        here = graph.op("Where", [graph.op("LessOrEqual", [values, least], (count,)), numbers, last], (count,))
        found.append(graph.op("ReduceMin", [here, axis], (1,)))
    places = graph.op("Concat", found, (CANDIDATES,), axis=1)
    return graph.op("Cast", [places], (CANDIDATES,), to=TensorProto.INT64)


def _add_sum_of_squares(graph: Graph, value: str) -> str:
    """Add the sum of squares over the last axis.

    In two steps: added one by one, thousands of squares lose a digit to rounding.
    """
    *others, features = graph.shapes[value]
    part = max(part for part in range(1, math.isqrt(features) + 1) if features % part == 0)
    shape = (*others, features // part, part)
    dimensions = graph.constant(f"unknown.parts_{len(shape)}", np.array([-1, *shape], np.int64))
    parts = graph.op("Reshape", [value, dimensions], shape)
    last = graph.constant(f"unknown.last_{len(shape)}", np.array([len(shape)], np.int64))
    sums = graph.op("ReduceSumSquare", [parts, last], shape[:-1], keepdims=0)
    before = graph.constant(f"unknown.last_{len(shape) - 1}", np.array([len(shape) - 1], np.int64))
    return graph.op("ReduceSum", [sums, before], shape[:-2], keepdims=0)
