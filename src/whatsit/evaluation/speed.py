"""How long one picture takes, from its file to its answer, on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whatsit.runtime.predictor import Predictor


@dataclass(frozen=True)
class Speed:
    """Seconds for one picture, warm, decoding and all."""

    median: float
    p99: float
    rounds: int
    runtime: str


def measure_speed(predictor: Predictor, pictures: Sequence[bytes], seconds: float = 0.5, rounds: int = 60) -> Speed:
    """Answer the pictures (files' bytes), one by one, until the rounds or the seconds are over, but at least thrice."""
    predictor.predict([pictures[0]])  # the first one is slower
    times: list[float] = []
    while len(times) < 3 or (len(times) < rounds and sum(times) < seconds):
        started = time.perf_counter()
        predictor.predict([pictures[len(times) % len(pictures)]])
        times.append(time.perf_counter() - started)
    return Speed(float(np.median(times)), float(np.percentile(times, 99)), len(times), predictor.runtime)
