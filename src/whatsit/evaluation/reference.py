"""Reference predictions: test pictures that a bundle carries as a proof."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from whatsit.bundle.costs import decide
from whatsit.bundle.format import REFERENCE_COUNT, Bundle, Reference
from whatsit.evaluation.parity import REFERENCE
from whatsit.evaluation.samples import in_turn
from whatsit.images.decode import decode, ending_of
from whatsit.images.pictures import Picture
from whatsit.images.scan import Dataset
from whatsit.runtime.predictor import Predictor

MAX_FILE = 128 * 1024  # bytes; a larger picture is stored as a smaller PNG
MAX_SIDE = 512
NOT_EVERYWHERE = (".heic", ".avif", ".jp2")  # what Pillow does not read on every machine


def choose_references(bundle: Bundle, dataset: Dataset, pictures: Sequence[Picture]) -> tuple[Reference, ...]:
    """Choose pictures of every class, and predict them by the reference runtime."""
    predictor = Predictor(bundle, runtime=REFERENCE)
    chosen = []
    for number, picture in enumerate(in_turn(pictures, bundle.classes, REFERENCE_COUNT)):
        data, ending = _storable(dataset.read(picture))
        [answer] = predictor.answer(decode(data, predictor.size, rule=predictor.rule)[None])
        probabilities = tuple(float(p) for p in answer.probabilities)
        score = answer.ood_score if bundle.unknown else None
        chosen.append(Reference(f"{number:02d}.{ending}", data, picture.label, probabilities, score))
    return tuple(chosen)


def drawn_references(bundle: Bundle) -> tuple[Reference, ...]:
    """Draw pictures where there are none, and predict them by the reference runtime.

    They are soft patches of colour; each is labelled by what the model says of it.
    """
    predictor, rng = Predictor(bundle, runtime=REFERENCE), np.random.default_rng(0)
    drawn = []
    for number in range(REFERENCE_COUNT):
        patches = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        file = io.BytesIO()
        patches.resize((160, 128), Image.Resampling.BICUBIC).save(file, "PNG")
        [answer] = predictor.answer(decode(file.getvalue(), predictor.size, rule=predictor.rule)[None])
        probabilities = tuple(float(p) for p in answer.probabilities)
        label = bundle.classes[int(decide(bundle.costs, answer.probabilities[None])[0])]
        drawn.append(Reference(f"{number:02d}.png", file.getvalue(), label, probabilities))
    return tuple(drawn)


def _storable(data: bytes) -> tuple[bytes, str]:
    """Return the file and its ending, or a PNG of it, smaller where it is large."""
    ending = ending_of(data)
    if len(data) <= MAX_FILE and ending not in NOT_EVERYWHERE:
        return data, ending.removeprefix(".")
    pixels = decode(data)
    scale = min(1.0, MAX_SIDE / max(pixels.shape))
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(file, "PNG")
    return file.getvalue(), "png"
