"""The `Predictor`: the one way from a picture to a prediction."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from whatsit.arrays import Float32, Int64, Probabilities
from whatsit.bundle.costs import decide
from whatsit.bundle.format import Bundle
from whatsit.bundle.read import read_bundle
from whatsit.engines import Engine, EngineError, Images, Outputs, open_engine
from whatsit.errors import BundleError, ImageError, ModelError, UsageError
from whatsit.images.batches import Batch, decode_batches
from whatsit.images.decode import Source, decode

Item = TypeVar("Item")


@dataclass(frozen=True)
class Answer:
    """The graph's outputs for one picture."""

    probabilities: Probabilities  # [K], calibrated
    ood_score: float  # out-of-distribution score; NaN where the bundle has none


@dataclass(frozen=True)
class Overruled:
    """The most probable class, where another is answered because mistakes have prices."""

    label: str
    probability: float
    cost: float  # expected, of answering it
    answer_cost: float  # expected, of the answer that is given: the least


@dataclass(frozen=True)
class Prediction:
    """The prediction for one picture."""

    label: str  # the most probable class; of a model with costs the one of the least expected cost
    probability: float  # of that class, calibrated, 0 to 1
    unknown: bool  # the picture seems to belong to none of the classes
    top: tuple[tuple[str, float], ...]  # (label, probability), the most probable first
    labels: tuple[str, ...] | None = None  # the prediction set, the most probable first, where a coverage was asked for
    overruled: Overruled | None = None  # the most probable class, where that is another than `label`

    @property
    def others(self) -> tuple[tuple[str, float], ...]:
        """Return the classes in `top` but for the one that is answered."""
        return tuple(pair for pair in self.top if pair[0] != self.label)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        found = {"label": self.label, "probability": self.probability, "unknown": self.unknown, "top": top}
        if self.labels is not None:
            found["set"] = list(self.labels)
        if self.overruled is not None:
            found["overruled"] = vars(self.overruled)
        return found


