"""Pictures that belong to no class, drawn on the spot: does the model say that it does not know them?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from whatsit.evaluation.metrics import auroc
from whatsit.images.decode import Pixels
from whatsit.runtime.predictor import Predictor

COUNT = 24  # of each kind


@dataclass(frozen=True)
class Strangers:
    """How one kind of stranger fared against the test pictures."""

    kind: str
    scores: npt.NDArray[np.float64]  # [n]
    told: float  # the share that was called unknown
    auroc: float  # of telling them from the test pictures by the score

    @property
    def n(self) -> int:
        """How many there were."""
        return len(self.scores)


def draw_strangers(size: tuple[int, int], seed: int = 0) -> dict[str, Pixels]:
    """For each kind, uint8 `[COUNT, H, W, 3]`: noise, clouds, plain colours and stripes."""
    rng = np.random.default_rng(seed)
    height, width = size
    plain = np.broadcast_to(rng.integers(0, 256, (COUNT, 1, 1, 3)), (COUNT, height, width, 3))
    clouds = [
        np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        for coarse in rng.integers(0, 256, (COUNT, 4, 4, 3), dtype=np.uint8)
    ]
    return {
        "noise": rng.integers(0, 256, (COUNT, height, width, 3), dtype=np.uint8),
        "soft clouds": np.stack(clouds),
        "plain colours": plain.astype(np.uint8),
        "stripes": np.stack([_stripes(height, width, rng) for _ in range(COUNT)]),
    }


def _stripes(height: int, width: int, rng: np.random.Generator) -> Pixels:
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    angle, count = rng.uniform(0, np.pi), rng.uniform(3, 12)
    dark = np.sin(2 * np.pi * count * (x * np.cos(angle) + y * np.sin(angle))) > 0
    one, other = rng.integers(0, 256, (2, 3))
    pixels: Pixels = np.where(dark[..., None], one, other).astype(np.uint8)
    return pixels


def meet_strangers(predictor: Predictor, test_scores: npt.NDArray[np.float64]) -> list[Strangers]:
    """Show the drawn strangers to the model; `test_scores` are the scores of the test pictures, float `[N]`."""
    found = []
    for kind, pixels in draw_strangers(predictor.size).items():
        answers = [
            answer for start in range(0, len(pixels), 16) for answer in predictor.answer(pixels[start : start + 16])
        ]
        scores = np.array([answer.ood_score for answer in answers])
        strange = np.arange(len(scores) + len(test_scores)) < len(scores)
        found.append(
            Strangers(
                kind,
                scores,
                float(np.mean([predictor.is_unknown(answer) for answer in answers])),
                auroc(strange, np.concatenate([scores, test_scores])),
            )
        )
    return found
