"""Chooses the pictures by which a bundle proves that it answers alike everywhere."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import islice, zip_longest

from PIL import Image

from whatsit.bundle.format import GOLDEN_COUNT, Bundle, Golden
from whatsit.evaluation.parity import REFERENCE
from whatsit.images.decode import decode, ending_of
from whatsit.images.scan import Dataset, Picture
from whatsit.runtime.predictor import Predictor

MAX_FILE = 128 * 1024  # bytes; a larger picture is kept as a smaller PNG
MAX_SIDE = 512
NOT_EVERYWHERE = (".heic", ".avif", ".jp2")  # what Pillow does not read on every machine


def golden_pictures(bundle: Bundle, dataset: Dataset, pictures: Sequence[Picture]) -> tuple[Golden, ...]:
    """Some readable pictures, spread over the classes, with the reference runtime's answers."""
    by_class = [[p for p in pictures if p.label == label] for label in bundle.classes]
    in_turn = (picture for turn in zip_longest(*by_class) for picture in turn if picture is not None)
    chosen = list(islice(in_turn, GOLDEN_COUNT))
    files = [_keepable(dataset.read(picture)) for picture in chosen]
    predictor = Predictor(bundle, runtime=REFERENCE)
    answers = [predictor.answer(decode(data, predictor.size, rule=predictor.rule)[None])[0] for data, _ in files]
    return tuple(
        Golden(
            f"{number:02d}.{ending}",
            data,
            picture.label,
            tuple(float(p) for p in answer.probabilities),
            answer.ood_score if bundle.unknown else None,
        )
        for number, ((data, ending), picture, answer) in enumerate(zip(files, chosen, answers, strict=True))
    )


def _keepable(data: bytes) -> tuple[bytes, str]:
    """The file itself with its ending, or a PNG of it, smaller where it is large."""
    ending = ending_of(data)
    if len(data) <= MAX_FILE and ending not in NOT_EVERYWHERE:
        return data, ending.removeprefix(".")
    pixels = decode(data)
    scale = min(1.0, MAX_SIDE / max(pixels.shape))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(file, "PNG")
    return file.getvalue(), "png"
