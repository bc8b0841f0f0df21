"""Calibration: probabilities that mean what they say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

PRIOR = 0.5
NOTHING = 1e-4  # nats, or share of errors: one image of 10,000


def fit_temperature(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the temperature T with the least log loss of `softmax(logits / T)`.

    T is from 0.05 to 20 (temperature scaling, Guo et al. 2017).

    A weak prior holds T near 1 (log T is normal with a standard deviation of `PRIOR`): where a small validation set has
    no mistake at all, the least loss is at T = 0, and the first mistake would be made with certainty.

    Args:
        logits: float `[N, K]`, of pictures that the network was not trained on.
        labels: int `[N]`, 0 to K - 1.

    Returns:
        T, and the mean log loss at T in nats.
    """
    from scipy.optimize import minimize_scalar

    logits = logits.astype(np.float64)
    found = minimize_scalar(
        lambda log_temperature: (
            log_losses(logits / np.exp(log_temperature), labels).mean()
            + 0.5 * (log_temperature / PRIOR) ** 2 / len(labels)
        ),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    temperature = float(np.exp(found.x))
    return temperature, float(log_losses(logits / temperature, labels).mean())


def calibrated_losses(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return `log_losses` after temperature scaling fitted on the same images.

    They are infinite where a logit is not finite.
    """
    if not np.isfinite(logits).all():
        return np.full(len(labels), np.inf)
    return log_losses(logits / fit_temperature(logits, labels)[0], labels)


def clearly_less(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], errors: float) -> bool:
    """Return whether the mean of `one` is clearly below that of `other`, `[N]` each.

    Both are of the same images.

    Clearly is by more than `errors` standard errors of the paired differences, and by more than `NOTHING`: what is less for
    every image by a rounding error has hardly a standard error.
    """
    gain = other - one
    return bool(gain.mean() > max(errors * gain.std() / np.sqrt(len(gain)), NOTHING))


def beats(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> bool:
    """Return whether one model is clearly more often right than another.

    Both are bool `[N]`, of the same images.

    Clearly is by more than one and a half standard errors of the paired differences, so by three images at least.
    """
    return clearly_less((~one).astype(np.float64), (~other).astype(np.float64), errors=1.5)


def log_losses(logits: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return `-log softmax(logits)` at the true class of each image, `[N]`, in nats."""
    logits = logits.astype(np.float64)
    top = logits.max(axis=1)
    total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    losses: npt.NDArray[np.float64] = total - logits[np.arange(len(labels)), labels]
    return losses


def acceptance_threshold(scores: npt.NDArray[Any], share: float = 0.95) -> tuple[float, float]:
    """Return the score that a known image exceeds with at most the remaining chance.

    With it comes the chance that is kept.

    Args:
        scores: float `[N]`, of known pictures that no weight was fitted on; a new picture ranks among them like any other
            (Vovk et al. 2005), so the threshold is the `ceil((N + 1) * share)`-th smallest.
        share: 0 to 1. With too few pictures to promise it, N / (N + 1) is promised: the threshold is the largest score.
    """
    ordered = np.sort(scores)
    place = math.ceil((len(ordered) + 1) * share)
    if place > len(ordered):
        return float(ordered[-1]), len(ordered) / (len(ordered) + 1)
    return float(ordered[place - 1]), share


def conformal_scores(labels: npt.NDArray[Any], probabilities: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the calibration scores of split conformal prediction, ascending `[N]`.

    See Sadinle, Lei & Wasserman (2019).

    They are 1 - the probability of the true class, of pictures that the network was not trained on.
    """
    own = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.sort(np.clip(1.0 - own, 0.0, 1.0))
