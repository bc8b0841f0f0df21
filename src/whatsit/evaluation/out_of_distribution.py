"""Out-of-distribution pictures, drawn here: are they called unknown?"""

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
class OodResult:
    """The scores of one kind of drawn pictures, beside those of the test pictures."""

    kind: str
    scores: npt.NDArray[np.float64]  # [n]
    unknown: float  # the share that was called unknown
    auroc: float  # of the score, against the test pictures

    @property
    def n(self) -> int:
        """Return the number of pictures."""
        return len(self.scores)


def draw_pictures(size: tuple[int, int], seed: int = 0) -> dict[str, Pixels]:
    """Draw noise, clouds, colours and stripes, each uint8 `[COUNT, H, W, 3]`."""
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


def try_unknown(predictor: Predictor, test_scores: npt.NDArray[np.float64]) -> list[OodResult]:
    """Score drawn pictures against the test pictures' scores, float `[N]`."""
    results = []
    for kind, pixels in draw_pictures(predictor.size).items():
        answers = [answer for batch in np.split(pixels, range(16, COUNT, 16)) for answer in predictor.answer(batch)]
        scores = np.array([answer.ood_score for answer in answers])
        drawn = np.arange(len(scores) + len(test_scores)) < len(scores)
        unknown = float(np.mean([predictor.is_unknown(answer) for answer in answers]))
        results.append(OodResult(kind, scores, unknown, auroc(drawn, np.concatenate([scores, test_scores]))))
    return results
