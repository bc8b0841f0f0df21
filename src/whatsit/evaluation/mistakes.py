"""The worst mistakes on the test pictures, with the evidence for the wrong class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.arrays import Float32
from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.page import jpeg_of
from whatsit.images.decode import Pixels, decode, decode_within
from whatsit.images.scan import Dataset
from whatsit.run_files import MISTAKES
from whatsit.runtime.explain import Explainer
from whatsit.runtime.overlay import lay_over

MAX_SIDE = 240  # pixels of a picture that is shown


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction for a test picture."""

    name: str  # the picture's name in DATA
    label: str  # what it truly is
    answer: str  # the predicted class
    probability: float  # of that
    unknown: bool  # it was also called unknown
    pixels: Pixels  # uint8 [H, W, 3]
    evidence: Float32  # for the predicted class, [h, w], 0 to 1

    def to_json(self) -> dict[str, Any]:
        """Return all but the pictures."""
        return {name: value for name, value in vars(self).items() if name not in ("pixels", "evidence")}

    def images(self) -> tuple[bytes, bytes]:
        """Return two JPEG files: the picture, and the evidence laid over it."""
        return jpeg_of(self.pixels), jpeg_of(lay_over(self.pixels, self.evidence))


def mistake_files(folder: Path, number: int) -> tuple[Path, Path]:
    """Return where a run folder has `images()` of its worst mistake number 0, 1, ..."""
    return folder / MISTAKES / f"{number + 1:02d}.jpg", folder / MISTAKES / f"{number + 1:02d}-evidence.jpg"


def find_mistakes(explainer: Explainer, dataset: Dataset, test: Evaluation, count: int = 12) -> list[Mistake]:
    """Return the wrong predictions of the greatest probability, the worst first."""
    predicted, predictor = test.predicted, explainer.predictor
    wrong = np.flatnonzero(~test.right)
    worst = wrong[np.argsort(-test.probabilities[wrong, predicted[wrong]], kind="stable")][:count]
    found = []
    for place in worst:
        picture = test.pictures[place]
        data = dataset.read(picture)
        _, maps = explainer.evidence(decode(data, predictor.size, rule=predictor.rule)[None], [predicted[place]])
        found.append(
            Mistake(
                picture.name,
                picture.label,
                test.classes[predicted[place]],
                float(test.probabilities[place, predicted[place]]),
                bool(test.unknown[place]),
                decode_within(data, MAX_SIDE),
                maps[0],
            )
        )
    return found
