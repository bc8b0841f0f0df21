"""Views of an image for test-time augmentation: original, mirrored, shifted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ORIGINAL, FLIP = "original", "flip"


def moved(view: str, pixels: int) -> str:
    """Return a view shifted down and right by pixels; the rest is mirrored."""
    return f"{view}{pixels:+d}" if pixels else view


def asked_views(side: int, *, flip: bool, shift: float) -> tuple[str, ...]:
    """Return the views whose mean logits are a model's prediction, the original first.

    With `flip` the second is the mirror image. With a `shift`, a share of the `side` (a pixel at least), it is shifted up and
    to the left by that, and a third one down and to the right (after the multi-crop of Jordan 2024).
    """
    other = FLIP if flip else ORIGINAL
    if not shift:
        return (ORIGINAL, FLIP) if flip else (ORIGINAL,)
    pixels = max(1, round(shift * side))
    return ORIGINAL, moved(other, -pixels), moved(other, pixels)


def places_in(view: str, height: int, width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows `[height]` and columns `[width]` of an image that a view shows."""
    name = FLIP if view.startswith(FLIP) else ORIGINAL
    shift = int(view.removeprefix(name) or 0)
    rows, columns = (_moved(side, shift) for side in (height, width))
    return rows, np.arange(width)[::-1][columns] if name == FLIP else columns


def _moved(side: int, shift: int) -> npt.NDArray[np.int64]:
    ends = np.pad(np.arange(side), abs(shift), mode="symmetric")
    return ends[abs(shift) - shift :][:side]


def apply_view(pixels: npt.NDArray[np.uint8], view: str) -> npt.NDArray[np.uint8]:
    """Return a batch `[N, H, W, 3]` in a view, contiguous."""
    if view == ORIGINAL:
        return pixels
    rows, columns = places_in(view, *pixels.shape[1:3])
    return np.ascontiguousarray(pixels[:, rows[:, None], columns])
