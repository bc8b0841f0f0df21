"""Explain any graph by hiding parts of the picture.

Where a part is hidden and the class becomes less probable, there is evidence for it (Zeiler & Fergus 2014, "Visualizing and
understanding convolutional networks"). It needs the graph's logits only, and a run for each place that is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from whatsit.arrays import Float32, Float64
from whatsit.engines import Images

CELLS = 8  # along each side; a patch of 2 x 2 of them is hidden at each of 7 x 7 places
BATCH = 16  # pictures at once


def occlusion_maps(logits_of: Callable[[Images], Float32], pixels: Images, classes: list[int]) -> Float32:
    """Return the evidence for a class in each picture.

    It is float32 `[N, CELLS, CELLS]`, at least 0: how far the log-odds of the class fall when a patch is painted in the picture's
    mean colour, at each cell the mean over the patches that cover it. A probability near 1 hardly falls where its log-odds do.

    Args:
        logits_of: gives the logits `[B, K]` of pictures uint8 `[B, H, W, 3]`.
        pixels: uint8 `[N, H, W, 3]`.
        classes: the number of the class of each picture.
    """
    maps = [_map_of(logits_of, picture, number) for picture, number in zip(pixels, classes, strict=True)]
    return np.stack(maps).astype(np.float32)


def _map_of(logits_of: Callable[[Images], Float32], picture: Images, number: int) -> Float64:
    height, width = picture.shape[:2]
    rows, columns = (np.linspace(0, side, CELLS + 1).round().astype(int) for side in (height, width))
    odds = np.concatenate([_log_odds(logits_of(batch), number) for batch in _batches(picture, rows, columns)])
    falls = np.maximum(odds[0] - odds[1:], 0.0).reshape(CELLS - 1, CELLS - 1)
    total, times = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for row, column in np.ndindex(falls.shape):
        total[row : row + 2, column : column + 2] += falls[row, column]
        times[row : row + 2, column : column + 2] += 1.0
    found: Float64 = total / times
    return found


def _batches(picture: Images, rows: Images, columns: Images) -> Iterator[Images]:
    """Yield the picture itself, then each that lacks a patch, in batches."""
    colour = picture.mean(axis=(0, 1)).round().astype(np.uint8)
    waiting = [picture]
    for row, column in np.ndindex(CELLS - 1, CELLS - 1):
        hidden = picture.copy()
        hidden[rows[row] : rows[row + 2], columns[column] : columns[column + 2]] = colour
        waiting.append(hidden)
        if len(waiting) == BATCH:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


def _log_odds(logits: Float32, number: int) -> Float64:
    """Return the logarithm of the odds of a class, `[B]`, from logits `[B, K]`."""
    wide = logits.astype(np.float64)
    others = np.delete(wide, number, axis=1)
    top = others.max(axis=1)
    odds: Float64 = wide[:, number] - top - np.log(np.exp(others - top[:, None]).sum(axis=1))
    return odds
