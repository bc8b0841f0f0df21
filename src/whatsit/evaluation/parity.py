"""The parity proof: the same pictures must get the same answer, whatever way they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle
from whatsit.engines import Images, available
from whatsit.engines.exported import Infer
from whatsit.errors import BundleError, ImageError
from whatsit.evaluation.gate import LEAST_AGREEMENT
from whatsit.evaluation.variants import variants
from whatsit.images.decode import decode, decode_within
from whatsit.runtime.predictor import Answer, Prediction, Predictor, to_answers

TOLERANCE = 1e-4  # largest allowed difference of a probability
SCORE_TOLERANCE = 1e-3  # largest allowed relative difference of the score for unknown pictures
BATCH = 32
_SIDE = 512  # pixels of the pictures of which variants are made
REFERENCE = "onnxruntime"  # the one runtime that every installation has

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Parity:
    """How one way to an answer compares with the known answers."""

    way: str  # such as "openvino, batches of 32"
    pictures: int
    max_difference: float  # of any probability
    top1_agreement: float  # share of pictures with the same label
    ood_score_difference: float | None  # the largest, relative; None where the way gives no score
    passed: bool


@dataclass(frozen=True)
class Proof:
    """Pictures as files, and the answers that every way must give: known ones first, then variants of the same pictures."""

    names: tuple[str, ...]
    files: tuple[bytes, ...]
    pixels: Images  # [N, H, W, 3], as the graph takes them
    wanted: tuple[Answer, ...]
    bundle: Bundle

    def compare(self, way: str, answers: Sequence[Answer], *, int8: bool = False, scores: bool = True) -> Parity:
        """Hold a way's answers against the known ones. An int8 format may change one label, or 2 % of them.

        Without `scores` the way gives none of strangers by its nature; any other must have them where the bundle has.
        """
        count = len(self.wanted)
        if len(answers) != count or any(
            answer.probabilities.shape != known.probabilities.shape
            for answer, known in zip(answers, self.wanted, strict=True)
        ):
            return self.failed(way)
        found, known = (
            np.stack([answer.probabilities for answer in side]).astype(np.float64) for side in (answers, self.wanted)
        )
        difference = float(np.abs(found - known).max())
        agreement = float((found.argmax(axis=1) == known.argmax(axis=1)).mean())
        strange, right = (np.array([answer.ood_score for answer in side]) for side in (answers, self.wanted))
        off = _apart(strange, right) if scores else None
        if int8:
            passed = math.isfinite(difference) and agreement >= min(LEAST_AGREEMENT, 1.0 - 1.5 / count)
        else:
            passed = difference <= TOLERANCE and agreement == 1.0 and (off or 0.0) <= SCORE_TOLERANCE
        return Parity(way, count, difference, agreement, off, bool(passed))

    def some(self, step: int) -> Proof:
        """Every so-many-th picture."""
        return replace(
            self,
            names=self.names[::step],
            files=self.files[::step],
            pixels=self.pixels[::step],
            wanted=self.wanted[::step],
        )

    def compare_predictions(self, way: str, predictions: Sequence[Prediction]) -> Parity:
        """`compare` for answers as people get them; what is unknown must be unknown here too."""
        classes = self.bundle.classes
        tops = [dict(prediction.top) for prediction in predictions]
        if len(tops) != len(self.wanted) or any(set(top) != set(classes) for top in tops):
            return self.failed(way)
        answers = [Answer(np.array([top[label] for label in classes], np.float32), math.nan) for top in tops]
        result = self.compare(way, answers, scores=False)
        alike = all(
            self._unknown(known) in (None, prediction.unknown)
            for prediction, known in zip(predictions, self.wanted, strict=True)
        )
        return result if alike else replace(result, passed=False)

    def failed(self, way: str) -> Parity:
        """A way that gives no answers, or answers of another model."""
        return Parity(way, len(self.wanted), 1.0, 0.0, None, False)

    def _unknown(self, answer: Answer) -> bool | None:
        """Whether the picture is unknown; None where its score is so near the threshold that runtimes may differ."""
        rule = self.bundle.unknown
        if rule is None:
            return False
        near = abs(answer.ood_score - rule.threshold) <= SCORE_TOLERANCE * abs(rule.threshold)
        return None if near else rule.refuses(answer.ood_score)


def _apart(scores: Floats, right: Floats) -> float:
    """The largest relative difference; 1 where one side has none, or an infinite one."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(scores - right) / np.maximum(np.abs(right), 1e-9)
    apart[np.isnan(scores) & np.isnan(right)] = 0.0
    return float(np.nan_to_num(apart, nan=1.0, posinf=1.0).max())


