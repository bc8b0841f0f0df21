"""Does the model look at the thing, or at something beside it?

A network takes whatever tells the classes apart: a watermark, the table under the dish, the colour of the sky
(shortcut learning, Geirhos et al. 2020). Two questions are put to it, on test pictures: where does the evidence lie
(Grad-CAM), and what is left of its answers when the middle of the picture is hidden, or everything but the middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from whatsit.engines import Images
from whatsit.evaluation.metrics import wilson_interval
from whatsit.runtime.explain import Explainer, Maps

FRAME = 1 / 6  # of each side: the border, on which most things are not; it covers 56 % of the picture
PICTURES = 100
ENOUGH = 30  # pictures; with fewer, nothing is said
# Alarms are raised where a figure is beyond its limit even at the lower end of its 95 % interval.
BORDER_LIMIT = 0.58  # of the evidence; models known to be sound had 0.29 to 0.52
KEPT_LIMIT = 0.65  # of what the answers have to lose; models known to be sound kept 0.02 to 0.50
_GRID = 24


@dataclass(frozen=True)
class Shortcuts:
    """Where the evidence lies and what hiding does, as shares from 0 to 1 over `n` test pictures."""

    n: int
    border_evidence: float  # of the evidence that lies on the border
    border_area: float  # of the picture that is border
    kept_without_middle: float  # of the answers that stay when only the border is shown
    kept_without_border: float  # when only the middle is shown
    chance: float  # of answers that would stay, at most, if the shown part said nothing
    alarms: tuple[str, ...]  # a sentence each; none where nothing is suspicious

    @property
    def enough(self) -> bool:
        """Whether there were enough pictures to say anything."""
        return self.n >= ENOUGH

    @property
    def telling(self) -> bool:
        """Whether hiding says anything: there are enough pictures, and the middle alone keeps half of what can be lost."""
        return self.enough and (self.kept_without_border - self.chance) / max(1.0 - self.chance, 1e-9) >= 0.5


def look_for_shortcuts(explainer: Explainer, pixels: Images) -> Shortcuts:
    """Question the model on decoded test pictures, uint8 `[N, H, W, 3]`."""
    before: list[int] = []
    shares: list[float] = []
    border_only: list[int] = []
    middle_only: list[int] = []
    fill = pixels.mean(axis=(0, 1, 2)).round().astype(np.uint8)  # of all pictures: it says nothing of this one
    for start in range(0, len(pixels), 16):
        batch = pixels[start : start + 16]
        answers, maps = explainer.evidence(batch)
        before += [int(answer.probabilities.argmax()) for answer in answers]
        shares += [share for share in map(border_share, maps) if share is not None]
        for hidden, kept in ((hide_middle(batch, fill), border_only), (hide_border(batch, fill), middle_only)):
            kept += [int(answer.probabilities.argmax()) for answer in explainer.predictor.answer(hidden)]
    first = np.array(before)
    counts = np.bincount(first, minlength=len(explainer.predictor.classes)) / len(first)
    border, low_border = _mean_and_low(shares)
    area = float(_border(_GRID, _GRID).mean())
    without_middle, without_border = (float((np.array(kept) == first).mean()) for kept in (border_only, middle_only))
    chance = float(counts.max())
    alarms = []
    if len(first) >= ENOUGH and low_border > BORDER_LIMIT:
        alarms.append(
            f"{border:.0%} of the evidence lies on the border of the pictures, which is {area:.0%} of their area."
        )
    low_kept, _ = wilson_interval(round(without_middle * len(first)), len(first))
    # In units of what there is to lose: 1 where nothing is lost, 0 at chance.
    left = (low_kept - chance) / max(1.0 - chance, 1e-9)
    if len(first) >= ENOUGH and left > KEPT_LIMIT and without_middle > without_border:
        alarms.append(
            f"With the middle of the picture hidden, {without_middle:.0%} of the answers stay the same; with only the "
            f"middle shown, {without_border:.0%}."
        )
    return Shortcuts(len(first), border, area, without_middle, without_border, chance, tuple(alarms))


def _mean_and_low(shares: list[float]) -> tuple[float, float]:
    """The mean and the lower end of its 95 % interval; zeros where there is nothing."""
    if not shares:
        return 0.0, 0.0
    mean = float(np.mean(shares))
    return mean, mean - 1.96 * float(np.std(shares)) / len(shares) ** 0.5


def border_share(evidence: Maps) -> float | None:
    """Of a map `[h, w]`, the share of its sum that lies on the border; None where the map is empty."""
    spread = np.asarray(Image.fromarray(evidence).resize((_GRID, _GRID), Image.Resampling.BILINEAR))
    total = float(spread.sum())
    return float(spread[_border(_GRID, _GRID)].sum()) / total if total > 0 else None


def hide_middle(pixels: Images, fill: Images) -> Images:
    """The pictures uint8 `[N, H, W, 3]` with everything but the border in the colour `fill`, `[3]`."""
    return np.where(_border(*pixels.shape[1:3])[..., None], pixels, fill)


def hide_border(pixels: Images, fill: Images) -> Images:
    """The pictures uint8 `[N, H, W, 3]` with the border in the colour `fill`, `[3]`."""
    return np.where(_border(*pixels.shape[1:3])[..., None], fill, pixels)


def _border(height: int, width: int) -> npt.NDArray[np.bool_]:
    inside = np.zeros((height, width), bool)
    top, left = round(height * FRAME), round(width * FRAME)
    inside[top : height - top, left : width - left] = True
    return ~inside
