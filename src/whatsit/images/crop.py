"""A part of a picture, in pixels or in percent of its size."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whatsit.errors import ImageError, UsageError
from whatsit.images.resize import Pixels

_NUMBER = re.compile(r"\d+(?:\.\d+)?%|\d+")


@dataclass(frozen=True)
class Crop:
    """A rectangle: left, top, width, height; each is whole pixels, or ends in `%`."""

    text: str  # as the user gave it

    def __post_init__(self) -> None:
        parts = self.parts
        if len(parts) != 4 or not all(map(_NUMBER.fullmatch, parts)):
            raise UsageError(
                f"--crop takes x,y,w,h in pixels, such as 100,50,640,480, or in percent of the picture, such as 25%,0%,50%,100%; "
                f"received '{self.text[:80]}'"
            )
        if any(float(part.rstrip("%")) == 0 for part in parts[2:]):
            raise UsageError(f"--crop {self.text}: its width and height must be more than 0")

    @property
    def parts(self) -> list[str]:
        """The four numbers as text."""
        return [part.strip() for part in self.text.split(",")]

    def cut(self, pixels: Pixels) -> Pixels:
        """Return the part of a picture `[H, W, 3]`.

        Raises `ImageError` where it is not wholly inside.
        """
        height, width = pixels.shape[:2]
        left, top, wide, high = (
            round(float(part[:-1]) / 100 * side) if part.endswith("%") else int(part)
            for part, side in zip(self.parts, (width, height, width, height), strict=True)
        )
        wide, high = max(wide, 1), max(high, 1)
        if left + wide > width + 1 or top + high > height + 1:  # percents may round one pixel over
            raise ImageError(
                f"the part {self.text} does not lie inside the picture, which has {width:,} x {height:,} pixels", "crop"
            )
        return pixels[top : min(top + high, height), left : min(left + wide, width)]
