"""The parity proof: the same prediction, whatever way a picture takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whatsit.arrays import Bools, Float32, Float64
from whatsit.bundle.costs import decide
from whatsit.bundle.format import Bundle
from whatsit.engines import Images, available
from whatsit.engines.exported import Infer
from whatsit.errors import BundleError, ImageError
from whatsit.evaluation.gate import LEAST_AGREEMENT
from whatsit.evaluation.variants import variants
from whatsit.graph.builder import EXPECTED_COSTS
from whatsit.images.decode import decode, decode_within
from whatsit.runtime.predictor import Answer, Prediction, Predictor, to_answers

TOLERANCE = 1e-4  # largest allowed difference of a probability
SCORE_TOLERANCE = 1e-3  # largest allowed relative difference of the out-of-distribution score
BATCH = 32
_SIDE = 512  # pixels of the pictures that variants are made from
COST_TOLERANCE = 1e-3  # relative difference of the expected costs of two answers below which either may be given
REFERENCE = "onnxruntime"  # the one runtime that every installation has


@dataclass(frozen=True)
class Parity:
    """How the predictions of one way compare with the known ones."""

    way: str  # such as "openvino, batches of 32"
    pictures: int
    max_difference: float  # of any probability
    top1_agreement: float  # share of pictures with the same label
    ood_score_difference: float | None  # the largest, relative; None where the way gives no score
    passed: bool


@dataclass(frozen=True)
class Proof:
    """Picture files with their predictions: references first, then variants."""

    names: tuple[str, ...]
    files: tuple[bytes, ...]
    pixels: Images  # [N, H, W, 3], as the graph takes them
    wanted: tuple[Answer, ...]
    bundle: Bundle

    def compare(
        self,
        way: str,
        answers: Sequence[Answer],
        *,
        int8: bool = False,
        scores: bool = True,
        tolerance: float = TOLERANCE,
    ) -> Parity:
        """Compare a way's predictions with the known ones.

        Probabilities may differ by the tolerance. An int8 format may change one label, or 2 % of them.
        Pass `scores=False` for a way that has no out-of-distribution scores by its nature; any other must have them where
        the bundle has.
        """
        count = len(self.wanted)
        shapes = [[answer.probabilities.shape for answer in side] for side in (answers, self.wanted)]
        if shapes[0] != shapes[1]:
            return self.failed(way)
        found, known = (
            np.stack([answer.probabilities for answer in side]).astype(np.float64) for side in (answers, self.wanted)
        )
        difference = float(np.abs(found - known).max())
        agreement = float(self._agree(found, known).mean())
        found_scores, known_scores = (np.array([a.ood_score for a in side]) for side in (answers, self.wanted))
        apart = _relative_difference(found_scores, known_scores) if scores else None
        if int8:
            passed = math.isfinite(difference) and agreement >= min(LEAST_AGREEMENT, 1.0 - 1.5 / count)
        else:
            passed = difference <= tolerance and agreement == 1.0 and (apart or 0.0) <= SCORE_TOLERANCE
        return Parity(way, count, difference, agreement, apart, bool(passed))

    def _agree(self, found: Float64, known: Float64) -> Bools:
        """Return for which pictures `[N]` the answer is the same.

        With costs, two answers that cost the same count as one.
        """
        costs = self.bundle.costs
        same = np.asarray(decide(costs, found) == decide(costs, known), np.bool_)
        return same if costs is None else same | np.array([costs.near_tie(row, COST_TOLERANCE) for row in known], bool)

    def labels_of(self, answer: Answer) -> set[str]:
        """Return the label of an answer; both where two cost the same."""
        shares, costs = answer.probabilities, self.bundle.costs
        if costs is not None and costs.near_tie(shares, COST_TOLERANCE):
            return {self.bundle.classes[number] for number in np.argsort(costs.expected(shares[None])[0])[:2]}
        return {self.bundle.classes[decide(costs, shares[None])[0]]}

    def compare_predictions(self, way: str, predictions: Sequence[Prediction]) -> Parity:
        """Compare predictions as users get them; label and unknown must be the same too."""
        classes = self.bundle.classes
        tops = [dict(prediction.top) for prediction in predictions]
        if len(tops) != len(self.wanted) or any(set(top) != set(classes) for top in tops):
            return self.failed(way)
        answers = [Answer(np.array([top[label] for label in classes], np.float32), math.nan) for top in tops]
        result = self.compare(way, answers, scores=False)
        alike = all(
            self.is_unknown(known) in (None, prediction.unknown) and prediction.label in self.labels_of(known)
            for prediction, known in zip(predictions, self.wanted, strict=True)
        )
        return result if alike else replace(result, passed=False)

    def compare_costs(self, way: str, probabilities: Float32, costs: Float32) -> Parity:
        """Compare the answers by a way's own expected costs `[N, K]` with the model's."""
        result = self.compare(way, [Answer(row, math.nan) for row in probabilities], scores=False)
        cheapest = [self.bundle.classes[number] for number in costs.argmin(axis=1)] if costs.ndim == 2 else []
        same = [label in self.labels_of(known) for label, known in zip(cheapest, self.wanted, strict=False)]
        share = float(np.mean(same)) if len(same) == len(self.wanted) else 0.0
        return replace(result, top1_agreement=share, passed=result.passed and share == 1.0)

    def is_unknown(self, answer: Answer) -> bool | None:
        """Return whether it is unknown; None near the threshold, where runtimes differ."""
        rule = self.bundle.unknown
        if rule is None:
            return False
        near = abs(answer.ood_score - rule.threshold) <= SCORE_TOLERANCE * abs(rule.threshold)
        return None if near else rule.refuses(answer.ood_score)

    def called_otherwise(self, answers: Sequence[Answer]) -> int:
        """Return how many of a way's answers are unknown and should not be, or reverse."""
        rule = self.bundle.unknown
        if rule is None:
            return 0
        return sum(
            self.is_unknown(known) not in (None, rule.refuses(found.ood_score))
            for found, known in zip(answers, self.wanted, strict=True)
        )

    def every(self, step: int) -> Proof:
        """Return a proof of every `step`-th picture."""
        return Proof(self.names[::step], self.files[::step], self.pixels[::step], self.wanted[::step], self.bundle)

    def failed(self, way: str) -> Parity:
        """Return the result of a way without predictions, or with those of another model."""
        return Parity(way, len(self.wanted), 1.0, 0.0, None, False)


