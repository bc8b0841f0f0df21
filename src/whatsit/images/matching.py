"""Comparison of thumbnails: nearly the same, shifted, or one a crop of the other.

What is shifted or cropped is searched by normalized cross-correlation, computed in the frequency domain with running sums
for the norms (J. P. Lewis, "Fast Normalized Cross-Correlation", 1995).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Bools, Float32
from whatsit.images.decode import Pixels

ALIKE = 0.97  # correlation of two whole thumbnails
# Of the middle of a thumbnail with a part of the other. Among 51,000 pairs of neighbours in six sets of real images 99 are found
# by it alone, none with two labels.
ALIKE_SHIFTED = 0.9
ALIKE_CUT = 0.88  # of a thumbnail with a part of the other; of 985 pairs of similar cats and dogs 984 stay below 0.85
ALIKE_DETAIL = (
    0.6  # of what is fine in them; of 300 cuts all were above 0.62; of pairs in CIFAR-10 999 in 1,000 share a label
)
ALIKE_LIGHT = 4.0  # difference of the mean luminance, of 255
ALIKE_SPREAD = 1.15  # times the other's standard deviation
CUTS = tuple(share / 40 for share in range(39, 23, -1))  # of the side, that a cut may have kept: 0.975 to 0.6
_MARGIN = 3 / 32  # of the side, by which the other may be shifted
_PERHAPS = 0.75  # of half as large thumbnails, from which the whole ones are looked at; of 150 cuts none was below 0.82
_PAIRS = 128  # pairs that are compared at a time: what is computed of them fits the processor's cache
_THREADS = 2

Compare = Callable[[Pixels, Pixels], Bools]


def _in_blocks(compare: Compare) -> Compare:
    """Compare blocks of pairs on two threads: NumPy releases the interpreter's lock."""

    @functools.wraps(compare)
    def in_blocks(first: Pixels, second: Pixels) -> Bools:
        starts = range(0, len(first), _PAIRS)
        blocks = [(first[start : start + _PAIRS], second[start : start + _PAIRS]) for start in starts]
        if len(blocks) < 2:
            return compare(first, second)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="matching") as pool:
            return np.concatenate(list(pool.map(lambda block: compare(*block), blocks)))

    return in_blocks


@_in_blocks
def are_same(first: Pixels, second: Pixels) -> Bools:
    """Return for each pair of thumbnails whether they are nearly the same as a whole.

    Args:
        first: luminance uint8 `[P, T, T]`, T even.
        second: uint8 `[P, T, T]`.

    Returns:
        bool `[P]`.
    """
    found: Bools = _correlation(first, second) >= ALIKE
    found[found] = _agree(first[found], second[found])
    return found


@_in_blocks
def are_shifted(first: Pixels, second: Pixels) -> Bools:
    """Return for each pair whether the middle of one is found in the other."""
    found = np.zeros(len(first), bool)
    size = first.shape[1]
    margin = round(_MARGIN * size)
    for whole, other in ((first, second), (second, first)):
        left = np.flatnonzero(~found)
        part = other[left, margin : size - margin, margin : size - margin]
        alike, corners = _Searched(whole[left]).best(part)
        good = alike >= ALIKE_SHIFTED
        found[left[good]] = _agree(_windows(whole[left[good]], corners[good], part.shape[1]), part[good])
    return found


@_in_blocks
def hold_cuts(first: Pixels, second: Pixels) -> Bools:
    """Return for each pair whether one is a crop of the other; as `are_same`."""
    found = np.zeros(len(first), bool)
    for whole, part in ((first, second), (second, first)):
        left = np.flatnonzero(~found)
        perhaps = np.zeros(len(left), bool)
        for alike, _, _ in _best_windows(_halved(whole[left]), _halved(part[left])):
            perhaps |= alike >= _PERHAPS
        left = left[perhaps]
        for alike, corners, small in _best_windows(whole[left], part[left]):
            good = np.flatnonzero((alike >= ALIKE_CUT) & ~found[left])
            windows = _windows(whole[left[good]], corners[good], small.shape[1])
            found[left[good]] = _agree(windows, small[good])
    return found


def _halved(thumbs: Pixels) -> Float32:
    """Return the means of 2 x 2 samples."""
    count, height, width = thumbs.shape
    small: Float32 = thumbs.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4), dtype=np.float32)
    return small


