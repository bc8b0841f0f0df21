"""The weights of an ensemble's members, found on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Float64

ROUNDS = 50


@dataclass(frozen=True)
class Votes:
    """The weights of the members, which sum to 1, and a factor of their logits."""

    weights: tuple[float, ...]
    sharpness: float  # above 1 where the mean of the members' probabilities is too timid


def fit_votes(logits: Sequence[npt.NDArray[Any]], labels: npt.NDArray[Any]) -> Votes:
    """Choose weights by greedy selection with replacement, then sharpen the mean.

    See Caruana et al. (2004).

    Round after round the member joins whose probabilities, averaged in, give the fewest errors. Of the rounds within a quarter
    of a standard error of the fewest, the one with the least log loss has the weights. A mean of calibrated probabilities is
    less sure than it could be, so one factor for all logits is fitted by log loss afterwards (Rahaman & Thiery 2021).

    Args:
        logits: of each member `[N, K]`, calibrated.
        labels: int `[N]`.
    """
    counts = _select([_softmax(np.asarray(one, np.float64)) for one in logits], labels)
    weights = counts / counts.sum()
    chosen = [(weight, np.asarray(one, np.float64)) for weight, one in zip(weights, logits, strict=True) if weight]

    def loss(power: float) -> float:
        return _log_loss(sum(weight * _softmax(np.exp(power) * one) for weight, one in chosen), labels)

    return Votes(tuple(float(weight) for weight in weights), float(np.exp(_least(loss, -1.0, 1.5))))


def _select(members: Sequence[Float64], labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return how often each member was chosen, at the best round."""
    counts = np.zeros(len(members), np.int64)
    total = np.zeros_like(members[0])
    rounds: list[tuple[float, float, npt.NDArray[np.int64]]] = []
    for chosen in range(1, ROUNDS + 1):
        means = [(total + member) / chosen for member in members]
        scores = [(_errors(mean, labels), _log_loss(mean, labels)) for mean in means]
        winner = min(range(len(members)), key=lambda place: scores[place])
        counts = counts.copy()
        counts[winner] += 1
        total = total + members[winner]
        rounds.append((*scores[winner], counts))
    fewest = min(errors for errors, _, _ in rounds)
    slack = 0.25 * np.sqrt(fewest * (1 - fewest) / len(labels))
    return min((one for one in rounds if one[0] <= fewest + slack), key=lambda one: one[1])[2]


def _errors(probabilities: Float64, labels: npt.NDArray[Any]) -> float:
    return float((probabilities.argmax(axis=1) != labels).mean())


def _softmax(logits: Float64) -> Float64:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Float64 = raised / raised.sum(axis=1, keepdims=True)
    return probabilities


def _log_loss(probabilities: Float64, labels: npt.NDArray[Any]) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def _least(loss: Any, low: float, high: float) -> float:
    """Return where a function of one minimum is least, to a thousandth."""
    from scipy.optimize import minimize_scalar

    return float(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3}).x)
