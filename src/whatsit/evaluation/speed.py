"""The time of one prediction on this machine, and the size of a model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whatsit.errors import BundleError, ImageError
from whatsit.runtime.predictor import Predictor


@dataclass(frozen=True)
class Speed:
    """Seconds for one picture, warm, with decoding."""

    median: float
    p99: float
    rounds: int
    runtime: str


def measure_speed(predictor: Predictor, seconds: float = 0.5, rounds: int = 60) -> Speed:
    """Time single predictions of the bundle's reference pictures, three or more.

    Raises `BundleError` where the bundle has none, or one is damaged.
    """
    pictures = [reference.data for reference in predictor.bundle.references]
    if not pictures:
        raise BundleError("this model holds no reference pictures, so its speed cannot be measured")
    try:
        predictor.predict(pictures)  # the first predictions are slower
    except ImageError as error:
        raise BundleError(f"a reference picture of this model is damaged: {error}") from None
    times: list[float] = []
    while len(times) < 3 or (len(times) < rounds and sum(times) < seconds):
        started = time.perf_counter()
        predictor.predict([pictures[len(times) % len(pictures)]])
        times.append(time.perf_counter() - started)
    return Speed(float(np.median(times)), float(np.percentile(times, 99)), len(times), predictor.runtime)


def megabytes(path: Path) -> float:
    """Return the size of a file in units of 1,000,000 bytes."""
    return path.stat().st_size / 1e6
