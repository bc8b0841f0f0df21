"""The gate for int8: what rounds a model to 8 bits must not change its answers by much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_LOSS = 0.01  # of test accuracy
LEAST_AGREEMENT = 0.98  # share of test pictures with the same label as by the float model


@dataclass(frozen=True)
class Gate:
    """How an int8 model compares with the float model that it was made of, on test pictures."""

    accuracy: float
    float_accuracy: float
    agreement: float
    n: int

    @property
    def loss(self) -> float:
        """Points of accuracy that were lost, as a share; negative where some were won."""
        return self.float_accuracy - self.accuracy

    @property
    def passed(self) -> bool:
        """Whether it may be used."""
        return self.loss <= MOST_LOSS + 1e-9 and self.agreement >= LEAST_AGREEMENT - 1e-9


def compare(
    labels: npt.NDArray[Any], probabilities: npt.NDArray[np.float32], by_float: npt.NDArray[np.float32]
) -> Gate:
    """Labels `[N]`, and the probabilities `[N, K]` of the int8 and of the float model."""
    found, wanted = probabilities.argmax(axis=1), by_float.argmax(axis=1)
    return Gate(
        float((found == labels).mean()), float((wanted == labels).mean()), float((found == wanted).mean()), len(labels)
    )
