"""The parity proof: the golden pictures must get the same answer from every runtime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle
from whatsit.engines import available
from whatsit.errors import BundleError
from whatsit.images.decode import decode
from whatsit.runtime.predictor import Predictor

TOLERANCE = 1e-4  # largest allowed difference of a probability


@dataclass(frozen=True)
class Parity:
    """How one way to an answer compares with the golden answers."""

    way: str  # such as "openvino, batch of 1"
    max_difference: float  # of any probability
    top1_agreement: float  # share of pictures with the same label
    passed: bool


def check_parity(bundle: Bundle) -> list[Parity]:
    """Answer the golden pictures by every installed runtime, one by one and as a batch.

    Raises `BundleError` where the bundle has none.
    """
    if not bundle.golden:
        raise BundleError("this model holds no golden pictures, so there is nothing to verify it with")
    wanted = np.array([golden.probabilities for golden in bundle.golden], np.float64)
    size = (bundle.input.height, bundle.input.width)
    pixels = np.stack([decode(golden.data, size) for golden in bundle.golden])
    results = []
    for runtime in available():
        predictor = Predictor(bundle, runtime=runtime)
        one_by_one = np.concatenate([predictor.probabilities(pixels[i : i + 1]) for i in range(len(pixels))])
        streamed = [row for _, row in predictor.probabilities_each(bundle.golden, lambda golden: golden.data)]
        for way, answers in (
            ("one by one", one_by_one),
            (f"batch of {len(pixels)}", predictor.probabilities(pixels)),
            ("stream of files", np.array(streamed)),
        ):
            results.append(_compare(f"{runtime}, {way}", answers.astype(np.float64), wanted))
    return results


def _compare(way: str, answers: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> Parity:
    difference = float(np.abs(answers - wanted).max())
    agreement = float((answers.argmax(axis=1) == wanted.argmax(axis=1)).mean())
    return Parity(way, difference, agreement, bool(difference <= TOLERANCE and agreement == 1.0))