def _best_windows(
    whole: npt.NDArray[Any], part: npt.NDArray[Any]
) -> Iterator[tuple[Float32, npt.NDArray[np.intp], Float32]]:
    """Yield the best match of `part`, shrunk to each side of a crop, in `whole`.

    Yields:
        The correlations `[P]`, the corners of those windows `[P, 2]`, and the smaller `part` `[P, side, side]`.
    """
    part = part.astype(np.float32)
    size = whole.shape[1]
    searched = _Searched(whole)
    for side in sorted({round(share * size) for share in CUTS}, reverse=True):
        shrink = _shrink(size, side)
        small = shrink @ part @ shrink.T
        yield *searched.best(small), small


class _Searched:
    """Images `[P, T, T]` in which smaller ones are searched."""

    def __init__(self, whole: npt.NDArray[Any]) -> None:
        centred = whole - whole.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
        self._size = whole.shape[1]
        self._spectrum = np.fft.rfft2(centred)
        self._sums, self._squares = _running_sums(centred), _running_sums(np.square(centred))

    def best(self, parts: npt.NDArray[Any]) -> tuple[Float32, npt.NDArray[np.intp]]:
        """Return the best correlation of each part in its image, and that window's corner."""
        count, side = parts.shape[:2]
        shape = (self._size, self._size)
        products = np.fft.irfft2(self._spectrum * np.fft.rfft2(standard(parts), shape).conj(), shape)
        corners = self._size - side + 1  # beyond them a window would go round the edge
        variances = _sums_of_windows(self._squares, side) - np.square(_sums_of_windows(self._sums, side)) / side**2
        alike = (products[:, :corners, :corners] / np.sqrt(np.maximum(variances, 1.0))).reshape(count, corners**2)
        best = alike.argmax(axis=1)
        return alike[np.arange(count), best], np.stack(np.divmod(best, corners), axis=1)


def _running_sums(values: Float32) -> npt.NDArray[np.float64]:
    """Return the sum of what lies above and left of each sample, `[P, T + 1, T + 1]`."""
    count, height, width = values.shape
    sums = np.zeros((count, height + 1, width + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:, 1:])
    np.cumsum(sums[:, 1:, 1:], axis=2, out=sums[:, 1:, 1:])
    return sums


def _sums_of_windows(sums: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = (
        sums[:, side:, side:] - sums[:, side:, :-side] - sums[:, :-side, side:] + sums[:, :-side, :-side]
    )
    return found


def _windows(whole: Pixels, corners: npt.NDArray[np.intp], side: int) -> Pixels:
    """Return the window of each image that begins at its corner, `[P, side, side]`."""
    steps = np.arange(side)
    rows, columns = corners[:, 0, None] + steps, corners[:, 1, None] + steps
    found: Pixels = whole[np.arange(len(whole))[:, None, None], rows[:, :, None], columns[:, None, :]]
    return found


def _correlation(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Float32:
    found: Float32 = np.einsum("ijk,ijk->i", standard(first), standard(second))
    return found


def _agree(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return whether detail (unlike in two evening skies), light and spread agree."""
    fine = _correlation(_fine(first), _fine(second)) >= ALIKE_DETAIL
    light = np.abs(first.mean(axis=(1, 2)) - second.mean(axis=(1, 2))) <= ALIKE_LIGHT
    spread = np.log((first.std(axis=(1, 2)) + 1) / (second.std(axis=(1, 2)) + 1))
    agreed: npt.NDArray[np.bool_] = fine & light & (np.abs(spread) <= np.log(ALIKE_SPREAD))
    return agreed


def _fine(pictures: npt.NDArray[Any]) -> Float32:
    """Subtract the mean of 3 x 3 samples around each."""
    height, width = pictures.shape[1:]
    padded = np.pad(pictures.astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3))
    fine: Float32 = np.asarray(pictures - np.asarray(around) / 9, np.float32)
    return fine


def _shrink(size: int, side: int) -> Float32:
    """Return the matrix that shrinks `size` samples to `side` means."""
    edges = np.linspace(0, size, side + 1)
    places = np.arange(size)
    covered = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    weights: Float32 = (np.maximum(covered, 0) * side / size).astype(np.float32)
    return weights


def standard(pictures: npt.NDArray[Any]) -> Float32:
    """Return float32 `[N, h, w]` with mean 0 and length 1: products are correlations."""
    values: Float32 = pictures.astype(np.float32)
    values = values - values.mean(axis=(1, 2), keepdims=True)
    values /= np.maximum(np.sqrt((values**2).sum(axis=(1, 2), keepdims=True)), 1e-6)
    return values
