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
        lambda log_temperature: log_losses(logits / np.exp(log_temperature), labels).mean(),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x)), float(found.fun)


def calibrated_losses(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """`log_losses` after temperature scaling fitted on the same pictures; infinite where a logit is not finite."""
    if not np.isfinite(logits).all():
        return np.full(len(labels), np.inf)
    return log_losses(logits / fit_temperature(logits, labels)[0], labels)


def clearly_less(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], errors: float) -> bool:
    """Whether the mean of `one` is below that of `other` by more than so many standard errors of the paired differences."""
    gain = other - one
    return bool(gain.mean() > errors * gain.std() / np.sqrt(len(gain)))


def log_losses(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """`-log softmax(logits)` at the true class of each picture, `[N]`, in nats."""
    logits = logits.astype(np.float64)
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    losses: npt.NDArray[np.float64] = total - logits[np.arange(len(labels)), labels]
    return losses
