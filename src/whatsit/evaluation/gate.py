"""The gate for int8: rounding to 8 bits may change only few predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.bundle.costs import Costs, decide
from whatsit.bundle.format import InputSpec
from whatsit.engines.exported import Infer, Probabilities
from whatsit.errors import DataError
from whatsit.images.batches import decode_batches
from whatsit.images.pictures import Picture, label_numbers
from whatsit.images.scan import Dataset

MOST_LOSS = 0.01  # of test accuracy
LEAST_AGREEMENT = 0.98  # share of test pictures with the same label as by the float model
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Gate:
    """A model compared with the float model that it was made from, on test pictures."""

    accuracy: float
    float_accuracy: float
    agreement: float  # share of pictures with the same label
    max_difference: float  # of any probability
    n: int

    @property
    def loss(self) -> float:
        """Return the loss of accuracy, -1 to 1; negative for a gain."""
        return self.float_accuracy - self.accuracy

    @property
    def passed(self) -> bool:
        """Return whether an int8 model may be used."""
        known = math.isfinite(self.max_difference)  # else some probabilities are no numbers
        return known and self.loss <= MOST_LOSS + _ROUNDING and self.agreement >= LEAST_AGREEMENT - _ROUNDING


def compare(
    labels: npt.NDArray[Any], probabilities: Probabilities, by_float: Probabilities, costs: Costs | None = None
) -> Gate:
    """Compare the probabilities `[N, K]` of a model with those of its float model.

    `costs` are those by which they answer.
    """
    found, wanted = decide(costs, probabilities), decide(costs, by_float)
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
    """Predict pictures by several models, decoding each picture once.

    Returns the labels `[N]` of the readable pictures, and the probabilities `[N, K]` of each model.
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
    return label_numbers(read, dataset.classes), {name: np.concatenate(rows) for name, rows in found.items()}
