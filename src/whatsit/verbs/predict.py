"""`whatsit predict`: predict what is in pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from whatsit.errors import ImageError, UsageError
from whatsit.events import SILENT, Reporter
from whatsit.images.decode import Source
from whatsit.images.image_paths import find_pictures, is_folder
from whatsit.images.stores import read_linked
from whatsit.images.walk import LeftOut, describe, list_folder
from whatsit.runtime.predictor import Prediction, Predictor


class Answering(Protocol):
    """A Predictor, or a service's model used like one."""

    def predict_each(
        self, items: Iterable[str], read: Callable[[str], Source], *, top: int = 5, coverage: float | None = None
    ) -> Iterator[tuple[str, Prediction | ImageError]]:
        """See `Predictor.predict_each`."""
        ...


def predict(
    model: str | Path | Answering,
    pictures: Iterable[str],
    *,
    top: int = 5,
    coverage: float | None = None,
    runtime: str = "auto",
    reporter: Reporter = SILENT,
) -> Iterator[tuple[str, Prediction | ImageError]]:
    """Predict each picture that `find_pictures` finds, in order.

    Files that were skipped are reported at the end.

    Raises:
        UsageError: an argument is empty, at once; or no picture was found, at the end. Else as the Predictor does.
    """
    pictures = list(pictures)
    left_out = LeftOut()
    names = find_pictures(pictures, left_out, reporter)
    predictor = Predictor(model, runtime=runtime) if isinstance(model, str | Path) else model
    predictions = predictor.predict_each(names, read_picture, top=top, coverage=coverage)
    return _reported(predictions, pictures, left_out, reporter)


def _reported(
    predictions: Iterator[tuple[str, Prediction | ImageError]],
    pictures: list[str],
    left_out: LeftOut,
    reporter: Reporter,
) -> Iterator[tuple[str, Prediction | ImageError]]:
    count = 0
    for prediction in predictions:
        count += 1
        yield prediction
    kinds = describe(left_out.kinds) if left_out.kinds else ""
    if not count:
        skipped = f"; skipped: {kinds}" if kinds else ""
        raise UsageError(f"no pictures that can be read in {', '.join(pictures)[:200]}{skipped}")
    if kinds:
        reporter.say(f"Skipped: {kinds}")


def read_picture(name: str) -> bytes:
    """Return the bytes of a file. Raises `ImageError`."""
    if is_folder(name):
        try:
            list_folder(name)
        except OSError as error:
            raise ImageError(f"the folder cannot be read: {error.strerror or error}") from None
    return read_linked(Path(name))