def _relative_difference(scores: Float64, right: Float64) -> float:
    """Return the largest relative difference; 1 where only one side has a score."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(scores - right) / np.maximum(np.abs(right), 1e-9)
    apart[np.isnan(scores) & np.isnan(right)] = 0.0
    return float(np.nan_to_num(apart, nan=1.0, posinf=1.0).max())


def reference_pixels(bundle: Bundle) -> tuple[Images, Float64]:
    """Decode the reference pictures; return them and their probabilities `[N, K]`.

    Raises `BundleError` where the bundle has none, or one is damaged.
    """
    if not bundle.references:
        raise BundleError("this model holds no reference pictures, so there is nothing to verify it with")
    size = (bundle.input.height, bundle.input.width)
    try:
        pixels = np.stack([decode(reference.data, size, rule=bundle.input.resize) for reference in bundle.references])
    except ImageError as error:
        raise BundleError(f"a reference picture of this model is damaged: {error}") from None
    return pixels, np.array([reference.probabilities for reference in bundle.references])


def make_proof(bundle: Bundle) -> Proof:
    """Gather the reference predictions, and predict variants of their pictures.

    Raises `BundleError` where the bundle has none, or one is damaged.
    """
    pixels, probabilities = reference_pixels(bundle)
    wanted = [
        Answer(row, math.nan if reference.ood_score is None else reference.ood_score)
        for row, reference in zip(probabilities, bundle.references, strict=True)
    ]
    names, files = (
        [reference.file for reference in bundle.references],
        [reference.data for reference in bundle.references],
    )
    more = dict(variants([decode_within(data, _SIDE) for data in files]))
    reference = Predictor(bundle, runtime=REFERENCE)
    more_pixels = np.stack([decode(data, reference.size, rule=reference.rule) for data in more.values()])
    wanted += _by_batches(reference.answer, more_pixels, 1)
    return Proof(
        (*names, *more), (*files, *more.values()), np.concatenate([pixels, more_pixels]), tuple(wanted), bundle
    )


def check_runtimes(bundle: Bundle, proof: Proof) -> list[Parity]:
    """Compare every installed runtime, from pixels and from files."""
    results = []
    for runtime in available():
        predictor = Predictor(bundle, runtime=runtime)
        if bundle.costs is not None:
            results.append(_check_costs(predictor, proof))
        results += _check_batches(runtime, predictor.answer, proof)
        streamed = [answer for _, answer in predictor.answers_each(proof.files, lambda data: data)]
        answers = [answer for answer in streamed if isinstance(answer, Answer)]
        results.append(proof.compare(f"{runtime}, stream of files", answers))
    return results


def _check_costs(predictor: Predictor, proof: Proof) -> Parity:
    """Compare the answers by the graph's own expected costs with the model's."""
    way = f"{predictor.runtime}, answers by {EXPECTED_COSTS}"
    engine = predictor.open_engine("probabilities", EXPECTED_COSTS)
    batches = (proof.pixels[start : start + BATCH] for start in range(0, len(proof.pixels), BATCH))
    found = [engine.run(batch) for batch in batches]
    return proof.compare_costs(
        way, np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
    )


def check_exported(name: str, infer: Infer, proof: Proof, *, int8: bool) -> list[Parity]:
    """Compare an exported file, which has no out-of-distribution score."""
    return _check_batches(name, lambda pixels: to_answers(infer(pixels), None), proof, int8=int8, scores=False)


def check_exported_costs(name: str, infer: Infer, costs: Infer, proof: Proof) -> Parity:
    """Compare the answers by an exported file's own expected costs."""
    return proof.compare_costs(f"{name}, answers by {EXPECTED_COSTS}", infer(proof.pixels), costs(proof.pixels))


def _check_batches(
    name: str, answer: Callable[[Images], list[Answer]], proof: Proof, *, int8: bool = False, scores: bool = True
) -> list[Parity]:
    return [
        proof.compare(f"{name}, {way}", _by_batches(answer, proof.pixels, size), int8=int8, scores=scores)
        for way, size in (("one by one", 1), (f"batches of {BATCH}", BATCH))
    ]


def _by_batches(answer: Callable[[Images], list[Answer]], pixels: Images, size: int) -> list[Answer]:
    batches = (pixels[start : start + size] for start in range(0, len(pixels), size))
    return [prediction for batch in batches for prediction in answer(batch)]
