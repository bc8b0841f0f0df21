"""Does the model look at the object, or at something beside it?

A network uses whatever separates the classes: a watermark, the table under the dish, the colour of the sky (shortcut
learning, Geirhos et al. 2020). Two questions, on test pictures: where does the evidence lie, and how many
predictions stay the same when the middle of the picture is hidden, or everything but the middle?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from whatsit.arrays import Float32
from whatsit.engines import Images
from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.metrics import wilson_interval
from whatsit.images.decode import decode
from whatsit.images.scan import Dataset
from whatsit.runtime.explain import GRAD_CAM, Explainer
from whatsit.runtime.predictor import Answer, Predictor

FRAME = 1 / 6  # of each side: the border, where most objects are not; it covers 56 % of the picture
PICTURES = 100
OCCLUDED = 12  # pictures that are explained where that takes many runs each
ENOUGH = 30  # pictures; with fewer, no alarm is raised
# Alarms are raised where a share is beyond its limit even at the lower end of its 95 % interval.
BORDER_LIMIT = 0.58  # of the evidence; models known to be sound had 0.29 to 0.52
KEPT_LIMIT = 0.65  # of what can be lost between 1 and chance; models known to be sound kept 0.02 to 0.50
_GRID = 24


@dataclass(frozen=True)
class Shortcuts:
    """Where the evidence lies and what hiding changes, as shares from 0 to 1."""

    n: int
    border_evidence: float  # of the evidence that lies on the border
    border_area: float  # of the picture that is border
    kept_without_middle: float  # of the predictions that stay when only the border is shown
    kept_without_border: float  # when only the middle is shown
    chance: float  # of predictions that would stay, at most, if the shown part held no information
    alarms: tuple[str, ...]  # a sentence each; empty where nothing is suspicious

    @property
    def enough(self) -> bool:
        """Return whether there were enough pictures to judge."""
        return self.n >= ENOUGH

    @property
    def telling(self) -> bool:
        """Return whether the middle alone keeps half of what hiding can lose."""
        return self.enough and (self.kept_without_border - self.chance) / max(1.0 - self.chance, 1e-9) >= 0.5


def sample_pixels(dataset: Dataset, test: Evaluation, predictor: Predictor, count: int = PICTURES) -> Images:
    """Decode evenly spread test pictures: uint8 `[N, H, W, 3]`."""
    places = np.linspace(0, len(test.pictures) - 1, min(count, len(test.pictures))).round().astype(int)
    read = (dataset.read(test.pictures[place]) for place in places)
    return np.stack([decode(data, predictor.size, rule=predictor.rule) for data in read])


def look_for_shortcuts(explainer: Explainer, pixels: Images) -> Shortcuts:
    """Explain and partly hide pictures uint8 `[N, H, W, 3]`."""
    predictions: dict[str, list[int]] = {"whole": [], "border": [], "middle": []}
    shares: list[float] = []
    fill = pixels.mean(axis=(0, 1, 2)).round().astype(np.uint8)  # the mean of all pictures identifies no single one
    places = np.linspace(0, len(pixels) - 1, len(pixels) if explainer.method == GRAD_CAM else OCCLUDED).round()
    for start in range(0, len(pixels), 16):
        batch = pixels[start : start + 16]
        whole, maps = _explained(explainer, batch, [place - start for place in places])
        shares += [share for share in map(border_share, maps) if share is not None]
        border, middle = map(explainer.predictor.answer, (hide_middle(batch, fill), hide_border(batch, fill)))
        for shown, answers in zip(predictions, (whole, border, middle), strict=True):
            shares_of = np.stack([answer.probabilities for answer in answers])
            predictions[shown] += explainer.predictor.decide(shares_of).tolist()
    first, by_border, by_middle = map(np.array, predictions.values())
    evidence, low_evidence = _mean_and_low(shares)
    area = float(_border(_GRID, _GRID).mean())
    without_middle, without_border = (float((kept == first).mean()) for kept in (by_border, by_middle))
    chance = float(np.bincount(first).max() / len(first))
    alarms = []
    if len(shares) >= ENOUGH and low_evidence > BORDER_LIMIT:
        alarms.append(
            f"{evidence:.0%} of the evidence lies on the border of the pictures, which is {area:.0%} of their area."
        )
    low_kept, _ = wilson_interval(round(without_middle * len(first)), len(first))
    # In units of what can be lost: 1 where nothing is lost, 0 at chance.
    left = (low_kept - chance) / max(1.0 - chance, 1e-9)
    if len(first) >= ENOUGH and left > KEPT_LIMIT and without_middle > without_border:
        alarms.append(
            f"With the middle of the picture hidden, {without_middle:.0%} of the answers stay the same; with only the "
            f"middle shown, {without_border:.0%}."
        )
    return Shortcuts(len(first), evidence, area, without_middle, without_border, chance, tuple(alarms))


def _explained(explainer: Explainer, batch: Images, places: Sequence[float]) -> tuple[list[Answer], Sequence[Float32]]:
    """Return the outputs for a batch, and the maps at these places of it."""
    chosen = sorted({int(place) for place in places if 0 <= place < len(batch)})
    if len(chosen) == len(batch):
        answers, maps = explainer.evidence(batch)
        return answers, list(maps)
    return explainer.predictor.answer(batch), list(explainer.evidence(batch[chosen])[1]) if chosen else []


def _mean_and_low(shares: list[float]) -> tuple[float, float]:
    """Return the mean and the lower end of its 95 % interval; zeros for an empty list."""
    if not shares:
        return 0.0, 0.0
    mean = float(np.mean(shares))
    return mean, mean - 1.96 * float(np.std(shares)) / len(shares) ** 0.5


def border_share(evidence: Float32) -> float | None:
    """Return the share of a map `[h, w]` on the border; None for an empty map."""
    spread = np.asarray(Image.fromarray(evidence).resize((_GRID, _GRID), Image.Resampling.BILINEAR))
    total = float(spread.sum())
    return float(spread[_border(_GRID, _GRID)].sum()) / total if total > 0 else None


def hide_middle(pixels: Images, fill: Images) -> Images:
    """Paint all but the border of uint8 `[N, H, W, 3]` in the colour `fill`, `[3]`."""
    return np.where(_border(*pixels.shape[1:3])[..., None], pixels, fill)


def hide_border(pixels: Images, fill: Images) -> Images:
    """Paint the border of pictures uint8 `[N, H, W, 3]` in the colour `fill`, `[3]`."""
    return np.where(_border(*pixels.shape[1:3])[..., None], fill, pixels)


def _border(height: int, width: int) -> npt.NDArray[np.bool_]:
    inside = np.zeros((height, width), bool)
    top, left = round(height * FRAME), round(width * FRAME)
    inside[top : height - top, left : width - left] = True
    return ~inside
