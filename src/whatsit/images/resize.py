"""Stretching to the requested size: step 3 of the newest resize rule.

The filter is Pillow's antialiased `BILINEAR` with weights of 15 bits instead of 22, so that processors filter sixteen
samples at once: a sample differs from Pillow's by two levels of 255 at most. Along each axis:

- A pixel of the result lies `scale = have / want` pixels apart from the next, its centre at `(i + 0.5) * scale`. Its weights
  are a triangle of `max(scale, 1)` pixels to either side, divided by their sum.
- They are multiplied by the largest power of two, at most 2**21, at which the greatest of the axis is below 2**15, and rounded.
- The sum of samples times weights is divided by that power and rounded, halves up, to 8 bits.

The height is changed first, but the width where the picture becomes higher and narrower, which else would be at its largest
on the way; between, samples are rounded. All of it is in whole numbers: the package `cykooz-resizer` (in Rust; the algorithm
is that of Pillow-SIMD), which does the work where it is built for the machine, and NumPy, which does it elsewhere, give the
same pixels.
"""

from __future__ import annotations

import functools
import math
import threading
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

try:
    import cykooz_resizer as package
except ImportError:  # machines that it is not built for
    package = None

Pixels: TypeAlias = npt.NDArray[np.uint8]  # [height, width, channels]

BAND = 1 << 20  # pixels that are stretched at once
# What the package may shrink by, and its largest result in pixels: it ends the process where memory is missing.
_STEEPEST, _LARGEST = 256, 1 << 26
_MOST_BITS = 21
_BLOCK = 16  # pixels of the result that NumPy computes at once
_LONG = 1 << 14


class _Weights(NamedTuple):
    """The weights of an axis, by pixel of the result."""

    starts: list[int]
    rows: list[npt.NDArray[np.int16]]
    bits: int


def stretch(image: Image.Image | Pixels, size: tuple[int, int], *, use_package: bool = True) -> Pixels:
    """Resize an image as the newest rule says.

    Args:
        image: a PIL image of the mode RGB or CMYK, or uint8 `[height, width, 3 or 4]`, at least one pixel.
        size: `(height, width)` of the result, at least one pixel.
        use_package: False computes by NumPy, which gives the same pixels.

    Returns:
        uint8 `[*size, channels]`, 0..255; it owns its memory, unless there was nothing to do.
    """
    height, width = _size(image)
    work = _by_package if use_package and package is not None else _by_numpy
    if height * width <= BAND:
        return work(_part(image, (0, 0, width, height)), size)
    down = not _grows_on_the_way((height, width), size)
    have, across = (width, height) if down else (height, width)
    step = max(1, BAND // across)
    parts = []
    for start in range(0, have, step):  # in bands, as the whole would be in memory three times
        end = min(start + step, have)
        band = _part(image, (start, 0, end, height) if down else (0, start, width, end))
        parts.append(work(band, (size[0], end - start) if down else (end - start, size[1])))
    return work(np.concatenate(parts, axis=int(down)), size)


def _size(image: Image.Image | Pixels) -> tuple[int, int]:
    return (image.height, image.width) if isinstance(image, Image.Image) else image.shape[:2]


def _grows_on_the_way(have: tuple[int, int], want: tuple[int, int]) -> bool:
    return want[0] > have[0] and want[1] < have[1]


def _part(image: Image.Image | Pixels, box: tuple[int, int, int, int]) -> Pixels:
    left, top, right, bottom = box
    if not isinstance(image, Image.Image):
        return image[top:bottom, left:right]
    part = image if box == (0, 0, image.width, image.height) else image.crop(box)
    return np.frombuffer(part.tobytes(), np.uint8).reshape(part.height, part.width, len(part.getbands()))


class _Own(threading.local):
    """What each thread filters with: a resizer must not be shared."""

    work: Any

    def __init__(self) -> None:
        if package is not None:
            filtering = package.ResizeAlg.convolution(package.FilterType.bilinear)
            self.work = package.Resizer(), package.ResizeOptions(resize_alg=filtering, use_alpha=False)


_own = _Own()


def _by_package(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    (height, width), channels = size, pixels.shape[2]
    have_height, have_width = _size(pixels)
    if have_height > _STEEPEST * height or have_width > _STEEPEST * width or height * width > _LARGEST:
        return _by_numpy(pixels, size)
    kind = package.PixelType.U8x3 if channels == 3 else package.PixelType.U8x4
    resizer, options = _own.work
    image = package.ImageData(have_width, have_height, kind, pixels.tobytes())
    have = have_height, have_width
    between = (have_height, width) if _grows_on_the_way(have, size) else (height, have_width)
    # An axis at a time, as the package's own order is not the rule's.
    for rows, columns in [step for step in dict.fromkeys((between, size)) if step != have]:
        result = package.ImageData(columns, rows, kind)
        resizer.resize(image, result, options)
        image = result
    return np.frombuffer(bytearray(image.get_buffer()), np.uint8).reshape(height, width, channels)


def _by_numpy(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    if _grows_on_the_way(_size(pixels), size):
        return _filtered(_filtered_rows(pixels, size[1]), size[0])
    return _filtered_rows(_filtered(pixels, size[0]), size[1])


def _filtered_rows(pixels: Pixels, want: int) -> Pixels:
    return np.ascontiguousarray(_filtered(pixels.transpose(1, 0, 2), want).transpose(1, 0, 2))


def _filtered(pixels: npt.NDArray[Any], want: int) -> Pixels:
    """Stretch `[have, n, channels]` along the first axis."""
    have = len(pixels)
    if have == want:
        return pixels
    starts, rows, bits = (_kept_weights if have <= _LONG else _weights)(have, want)
    samples = pixels.reshape(have, -1)
    result = np.empty((want, samples.shape[1]), np.uint8)
    block = max(1, _BLOCK * want // max(have, want))
    for first in range(0, want, block):
        last = min(first + block, want) - 1
        low, high = starts[first], starts[last] + len(rows[last])
        matrix = np.zeros((last + 1 - first, high - low))
        for place in range(first, last + 1):
            left = starts[place] - low
            matrix[place - first, left : left + len(rows[place])] = rows[place]
        sums = matrix @ samples[low:high].astype(np.float64)  # exact: whole numbers below 2**31
        result[first : last + 1] = np.clip(np.floor(sums * 2.0**-bits + 0.5), 0, 255)
    return result.reshape(want, *pixels.shape[1:])


def _weights(have: int, want: int) -> _Weights:
    scale = have / want
    reach = max(scale, 1.0)
    starts, rows = [], []
    for place in range(want):
        centre = (place + 0.5) * scale
        start, end = max(0, math.floor(centre - reach)), min(have, math.ceil(centre + reach))
        distance = np.abs(np.arange(start, end) - (centre - 0.5)) * (1.0 / reach)
        row = np.maximum(1.0 - distance, 0.0)
        starts.append(start)
        rows.append(row / row.sum())
    most = max(float(row.max()) for row in rows)
    bits = next(
        (bits for bits in range(_MOST_BITS) if math.floor(most * 2.0 ** (bits + 1) + 0.5) >= 1 << 15), _MOST_BITS
    )
    return _Weights(starts, [np.floor(row * 2.0**bits + 0.5).astype(np.int16) for row in rows], bits)


_kept_weights = functools.lru_cache(maxsize=32)(_weights)
