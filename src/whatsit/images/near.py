"""Which pictures of a data set are nearly the same: saved again, resized, cut, or shot a moment later.

Candidates are found by similar thumbnails and, where they are given, by similar features of a network. Each pair is then
looked at: is one thumbnail, or a cut of it, found in the other?
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from whatsit.images.decode import Pixels

Floats = npt.NDArray[np.float32]

ALIKE = 0.97  # correlation of two whole thumbnails
ALIKE_CUT = 0.88  # of a thumbnail with a part of the other; of 985 pairs of similar cats and dogs 984 stay below 0.85
CUTS = tuple(share / 40 for share in range(39, 23, -1))  # of the side, that a cut may have kept: 0.975 to 0.6
_NEAR_THUMBS = 0.94  # correlation from which thumbnails are looked at
_NEAR_FEATURES = 0.60  # cosine from which features are, once their mean is taken away
_DIMENSIONS = 96
_BLOCK = 2048
_MOST = 6  # candidates of a picture
_MOST_PAIRS = 8000  # candidates in all, of each kind; looking at one takes some 4 ms
_FLAT = 3.0  # standard deviation of a thumbnail without content, about which correlation says nothing


def near_duplicates(thumbs: Pixels, features: npt.NDArray[Any] | None = None) -> list[list[int]]:
    """Groups of pictures that are nearly the same, each with two or more numbers, ascending.

    Args:
        thumbs: luminance uint8 `[N, T, T]`.
        features: float `[N, F]`, of any network; finds cuts that thumbnails alone do not.
    """
    count = len(thumbs)
    if count < 2:
        return []
    pairs = _most_similar(thumbs.reshape(count, -1).astype(np.float32), _NEAR_THUMBS)
    if features is not None:
        pairs |= _most_similar(features.astype(np.float32), _NEAR_FEATURES)
    flat = thumbs.reshape(count, -1).std(axis=1) < _FLAT
    parents = list(range(count))
    for first, second in sorted(pairs):
        if not (flat[first] or flat[second]) and is_near(thumbs[first], thumbs[second]):
            _join(parents, first, second)
    groups: dict[int, list[int]] = {}
    for place in range(count):
        groups.setdefault(_root(parents, place), []).append(place)
    return [group for group in groups.values() if len(group) > 1]


def is_near(first: Pixels, second: Pixels) -> bool:
    """Whether one thumbnail, uint8 `[T, T]`, is the other or a cut of it."""
    if float((_standard(first[None]) * _standard(second[None])).sum()) >= ALIKE:
        return True
    return _holds(first, second) or _holds(second, first)


def _holds(whole: Pixels, part: Pixels) -> bool:
    """Whether the picture `part`, made smaller, is found somewhere in `whole`."""
    picture = Image.fromarray(part)
    for share in CUTS:
        side = round(share * len(whole))
        small = _standard(np.asarray(picture.resize((side, side), Image.Resampling.BOX))[None]).ravel()
        windows = np.lib.stride_tricks.sliding_window_view(whole, (side, side)).reshape(-1, side * side)
        windows = windows.astype(np.float32)
        variance = np.einsum("ij,ij->i", windows, windows) - windows.sum(axis=1) ** 2 / windows.shape[1]
        if float((windows @ small / np.sqrt(np.maximum(variance, 1.0))).max()) >= ALIKE_CUT:
            return True
    return False


def _standard(pictures: npt.NDArray[Any]) -> Floats:
    """`[N, h, w]` with mean 0 and length 1 each, so that a product's sum is their correlation."""
    values: Floats = pictures.astype(np.float32)
    values = values - values.mean(axis=(1, 2), keepdims=True)
    values /= np.maximum(np.sqrt((values**2).sum(axis=(1, 2), keepdims=True)), 1e-6)
    return values


def _most_similar(vectors: Floats, least: float) -> set[tuple[int, int]]:
    """Pairs `(i, j)`, i < j, whose vectors, centred, have at least this cosine; of many the `_MOST_PAIRS` most similar."""
    found = sorted(_similar(vectors, least), reverse=True)[:_MOST_PAIRS]
    return {(first, second) for _, first, second in found}


def _similar(vectors: Floats, least: float) -> Iterator[tuple[float, int, int]]:
    """The cosine and the numbers of each pair; of each picture at most its `_MOST` nearest."""
    vectors = _compressed(vectors)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors[start:].T
        rows, columns = np.nonzero(np.triu(block >= least, 1))
        values = block[rows, columns]
        order = np.lexsort((-values, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        bounds = [0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), len(rows)]
        for begin, end in pairwise(bounds):
            for place in range(begin, min(begin + _MOST, end)):
                yield float(values[place]), int(rows[place]) + start, int(columns[place]) + start


def _compressed(vectors: Floats) -> Floats:
    """Of length 1, without their mean, in few dimensions that keep most of the distances (principal components)."""
    vectors = vectors - vectors.mean(axis=0)
    if vectors.shape[1] > _DIMENSIONS:
        some = vectors[np.random.default_rng(0).permutation(len(vectors))[:4000]]
        _, axes = np.linalg.eigh(some.T @ some)
        vectors = vectors @ axes[:, -_DIMENSIONS:]
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, np.maximum(lengths, 1e-6))


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


def _join(parents: list[int], first: int, second: int) -> None:
    first, second = _root(parents, first), _root(parents, second)
    parents[max(first, second)] = min(first, second)
