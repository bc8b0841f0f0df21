"""Calibration: probabilities that mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def fit_temperature(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[float, float]:
    """The T, 0.05 to 20, for which `softmax(logits / T)` has the least log loss (temperature scaling, Guo et al. 2017).

    Args:
        logits: float `[N, K]`, of pictures that the network was not trained on.
        labels: int `[N]`, 0 to K - 1.

    Returns:
        T, and the mean log loss at T in nats.
    """
    from scipy.optimize import minimize_scalar

    logits = logits.astype(np.float64)
    found = minimize_scalar(
        lambda log_temperature: log_loss(logits / np.exp(log_temperature), labels),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x)), float(found.fun)


def log_loss(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """The mean of `-log softmax(logits)` at the true class, in nats."""
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return float(np.mean(total - logits[np.arange(len(labels)), labels]))
