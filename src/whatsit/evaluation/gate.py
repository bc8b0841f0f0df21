"""The gate for int8: what rounds a model to 8 bits must not change its answers by much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import InputSpec
from whatsit.engines.exported import Infer, Probabilities
from whatsit.errors import DataError
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset, Picture, label_numbers

MOST_LOSS = 0.01  # of test accuracy
LEAST_AGREEMENT = 0.98  # share of test pictures with the same label as by the float model
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Gate:
    """How a model compares with the float model that it was made of, on test pictures."""

    accuracy: float
    float_accuracy: float
    agreement: float  # share of pictures with the same label
    max_difference: float  # of any probability
    n: int

    @property
    def loss(self) -> float:
        """What was lost of the accuracy, 0 to 1; negative where some was won."""
        return self.float_accuracy - self.accuracy

    @property
    def passed(self) -> bool:
        """Whether an int8 model may be used."""
        known = math.isfinite(self.max_difference)  # else some answers are no numbers
        return known and self.loss <= MOST_LOSS + _ROUNDING and self.agreement >= LEAST_AGREEMENT - _ROUNDING


def compare(labels: npt.NDArray[Any], probabilities: Probabilities, by_float: Probabilities) -> Gate:
    """Labels `[N]`, and the probabilities `[N, K]` of a model and of the float model that it was made of."""
    found, wanted = probabilities.argmax(axis=1), by_float.argmax(axis=1)
    return Gate(
        float((found == labels).mean()),
        float((wanted == labels).mean()),
        float((found == wanted).mean()),
        float(np.abs(probabilities.astype(np.float64) - by_float).max()),
        len(labels),
    )


def answers_of(
    models: Mapping[str, Infer],
    dataset: Dataset,
    pictures: Sequence[Picture],
    spec: InputSpec,
    progress: Callable[[int, int], None],
) -> tuple[npt.NDArray[Any], dict[str, Probabilities]]:
    """The labels `[N]` of the readable pictures, and the probabilities `[N, K]` of each model; each is decoded once.

    Raises `DataError` where none can be read.
    """
    read: list[Picture] = []
    found: dict[str, list[Probabilities]] = {name: [] for name in models}
    done = 0
    for batch in decode_batches(pictures, dataset.read, (spec.height, spec.width), rule=spec.resize):
        read += batch.good
        if len(batch.pixels):
            for name, infer in models.items():
                found[name].append(infer(batch.pixels))
        done += len(batch.lot)
        progress(done, len(pictures))
    if not read:
        raise DataError(f"{dataset.source}: no test picture can be read, so nothing can be compared")
    return np.array(label_numbers(read, dataset.classes)), {name: np.concatenate(rows) for name, rows in found.items()}