class Predictor:
    """A model that is ready to predict.

    Thread-safe. Loads no TensorFlow. Predictions are the same, to 1e-4, by every runtime and in every batch size. It may be
    passed to other processes: a forked process opens the graph again (with ONNX Runtime, as OpenVINO does not survive a
    fork), and pickling stores its path and settings, or its bundle where it was opened from one.
    """

    def __init__(
        self,
        model: str | Path | Bundle,
        *,
        runtime: str = "auto",
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        """Open a bundle.

        Args:
            model: a `.whatsit` file, a run folder, or a bundle that was read already.
            runtime: `auto`, `openvino` or `onnxruntime`.
            precision: `float32`, or `bfloat16`: faster with OpenVINO, but probabilities move by up to 0.1.
            threads: processor threads to use; all cores by default.

        Raises:
            BundleError: the file cannot be trusted or read.
            EngineError: the runtime is not installed.
        """
        self._source = model if isinstance(model, Bundle) else Path(model).absolute()
        self.bundle = model if isinstance(model, Bundle) else read_bundle(model)
        self.classes = self.bundle.classes
        self.size = (self.bundle.input.height, self.bundle.input.width)
        self.rule = self.bundle.input.resize  # by which its pictures are read: one of `images.decode.RULES`
        self._settings: dict[str, Any] = {"runtime": runtime, "precision": precision, "threads": threads}
        self._tells_unknown = self.bundle.unknown is not None
        self._engine = self.open_engine("probabilities", *(["ood_score"] if self._tells_unknown else []))
        self.runtime = self._engine.runtime
        self._check_answer()

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), self._source, **self._settings), ()

    def with_bundle(self, bundle: Bundle) -> Predictor:
        """Return a predictor of this bundle.

        Where it has the same graph, that is not compiled again: it may take seconds.
        """
        old = self.bundle
        same = bundle.graph == old.graph and (bundle.input, bundle.classes) == (old.input, old.classes)
        if not same or (bundle.unknown is not None) != self._tells_unknown:
            return type(self)(bundle, **self._settings)
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other.bundle = other._source = bundle
        return other

    def open_engine(self, *outputs: str) -> Engine:
        """Open the same graph by the same runtime for other outputs."""
        return open_engine(self.bundle.graph, outputs, **self._settings)

    def _check_answer(self) -> None:
        """Run the graph once. Raises `BundleError` where it does not fit the bundle."""
        try:
            shapes = [output.shape for output in self._engine.run(np.zeros((2, *self.size, 3), np.uint8))]
        except Exception as error:  # each runtime has its own
            reason = str(error).strip().splitlines()[-1][:200]
            raise BundleError(f"the model's graph does not run on its own input size {self.size}: {reason}") from None
        if shapes[0] != (2, len(self.classes)):
            raise BundleError(
                f"the model's graph gives an array {shapes[0]} for 2 pictures, not probabilities for {len(self.classes)} classes"
            )
        if self._tells_unknown and shapes[1] != (2,):
            raise BundleError(f"the model's graph gives an array {shapes[1]} for 2 pictures, not a score for each")

    def predict(self, pictures: Sequence[Source], *, top: int = 5, coverage: float | None = None) -> list[Prediction]:
        """Predict each picture.

        Args:
            pictures: paths, bytes of files, open files, PIL images, or arrays (uint8 `[H, W, 3]` or `[H, W]`; see `decode`).
                A list, even for one.
            top: how many classes to name in `Prediction.top`.
            coverage: also give the set of classes that holds the true one with this probability, between 0 and 1, for
                pictures like the test pictures (split conformal prediction).

        Returns:
            A prediction for each picture, in order.

        Raises:
            ImageError: a picture cannot be read, or the graph fails on it; the message says which. `predict_each`
                continues instead.
            UsageError: the coverage is out of range, or the model cannot promise any.
        """
        if _is_single(pictures):
            raise TypeError(
                "predict takes a list of pictures and gives a list of predictions; write predict([picture])"
            )
        if coverage is not None:
            self._smallest_of_set(coverage)  # raises before any work where it is wrong
        answers: Iterable[tuple[Source, Answer | ImageError]] = (
            self.answers_each(pictures, lambda picture: picture) if len(pictures) != 1 else map(self._alone, pictures)
        )
        predictions: list[Prediction] = []
        for picture, answer in answers:
            if isinstance(answer, ImageError):
                name = str(picture) if isinstance(picture, str | Path) else f"picture {len(predictions) + 1}"
                raise ImageError(f"{name}: {answer}", answer.reason)
            predictions.append(self.to_prediction(answer, top, coverage))
        return predictions

    def _alone(self, picture: Source) -> tuple[Source, Answer | ImageError]:
        """Decode and run a single picture without threads."""
        try:
            pixels = decode(picture, self.size, rule=self.rule)
        except ImageError as error:
            return picture, error
        return picture, self.answer_each(pixels[None])[0]

    def embed(self, pictures: Sequence[Source]) -> Float32:
        """Return the embedding of each picture, float32 `[N, F]`, of length 1.

        The product of two says how alike the pictures are to the network, 1 for the same.

        Args:
            pictures: as for `predict`.

        Raises:
            ImageError: a picture cannot be read.
            EngineError: the model has no embeddings.
        """
        if _is_single(pictures):
            raise TypeError("embed takes a list of pictures; write embed([picture])")
        rows = []
        for number, picture in enumerate(pictures, 1):
            try:
                pixels = decode(picture, self.size, rule=self.rule)
            except ImageError as error:
                name = str(picture) if isinstance(picture, str | Path) else f"picture {number}"
                raise ImageError(f"{name}: {error}", error.reason) from None
            rows.append(self.embed_pixels(pixels[None]))
        return np.concatenate(rows) if rows else np.empty((0, self.embedding_width), np.float32)

    def embed_pixels(self, pixels: Images) -> Float32:
        """Return the embeddings of decoded pictures, as `embed`."""
        rows = np.asarray(self._embedding.run(pixels)[0], np.float32)
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)

    @functools.cached_property
    def embedding_width(self) -> int:
        """The length of an embedding. Raises `EngineError`."""
        return int(self.embed_pixels(np.zeros((1, *self.size, 3), np.uint8)).shape[1])

    @functools.cached_property
    def _embedding(self) -> Engine:
        try:
            return self.open_engine("embedding")
        except EngineError:
            raise EngineError("this model has no embedding of its images; train it again with this whatsit") from None

    def answer(self, pixels: Images) -> list[Answer]:
        """Run the graph on pictures uint8 `[N, H, W, 3]`.

        They are decoded by `decode(picture, self.size, rule=self.rule)`.
        Raises `EngineError` where the graph fails on one of them, `ModelError` where an output is no probabilities.
        """
        return _answers(self._engine.run(pixels))

    def stream(self, batches: Iterable[Images]) -> Iterator[list[Answer]]:
        """Yield `answer(batch)` for each batch, in order, several at once."""
        return map(_answers, self._engine.stream(batches))

    def predict_each(
        self,
        items: Iterable[Item],
        read: Callable[[Item], Source],
        *,
        top: int = 5,
        coverage: float | None = None,
    ) -> Iterator[tuple[Item, Prediction | ImageError]]:
        """Yield a prediction, or an error, for each of any number of pictures."""
        if coverage is not None:
            self._smallest_of_set(coverage)  # raises before any work where it is wrong
        for item, answer in self.answers_each(items, read):
            yield item, answer if isinstance(answer, ImageError) else self.to_prediction(answer, top, coverage)

    def answers_each(
        self, items: Iterable[Item], read: Callable[[Item], Source]
    ) -> Iterator[tuple[Item, Answer | ImageError]]:
        """Yield the graph's outputs as `predict_each` yields predictions, decoding ahead."""
        waiting: deque[Batch[Item]] = deque()

        def inputs() -> Iterator[Images]:
            for batch in decode_batches(items, read, self.size, batch_size=8, rule=self.rule):
                waiting.append(batch)
                if len(batch.pixels):
                    yield batch.pixels

        return self._answered(inputs(), waiting)

    def _answered(
        self, batches: Iterator[Images], waiting: deque[Batch[Item]]
    ) -> Iterator[tuple[Item, Answer | ImageError]]:
        """Run the batches, each of which was put into `waiting` before."""
        # A single batch is run at once: setting up a stream would cost more than the run.
        ahead = list(islice(batches, 2))
        while ahead:
            work = self._engine.stream(chain(ahead, batches)) if len(ahead) > 1 else map(self._engine.run, ahead)
            try:
                for outputs in work:
                    while not len(waiting[0].pixels):
                        yield from waiting.popleft().failed
                    batch = waiting.popleft()
                    yield from batch.answers(self._each(batch.pixels, outputs))
            except EngineError:  # on one of the pictures that are waiting
                for batch in list(waiting):
                    yield from batch.answers(self._each(batch.pixels))
                waiting.clear()
            ahead = list(islice(batches, 2))
        for batch in waiting:
            yield from batch.failed

    def answer_each(self, pixels: Images) -> list[Answer | ImageError]:
        """Run the graph as `answer` does; a picture on which it fails gets its own error."""
        try:
            return self._each(pixels, self._engine.run(pixels))
        except EngineError:
            return self._each(pixels)

    def _each(self, pixels: Images, outputs: Outputs | None = None) -> list[Answer | ImageError]:
        """Split outputs by picture; broken or missing ones are run again one by one."""
        try:
            if outputs is not None:
                return list(_answers(outputs))
        except ModelError:
            pass
        answers: list[Answer | ImageError] = []
        for place in range(len(pixels)):
            try:
                answers += self.answer(pixels[place : place + 1])
            except (EngineError, ModelError) as error:
                answers.append(ImageError(f"the model fails on this picture: {error}", "model"))
        return answers

    def to_prediction(self, answer: Answer, top: int = 5, coverage: float | None = None) -> Prediction:
        """Turn the graph's outputs for a picture into a prediction."""
        probabilities = answer.probabilities
        order = np.argsort(-probabilities, kind="stable")
        best = tuple((self.classes[i], float(probabilities[i])) for i in order[:top])
        labels = None
        if coverage is not None:
            [inside] = self.in_set(probabilities[None], coverage)
            labels = tuple(self.classes[i] for i in order if inside[i])
        first, chosen = int(order[0]), int(self.decide(probabilities[None])[0])
        overruled = None
        if self.bundle.costs and chosen != first:
            [costs] = self.bundle.costs.expected(probabilities[None])
            overruled = Overruled(
                self.classes[first], float(probabilities[first]), float(costs[first]), float(costs[chosen])
            )
        return Prediction(
            self.classes[chosen], float(probabilities[chosen]), self.is_unknown(answer), best, labels, overruled
        )

    def decide(self, probabilities: Probabilities) -> Int64:
        """Return the numbers of the classes to answer, `[N]`, from probabilities `[N, K]`.

        That is the most probable one, or the one of the least expected cost where the model has costs.
        """
        return decide(self.bundle.costs, probabilities)

    def is_unknown(self, answer: Answer) -> bool:
        """Return whether the score says that the picture is of none of the classes."""
        rule = self.bundle.unknown
        return rule is not None and rule.refuses(answer.ood_score)

    def in_set(self, probabilities: Probabilities, coverage: float) -> npt.NDArray[np.bool_]:
        """Return which classes are in each prediction set, `[N, K]` as `probabilities`.

        The most probable class always is.
        """
        inside: npt.NDArray[np.bool_] = probabilities >= self._smallest_of_set(coverage)
        inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
        return inside

    def _smallest_of_set(self, coverage: float) -> float:
        """Return the least probability of a class in a prediction set of that coverage."""
        if not 0 < coverage < 1:
            raise UsageError(f"the coverage must be between 0 and 1, such as 0.95; received {coverage:g}")
        if self.bundle.conformal is None:
            raise UsageError(
                "this model cannot promise a coverage; it was made without, by an older whatsit or as an ensemble"
            )
        return self.bundle.conformal.smallest(coverage)


def to_answers(probabilities: Probabilities, scores: Float32 | None) -> list[Answer]:
    """Split outputs `[N, K]` and `[N]` by picture. Raises `ModelError`."""
    if not (probabilities.min(initial=0.0) >= -1e-3 and probabilities.max(initial=0.0) <= 1.001):  # also for NaN
        raise ModelError("the model's graph answered with something else than probabilities from 0 to 1; it is damaged")
    if scores is None:
        return [Answer(row, math.nan) for row in probabilities]
    return [Answer(row, float(score)) for row, score in zip(probabilities, scores, strict=True)]


def _answers(outputs: Outputs) -> list[Answer]:
    return to_answers(outputs[0], outputs[1] if len(outputs) > 1 else None)


def _is_single(pictures: object) -> bool:
    """Return whether this is one picture; an array of several has one more axis."""
    if isinstance(pictures, np.ndarray):
        return pictures.dtype != object and pictures.ndim != 4
    return isinstance(pictures, str | bytes | bytearray | memoryview | Path | Image.Image) or hasattr(pictures, "read")
