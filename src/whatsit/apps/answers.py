"""Pictures that a visitor brought, and what the model says of them. Knows nothing of Streamlit."""

from __future__ import annotations

import base64
import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from whatsit.errors import ImageError
from whatsit.files import spreadsheet_safe
from whatsit.images.decode import Pixels, decode_within
from whatsit.runtime.explain import Explanation
from whatsit.runtime.overlay import lay_over
from whatsit.runtime.predictor import Prediction, Predictor

LARGE, SMALL = 1024, 96  # pixels of the longer side, as shown
ENLARGED = 256  # a tiny picture is shown in its own pixels, this large


@dataclass(frozen=True)
class Brought:
    """A picture file as it was brought."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Answered:
    """A picture and its answer, or why there is none."""

    brought: Brought
    answer: Prediction | ImageError
    thumbnail: str = ""  # an address with the picture in it


@dataclass(frozen=True)
class Lot:
    """Pictures that were answered together."""

    answered: tuple[Answered, ...]
    seconds: float  # from the files to the answers, and to the thumbnails of many

    @property
    def good(self) -> list[Answered]:
        """Those with an answer."""
        return [one for one in self.answered if isinstance(one.answer, Prediction)]

    @property
    def failed(self) -> list[Answered]:
        """Those that could not be read."""
        return [one for one in self.answered if isinstance(one.answer, ImageError)]


def answer_all(
    predictor: Predictor, pictures: Sequence[Brought], progress: Callable[[int, int], None] = lambda done, total: None
) -> Lot:
    """Answer every picture; one that cannot be read gets its own error. A single one gets no thumbnail."""
    if len(pictures) == 1:
        return _answer_one(predictor, pictures[0])
    answered = []
    started = time.perf_counter()
    for picture, answer in predictor.predict_each(pictures, lambda one: one.data, top=len(predictor.classes)):
        small = ""
        if isinstance(answer, Prediction):
            small = address(decode_within(picture.data, SMALL), quality=80)
        answered.append(Answered(picture, answer, small))
        progress(len(answered), len(pictures))
    return Lot(tuple(answered), time.perf_counter() - started)


def _answer_one(predictor: Predictor, picture: Brought) -> Lot:
    started = time.perf_counter()
    answer: Prediction | ImageError
    try:
        [answer] = predictor.predict([picture.data], top=len(predictor.classes))
    except ImageError as error:
        answer = error
    return Lot((Answered(picture, answer),), time.perf_counter() - started)


def pixels_to_show(data: bytes) -> Pixels:
    """A picture for the screen: at most `LARGE` pixels on its longer side, and a tiny one enlarged, unblurred."""
    pixels = decode_within(data, LARGE)
    longest = max(pixels.shape[:2])
    if longest >= ENLARGED:
        return pixels
    times = -(-ENLARGED // longest)
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def overlay(pixels: Pixels, explanation: Explanation) -> Pixels:
    """The same picture with the evidence laid over it, as `whatsit explain` draws it."""
    return lay_over(pixels, explanation.evidence)


def address(pixels: Pixels, quality: int = 88) -> str:
    """A `data:` address that holds the picture itself, so that no other visitor can ask the server for it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def as_csv(lot: Lot, classes: Sequence[str]) -> bytes:
    """The answers as a table that every spreadsheet opens (UTF-8 with its mark): a line a picture, a column a class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(
        ["file", "answer", "probability", "unknown", "error", *(spreadsheet_safe(f"p: {label}") for label in classes)]
    )
    for one in lot.answered:
        name = spreadsheet_safe(one.brought.name)
        if isinstance(one.answer, ImageError):
            writer.writerow([name, "", "", "", spreadsheet_safe(str(one.answer)), *("" for _ in classes)])
            continue
        shares = dict(one.answer.top)
        writer.writerow(
            [
                name,
                spreadsheet_safe(one.answer.label),
                f"{one.answer.probability:.6f}",
                "yes" if one.answer.unknown else "no",
                "",
                *(f"{shares[label]:.6f}" for label in classes),
            ]
        )
    return text.getvalue().encode("utf-8-sig", errors="replace")
