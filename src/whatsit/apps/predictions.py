"""Uploaded pictures and their predictions; independent of Streamlit and Gradio."""

from __future__ import annotations

import base64
import csv
import io
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from whatsit.errors import ImageError
from whatsit.files import spreadsheet_safe
from whatsit.images.decode import Pixels, decode_within
from whatsit.run.nearest import NearestTraining
from whatsit.runtime.explain import Explanation
from whatsit.runtime.overlay import lay_over
from whatsit.runtime.predictor import Prediction, Predictor

LARGE, NEAR, SMALL = 1024, 240, 96  # pixels of the longer side, as shown
ENLARGED = 256  # a tiny picture is shown in its own pixels, this large


@dataclass(frozen=True)
class Upload:
    """A picture file as it was uploaded."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Predicted:
    """A picture and its prediction."""

    upload: Upload
    prediction: Prediction
    thumbnail: str = ""  # a URL that holds the picture


@dataclass(frozen=True)
class Failed:
    """A file that could not be read."""

    upload: Upload
    error: ImageError


@dataclass(frozen=True)
class Batch:
    """Pictures that were predicted together."""

    results: tuple[Predicted | Failed, ...]  # in the order of the uploads
    seconds: float  # from the files to the predictions, and to the thumbnails of many

    @property
    def predicted(self) -> list[Predicted]:
        """Those with a prediction."""
        return [one for one in self.results if isinstance(one, Predicted)]

    @property
    def failed(self) -> list[Failed]:
        """Those that could not be read."""
        return [one for one in self.results if isinstance(one, Failed)]


def predict_all(
    predictor: Predictor, uploads: Sequence[Upload], progress: Callable[[int, int], None] = lambda done, total: None
) -> Batch:
    """Predict every picture, with all classes. A single one gets no thumbnail."""
    results: list[Predicted | Failed] = []
    started = time.perf_counter()
    for upload, found in predictor.predict_each(uploads, lambda one: one.data, top=len(predictor.classes)):
        if isinstance(found, ImageError):
            results.append(Failed(upload, found))
        else:
            small = data_url(decode_within(upload.data, SMALL), quality=80) if len(uploads) > 1 else ""
            results.append(Predicted(upload, found, small))
        progress(len(results), len(uploads))
    return Batch(tuple(results), time.perf_counter() - started)


def pixels_to_show(data: bytes) -> Pixels:
    """Decode a picture for the screen; a tiny one is enlarged, unblurred."""
    pixels = decode_within(data, LARGE)
    longest = max(pixels.shape[:2])
    if longest >= ENLARGED:
        return pixels
    times = -(-ENLARGED // longest)
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def overlay(pixels: Pixels, explanation: Explanation) -> Pixels:
    """Lay the evidence over a picture, as `whatsit explain` draws it."""
    return lay_over(pixels, explanation.evidence)


def data_url(pixels: Pixels, quality: int = 88) -> str:
    """Return a URL that holds the picture itself: no other visitor can ask for it."""
    return f"data:image/jpeg;base64,{base64.b64encode(as_jpeg(pixels, quality)).decode()}"


def as_jpeg(pixels: Pixels, quality: int = 88) -> bytes:
    """Return the picture as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def nearest_urls(nearest: NearestTraining, data: bytes) -> list[tuple[str, str]]:
    """Return the training pictures nearest to one, each as a URL and its class."""
    urls = []
    for one in nearest.nearest(data):
        with suppress(ImageError):
            urls.append((data_url(decode_within(one.data, NEAR), quality=80), one.label))
    return urls


def as_csv(batch: Batch, classes: Sequence[str]) -> bytes:
    """Return a row for each picture and a column for each class.

    In UTF-8 with its mark, so that every spreadsheet opens it; no cell is a formula.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(
        ["file", "answer", "probability", "unknown", "error", *(spreadsheet_safe(f"p: {label}") for label in classes)]
    )
    for one in batch.results:
        name = spreadsheet_safe(one.upload.name)
        if isinstance(one, Failed):
            writer.writerow([name, "", "", "", spreadsheet_safe(str(one.error)), *("" for _ in classes)])
            continue
        found, shares = one.prediction, dict(one.prediction.top)
        unknown = "yes" if found.unknown else "no"
        probabilities = (f"{shares[label]:.6f}" for label in classes)
        writer.writerow([name, spreadsheet_safe(found.label), f"{found.probability:.6f}", unknown, "", *probabilities])
    return text.getvalue().encode("utf-8-sig", errors="replace")
