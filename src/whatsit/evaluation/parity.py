"""The parity proof: the golden pictures must get the same answer from every runtime."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle
from whatsit.engines import Images, available
from whatsit.errors import BundleError, ImageError
from whatsit.images.decode import decode
from whatsit.runtime.predictor import Answer, Predictor

TOLERANCE = 1e-4  # largest allowed difference of a probability
SCORE_TOLERANCE = 1e-3  # largest allowed relative difference of the score for unknown pictures


@dataclass(frozen=True)
class Parity:
    """How one way to an answer compares with the golden answers."""

    way: str  # such as "openvino, batch of 1"
    max_difference: float  # of any probability
    top1_agreement: float  # share of pictures with the same label
    ood_score_difference: float  # the largest, relative
    passed: bool


def golden_pixels(bundle: Bundle) -> tuple[Images, npt.NDArray[np.float64]]:
    """The golden pictures as the graph takes them, uint8 `[N, H, W, 3]`, and their known probabilities, `[N, K]`.

    Raises `BundleError` where the bundle has none, or one is damaged.
    """
    if not bundle.golden:
        raise BundleError("this model holds no golden pictures, so there is nothing to verify it with")
    size = (bundle.input.height, bundle.input.width)
    try:
        pixels = np.stack([decode(golden.data, size) for golden in bundle.golden])
    except ImageError as error:
        raise BundleError(f"a golden picture of this model is damaged: {error}") from None
    return pixels, np.array([golden.probabilities for golden in bundle.golden])


def check_parity(bundle: Bundle) -> list[Parity]:
    """Answer the golden pictures by every installed runtime, one by one and as a batch.

    Raises `BundleError` where the bundle has none.
    """
    pixels, probabilities = golden_pixels(bundle)
    wanted = [
        Answer(row, math.nan if golden.ood_score is None else golden.ood_score)
        for row, golden in zip(probabilities, bundle.golden, strict=True)
    ]
    results = []
    for runtime in available():
        predictor = Predictor(bundle, runtime=runtime)
        one_by_one = [predictor.answer(pixels[i : i + 1])[0] for i in range(len(pixels))]
        streamed = [answer for _, answer in predictor.answers_each(bundle.golden, lambda golden: golden.data)]
        for way, answers in (
            ("one by one", one_by_one),
            (f"batch of {len(pixels)}", predictor.answer(pixels)),
            ("stream of files", [answer for answer in streamed if isinstance(answer, Answer)]),
        ):
            results.append(_compare(f"{runtime}, {way}", answers, wanted))
    return results


def _compare(way: str, answers: list[Answer], wanted: list[Answer]) -> Parity:
    if len(answers) != len(wanted):
        return Parity(way, 1.0, 0.0, 0.0, False)
    found, known = (
        np.stack([answer.probabilities for answer in side]).astype(np.float64) for side in (answers, wanted)
    )
    difference = float(np.abs(found - known).max())
    agreement = float((found.argmax(axis=1) == known.argmax(axis=1)).mean())
    scores, right = (np.array([answer.ood_score for answer in side]) for side in (answers, wanted))
    with np.errstate(invalid="ignore"):
        apart = np.abs(scores - right) / np.maximum(np.abs(right), 1e-9)
    # Without scores on either side there is nothing to compare; with one on one side only, or infinite ones, it fails.
    apart[np.isnan(scores) & np.isnan(right)] = 0.0
    off = float(np.nan_to_num(apart, nan=1.0, posinf=1.0).max())
    passed = difference <= TOLERANCE and agreement == 1.0 and off <= SCORE_TOLERANCE
    return Parity(way, difference, agreement, off, bool(passed))