def golden_pixels(bundle: Bundle) -> tuple[Images, Floats]:
    """The golden pictures as the graph takes them, uint8 `[N, H, W, 3]`, and their known probabilities, `[N, K]`.

    Raises `BundleError` where the bundle has none, or one is damaged.
    """
    if not bundle.golden:
        raise BundleError("this model holds no golden pictures, so there is nothing to verify it with")
    size = (bundle.input.height, bundle.input.width)
    try:
        pixels = np.stack([decode(golden.data, size, rule=bundle.input.resize) for golden in bundle.golden])
    except ImageError as error:
        raise BundleError(f"a golden picture of this model is damaged: {error}") from None
    return pixels, np.array([golden.probabilities for golden in bundle.golden])


def make_proof(bundle: Bundle) -> Proof:
    """The golden pictures with their known answers, and variants of them with those of the reference runtime.

    Raises `BundleError` where the bundle has none, or one is damaged.
    """
    pixels, probabilities = golden_pixels(bundle)
    wanted = [
        Answer(row, math.nan if golden.ood_score is None else golden.ood_score)
        for row, golden in zip(probabilities, bundle.golden, strict=True)
    ]
    others = dict(variants([decode_within(golden.data, _SIDE) for golden in bundle.golden]))
    reference = Predictor(bundle, runtime=REFERENCE)
    other_pixels = np.stack([decode(data, reference.size, rule=reference.rule) for data in others.values()])
    wanted += [reference.answer(other_pixels[i : i + 1])[0] for i in range(len(others))]
    return Proof(
        (*(golden.file for golden in bundle.golden), *others),
        (*(golden.data for golden in bundle.golden), *others.values()),
        np.concatenate([pixels, other_pixels]),
        tuple(wanted),
        bundle,
    )


def check_runtimes(bundle: Bundle, proof: Proof) -> list[Parity]:
    """Answer by every installed runtime: one by one and in batches, from pixels and from files."""
    results = []
    for runtime in available():
        predictor = Predictor(bundle, runtime=runtime)
        streamed = [answer for _, answer in predictor.answers_each(proof.files, lambda data: data)]
        for way, answers in (
            ("one by one", _by_batches(predictor.answer, proof.pixels, 1)),
            (f"batches of {BATCH}", _by_batches(predictor.answer, proof.pixels, BATCH)),
            ("stream of files", [answer for answer in streamed if isinstance(answer, Answer)]),
        ):
            results.append(proof.compare(f"{runtime}, {way}", answers))
    return results


def check_exported(name: str, infer: Infer, proof: Proof, *, int8: bool) -> list[Parity]:
    """Answer by an exported file, one by one and in batches. Such a file tells nothing of strangers."""

    def answer(pixels: Images) -> list[Answer]:
        return to_answers(infer(pixels), None)

    return [
        proof.compare(f"{name}, {way}", _by_batches(answer, proof.pixels, size), int8=int8, scores=False)
        for way, size in (("one by one", 1), (f"batches of {BATCH}", BATCH))
    ]


def _by_batches(answer: Callable[[Images], list[Answer]], pixels: Images, size: int) -> list[Answer]:
    return [one for start in range(0, len(pixels), size) for one in answer(pixels[start : start + size])]
