"""Near-duplicates: images saved again, resized, cropped, or shot a moment later.

Candidates are the nearest neighbours by thumbnail and, where they are given, by features of a network. The best
candidates are looked at first (`images/matching.py`); those that other pairs have already joined are not looked at.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.images.decode import Pixels
from whatsit.images.groups import Groups
from whatsit.images.matching import Compare, are_same, are_shifted, hold_cuts, standard
from whatsit.images.neighbours import Neighbours

Pairs = npt.NDArray[np.int64]  # [P, 2]

SMALLEST = 24  # pixels of the shorter side
_SAME = 2  # difference of samples of one enlarged pixel
_FLAT = 3.0  # standard deviation of a thumbnail without content, about which correlation says nothing
_MORE = 4  # times as many neighbours are compared of an image whose farthest neighbour was still a near-duplicate
_KEPT = 8  # searches whose result is kept
_ROUND = 4096  # pairs after which those that others have joined are left out


def near_duplicates(
    thumbs: Pixels,
    features: npt.NDArray[Any] | None = None,
    sides: Sequence[int] | None = None,
    warn: Callable[[str], None] | None = None,
) -> list[list[int]]:
    """Return the groups of near-duplicates, each two or more numbers, ascending.

    Arguments as for `near_pairs`.
    """
    groups = Groups(len(thumbs))
    groups.join(near_pairs(thumbs, features, sides, warn).tolist())
    roots = groups.roots()
    order = np.argsort(roots, kind="stable")
    bounds = np.flatnonzero(np.diff(roots[order])) + 1
    return [group.tolist() for group in np.split(order, bounds) if len(group) > 1]


def pairs_looked_for_once(thumbs: Pixels, sides: Sequence[int], warn: Callable[[str], None]) -> Pairs:
    """Return `near_pairs`; the same images are searched once in a process.

    A study splits its images for the search, for the trials and for the best run.
    """
    digest = hashlib.sha256(repr((thumbs.shape, [*map(int, sides)])).encode())
    digest.update(thumbs.tobytes())
    key = digest.digest()
    found = _looked_for.get(key)
    if found is None:
        said: list[str] = []
        found = near_pairs(thumbs, sides=sides, warn=said.append), said
        with _SHARED:
            for old in [*_looked_for][: len(_looked_for) - _KEPT + 1]:
                del _looked_for[old]
            _looked_for[key] = found
    for text in found[1]:
        warn(text)
    return found[0]


_looked_for: dict[bytes, tuple[Pairs, list[str]]] = {}
_SHARED = threading.Lock()


def near_pairs(
    thumbs: Pixels,
    features: npt.NDArray[Any] | None = None,
    sides: Sequence[int] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Pairs:
    """Return verified pairs of near-duplicates; connected, they make the groups.

    Args:
        thumbs: luminance uint8 `[N, T, T]`, T even.
        features: float `[N, F]`, of any network; finds cuts that thumbnails alone do not.
        sides: the shorter side of each image in pixels; those below `SMALLEST` show too little to be compared.
        warn: called with a sentence where images have more near-duplicates than were compared.

    Returns:
        int64 `[P, 2]`, the smaller number first, sorted. Not every pair of a group is among them.
    """
    usable = _usable(thumbs, sides)
    if len(usable) < 2:
        return np.empty((0, 2), np.int64)
    copied, numbers = _copies(thumbs, usable)
    search = _Search(thumbs[numbers])
    search.run(standard(search.thumbs).reshape(len(numbers), -1), _BY_THUMBS[0])
    search.run(search.thumbs.reshape(len(numbers), -1), _BY_THUMBS[1])
    if features is not None:
        search.run(features[numbers], _BY_FEATURES)
    if search.unfinished and warn:
        warn(
            f"{search.unfinished:,} images have more near-duplicates than the nearest {search.most} of each, which were "
            "compared: a group of them may be found in several parts"
        )
    pairs = np.concatenate([copied, *(numbers[pairs] for pairs in search.found)])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _usable(thumbs: Pixels, sides: Sequence[int] | None) -> npt.NDArray[np.int64]:
    """Return the numbers of the images with enough content to be compared."""
    good = np.ones(len(thumbs), bool) if sides is None else np.asarray(sides) >= SMALLEST
    for start in range(0, len(thumbs), _ROUND):
        some = thumbs[start : start + _ROUND]
        good[start : start + _ROUND] &= (some.std(axis=(1, 2), dtype=np.float32) >= _FLAT) & ~_are_enlarged(some)
    return np.flatnonzero(good)


def _are_enlarged(thumbs: Pixels) -> npt.NDArray[np.bool_]:
    """Return which show an enlarged image: blocks of 2 x 2 samples are alike."""
    count, height, width = thumbs.shape
    blocks = thumbs.reshape(count, height // 2, 2, width // 2, 2)
    spread: Pixels = blocks.max(axis=(2, 4)) - blocks.min(axis=(2, 4))
    enlarged: npt.NDArray[np.bool_] = spread.max(axis=(1, 2)) <= _SAME
    return enlarged


def _copies(thumbs: Pixels, usable: npt.NDArray[np.int64]) -> tuple[Pairs, npt.NDArray[np.int64]]:
    """Return pairs of the same thumbnail, and the images without those copies.

    The copies would fill the lists of neighbours.
    """
    firsts: dict[bytes, int] = {}
    pairs = [(firsts.setdefault(thumbs[number].tobytes(), number), number) for number in usable.tolist()]
    copied = np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)
    return copied, np.array(list(firsts.values()), np.int64)


@dataclass(frozen=True)
class _Reach:
    """The neighbours of an image that are compared with it."""

    least: float  # cosine of what may be the same, or shifted
    count: int  # of these neighbours, nearest first
    least_cut: float  # cosine of what may be a cut; looking at one takes 50 times as long
    cuts: int  # of these neighbours
    centred: bool  # whether cosines are taken less the mean of all


# The correlation of two thumbnails finds frames of one scene, also where all images show that scene; the cosine less the mean
# of all finds cuts where many share a background. At lower bounds, drawn fruit on the same table are called cuts of each other.
_BY_THUMBS = (_Reach(0.80, 16, 0.94, 6, centred=False), _Reach(0.94, 16, 0.94, 6, centred=True))
_BY_FEATURES = _Reach(0.60, 6, 0.60, 24, centred=True)


class _Search:
    """A search of near-duplicates among candidates."""

    def __init__(self, thumbs: Pixels) -> None:
        self.thumbs = thumbs
        self.groups = Groups(len(thumbs))
        self.found: list[Pairs] = []
        self.unfinished = 0  # images with more near-duplicates than were looked at
        self.most = 0  # neighbours that were looked at of each of these

    def run(self, vectors: npt.NDArray[Any], reach: _Reach) -> None:
        """Compare each image with its neighbours, with more where all are near-duplicates."""
        index = Neighbours(vectors, centred=reach.centred)
        numbers, before = np.arange(len(vectors)), 0
        for count in (reach.count, reach.count * _MORE):
            nearest, cosines = index.nearest(numbers, count, reach.least)
            left = _pairs(numbers, nearest[:, before:])
            for compare in (are_same, are_shifted):
                left = self._compare(left, compare)
            cuts = np.where(cosines >= reach.least_cut, nearest, -1)[:, before : reach.cuts]
            self._compare(_among(left, _pairs(numbers, cuts)), hold_cuts)
            roots, last = self.groups.roots(), nearest[:, -1]
            numbers, before = numbers[(last >= 0) & (roots[last] == roots[numbers])], count
            if not len(numbers):
                return
        if len(numbers) > self.unfinished:
            self.unfinished, self.most = len(numbers), before

    def _compare(self, pairs: Pairs, compare: Compare) -> Pairs:
        """Join the pairs that are near; return the others."""
        others = []
        for start in range(0, len(pairs), _ROUND):
            some = pairs[start : start + _ROUND]
            roots = self.groups.roots()
            some = some[roots[some[:, 0]] != roots[some[:, 1]]]
            near = compare(self.thumbs[some[:, 0]], self.thumbs[some[:, 1]])
            self.groups.join(some[near].tolist())
            self.found.append(some[near])
            others.append(some[~near])
        return np.concatenate(others) if others else pairs


def _pairs(numbers: npt.NDArray[np.int64], nearest: npt.NDArray[np.int64]) -> Pairs:
    """Return each pair once, ordered, nearest first: they complete most groups."""
    pairs = np.stack([np.tile(numbers, nearest.shape[1]), nearest.ravel(order="F")], axis=1)
    pairs = np.sort(pairs[pairs[:, 1] >= 0], axis=1)
    _, places = np.unique(_keys(pairs), return_index=True)
    ordered: Pairs = pairs[np.sort(places)]
    return ordered


def _among(pairs: Pairs, others: Pairs) -> Pairs:
    """Return the pairs that are also among the others."""
    return pairs[np.isin(_keys(pairs), _keys(others))]


def _keys(pairs: Pairs) -> npt.NDArray[np.int64]:
    """Return one number for each pair."""
    keys: npt.NDArray[np.int64] = (pairs[:, 0] << 32) | pairs[:, 1]
    return keys
