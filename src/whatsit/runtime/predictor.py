"""The `Predictor`: the one way from a picture to an answer, for every command, app and service."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle
from whatsit.bundle.read import read_bundle
from whatsit.engines import Engine, Images, open_engine
from whatsit.errors import BundleError, ImageError
from whatsit.images.batches import Batch, decode_batches
from whatsit.images.decode import Source, decode

Item = TypeVar("Item")
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """The answer for one picture."""

    label: str  # the most probable class
    probability: float  # of that class, calibrated, 0 to 1
    unknown: bool  # the picture seems to belong to none of the classes
    top: tuple[tuple[str, float], ...]  # (label, probability), the most probable first


class Predictor:
    """A model that is ready to answer.

    Thread-safe. Loads no TensorFlow. Answers are the same, to 1e-4, by every runtime and in every batch size.
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
        self.bundle = model if isinstance(model, Bundle) else read_bundle(model)
        self.classes = self.bundle.classes
        self.size = (self.bundle.input.height, self.bundle.input.width)
        self._engine: Engine = open_engine(
            self.bundle.graph, ["probabilities"], runtime=runtime, precision=precision, threads=threads
        )
        self.runtime = self._engine.runtime
        self._check_answer()

    def _check_answer(self) -> None:
        """The graph must take what the bundle says it takes and answer for each class."""
        try:
            shape = self._engine.run(np.zeros((1, *self.size, 3), np.uint8))[0].shape
        except Exception as error:  # each runtime has its own
            raise BundleError(f"the model's graph does not run on its own input size {self.size}: {error}") from None
        if shape != (1, len(self.classes)):
            raise BundleError(f"the model's graph gives {shape[-1]} probabilities for {len(self.classes)} classes")

    def predict(self, pictures: Sequence[Source], *, top: int = 5) -> list[Prediction]:
        """Answer for each picture.

        Args:
            pictures: paths, bytes of files, or PIL images. A list, even for one.
            top: how many classes to name in `Prediction.top`.

        Raises:
            ImageError: a picture cannot be read; the message says which. `predict_each` goes on instead.
        """
        if isinstance(pictures, str | bytes | Path):
            raise TypeError(
                "predict takes a list of pictures and gives a list of predictions; write predict([picture])"
            )
        if len(pictures) == 1:  # no threads for a single one
            return [self.to_prediction(self._one(pictures[0]), top)]
        predictions: list[Prediction] = []
        for picture, answer in self.predict_each(pictures, lambda item: item, top=top):
            if isinstance(answer, ImageError):
                raise ImageError(f"{_name(picture, len(predictions))}: {answer}")
            predictions.append(answer)
        return predictions

    def _one(self, picture: Source) -> Probabilities:
        try:
            pixels = decode(picture, self.size)
        except ImageError as error:
            raise ImageError(f"{_name(picture, 0)}: {error}") from None
        row: Probabilities = self.probabilities(pixels[None])[0]
        return row

    def probabilities(self, pixels: Images) -> Probabilities:
        """For pictures decoded by `decode(picture, self.size)`: uint8 `[N, H, W, 3]` to float32 `[N, K]`."""
        found: Probabilities = self._engine.run(pixels)[0]
        return found

    def predict_each(
        self, items: Iterable[Item], read: Callable[[Item], Source], *, top: int = 5
    ) -> Iterator[tuple[Item, Prediction | ImageError]]:
        """Answer for any number of pictures, in order, decoding ahead; an unreadable one gets its own error."""
        for item, answer in self.probabilities_each(items, read):
            yield item, answer if isinstance(answer, ImageError) else self.to_prediction(answer, top)

    def probabilities_each(
        self, items: Iterable[Item], read: Callable[[Item], Source]
    ) -> Iterator[tuple[Item, Probabilities | ImageError]]:
        """`predict_each` with the whole row of probabilities, float32 `[K]`."""
        waiting: deque[Batch[Item]] = deque()

        def inputs() -> Iterator[Images]:
            for batch in decode_batches(items, read, self.size, batch_size=8):
                waiting.append(batch)
                if len(batch.pixels):
                    yield batch.pixels

        # A single batch goes straight through: setting up a stream would cost more than answering it.
        batches = inputs()
        ahead = list(islice(batches, 2))
        work = self._engine.stream(chain(ahead, batches)) if len(ahead) > 1 else map(self._engine.run, ahead)
        for outputs in work:
            while not len(waiting[0].pixels):
                yield from waiting.popleft().failed
            yield from waiting.popleft().answers(outputs[0])
        for batch in waiting:
            yield from batch.failed

    def to_prediction(self, probabilities: Probabilities, top: int = 5) -> Prediction:
        """A row of probabilities `[K]` as an answer."""
        order = np.argsort(-probabilities, kind="stable")[: max(top, 1)]
        best = tuple((self.classes[i], float(probabilities[i])) for i in order)
        return Prediction(best[0][0], best[0][1], False, best[:top])


def _name(picture: Source, place: int) -> str:
    return str(picture) if isinstance(picture, str | Path) else f"picture {place + 1}"
