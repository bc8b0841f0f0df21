"""What exported files answer for labelled pictures, each picture decoded once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.engines.exported import Probabilities, Run
from whatsit.errors import DataError
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset, Picture, label_numbers


def answers_of(
    runs: Mapping[str, Run],
    dataset: Dataset,
    pictures: Sequence[Picture],
    size: tuple[int, int],
    progress: Callable[[int, int], None],
) -> tuple[npt.NDArray[Any], dict[str, Probabilities]]:
    """The labels `[N]` of the readable pictures, and the probabilities `[N, K]` of each run for them.

    Raises `DataError` where none can be read.
    """
    read: list[Picture] = []
    found: dict[str, list[Probabilities]] = {name: [] for name in runs}
    for batch in decode_batches(pictures, dataset.read, size):
        read += batch.good
        if len(batch.pixels):
            for name, run in runs.items():
                found[name].append(run(batch.pixels))
        progress(len(read), len(pictures))
    if not read:
        raise DataError(f"{dataset.source}: none of the {len(pictures):,} test pictures can be read")
    return np.array(label_numbers(read, dataset.classes)), {name: np.concatenate(rows) for name, rows in found.items()}
