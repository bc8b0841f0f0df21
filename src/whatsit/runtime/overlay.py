"""Drawings of explanations: picture, evidence, prediction and a scale."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from whatsit.arrays import Float32
from whatsit.images.decode import Pixels
from whatsit.images.names import drawable
from whatsit.runtime.explain import OCCLUSION, Explanation
from whatsit.runtime.wording import percent

FONT = Path(__file__).parent.parent / "fonts" / "Sarabun-Regular.ttf"  # Latin and Thai; SIL Open Font License

# Viridis: even steps of lightness, legible with colour blindness (van der Walt & Smith 2015).
_VIRIDIS = (
    (68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142),
    (31, 158, 137), (53, 183, 121), (109, 205, 89), (180, 222, 44), (253, 231, 37),
)  # fmt: skip
# How occlusion finds it, in both languages, as this drawing has no language of its own.
HIDDEN = (
    "Each part was hidden in turn, to see how far the answer falls (Zeiler & Fergus 2014). / "
    "ปิดภาพทีละส่วนแล้วดูว่าความมั่นใจลดลงเท่าใด"
)
_FINER = (
    8  # times as large as they are shown letters are drawn: at their size they stand at whole pixels, words too close
)
_INK, _PAPER = (33, 37, 41), (255, 255, 255)


def colours(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return values 0 to 1 of any shape as RGB, 0 to 255, with a last axis of 3."""
    steps = np.linspace(0.0, 1.0, len(_VIRIDIS))
    return np.stack([np.interp(values, steps, channel) for channel in np.array(_VIRIDIS).T], axis=-1).astype(np.float32)


def lay_over(pixels: Pixels, evidence: Float32) -> Pixels:
    """Return a picture uint8 `[H, W, 3]` in grey, tinted by the evidence `[h, w]`."""
    height, width = pixels.shape[:2]
    spread = np.asarray(Image.fromarray(evidence).resize((width, height), Image.Resampling.BICUBIC)).clip(0.0, 1.0)
    grey = pixels.mean(axis=2, keepdims=True)
    weight = 0.25 + 0.4 * spread[..., None]
    mixed: Pixels = ((1 - weight) * grey + weight * colours(spread)).round().astype(np.uint8)
    return mixed


def draw(pixels: Pixels, explanation: Explanation, side: int = 448) -> Image.Image:
    """Draw a sheet: prediction, picture, evidence, and the evidence's scale."""
    picture = Image.fromarray(pixels)
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.BICUBIC if scale < 8 else Image.Resampling.NEAREST)
    over = Image.fromarray(lay_over(np.asarray(picture), explanation.evidence))
    margin, gap, bar, top = 24, 16, 20, 104 if explanation.method == OCCLUSION else 92
    legend = 118
    width = max(640, 2 * margin + 2 * size[0] + 2 * gap + bar + legend)
    sheet = Image.new("RGB", (width, top + max(size[1], 160) + margin), _PAPER)
    pen = ImageDraw.Draw(sheet)
    answer = explanation.prediction
    room = sheet.width - 2 * margin
    title = f"unknown (nearest: {answer.label})" if answer.unknown else f"{answer.label}  {percent(answer.probability)}"
    write(pen, (margin, 14), title, 30, room)
    about = (
        "this answer"
        if explanation.label == answer.label
        else f"{explanation.label} ({percent(explanation.probability)})"
    )
    note = f"Bright is where this picture's evidence for {about} lies ({explanation.method})."
    if not explanation.evidence.any():
        note = f"Nothing in this picture speaks for {about}."
    if answer.unknown:
        note = f"It resembles none of the classes. {note}"
    write(pen, (margin, 56), note, 17, room)
    if explanation.method == OCCLUSION:
        write(pen, (margin, 80), HIDDEN, 13, room)
    sheet.paste(picture, (margin, top))
    sheet.paste(over, (margin + size[0] + gap, top))
    left = margin + 2 * (size[0] + gap)
    ramp = np.linspace(1.0, 0.0, max(size[1], 160), dtype=np.float32)[:, None].repeat(bar, axis=1)
    sheet.paste(Image.fromarray(lay_over(np.full((*ramp.shape, 3), 128, np.uint8), ramp)), (left, top))
    for share, text in ((0.0, "1  most here"), (0.5, "0.5"), (1.0, "0  none")):
        write(pen, (left + bar + 8, top + share * (len(ramp) - 1) - 11), text, 16, legend)
    return sheet


def write(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int, room: int) -> None:
    """Write a line of Latin or Thai text; a line that is too long loses its middle."""
    text = drawable(text)
    font = _font(size * _FINER)
    if font.getlength(text) > room * _FINER:
        keep = len(text)
        while keep > 8 and font.getlength(_shortened(text, keep)) > room * _FINER:
            keep -= 1
        text = _shortened(text, keep)
    ascent, descent = font.getmetrics()
    letters = Image.new("L", (math.ceil(font.getlength(text)) + 2 * _FINER, ascent + descent))
    ImageDraw.Draw(letters).text((0, 0), text, 255, font)
    pen.bitmap((round(place[0]), round(place[1])), letters.reduce(_FINER), _INK)


def _shortened(text: str, keep: int) -> str:
    return f"{text[: keep * 2 // 3]} ... {text[len(text) - keep // 3 :]}"


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), size)
