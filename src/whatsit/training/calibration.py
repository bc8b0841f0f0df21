"""Calibration: probabilities that mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def fit_temperature(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    """The T, 0.05 to 20, for which `softmax(logits / T)` has the least log loss (temperature scaling, Guo et al. 2017).

    Args:
        logits: float `[N, K]`, of pictures that the network was not trained on.
        labels: int `[N]`, 0 to K - 1.
    """
    from scipy.optimize import minimize_scalar

    logits = logits.astype(np.float64)
    own = logits[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(axis=1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float(np.mean(total - own / np.exp(log_temperature)))

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(found.x))
