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

from whatsit.arrays import Array, Int64
from whatsit.images.audit import Audit
from whatsit.images.decode import Pixels
from whatsit.images.groups import Groups
from whatsit.images.matching import Compare, are_same, are_shifted, hold_cuts, standard
from whatsit.images.neighbours import Neighbours, can_search
from whatsit.images.stored_arrays import Rows, pieces, release, take_rows

Pairs = npt.NDArray[np.int64]  # [P, 2]

SMALLEST = 24  # pixels of the shorter side
_SAME = 2  # difference of samples of one enlarged pixel
_FLAT = 3.0  # standard deviation of a thumbnail without content, about which correlation says nothing
_MORE = 4  # times as many neighbours are compared of an image whose farthest neighbour was still a near-duplicate
_KEPT = 8  # searches whose result is kept
_ROUND = 4096  # pairs after which those that others have joined are left out
_PART = 131_072  # images whose neighbours are in memory at a time


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
    members = np.flatnonzero(np.bincount(roots, minlength=1)[roots] > 1)
    order = members[np.argsort(roots[members], kind="stable")]
    bounds = np.flatnonzero(np.diff(roots[order])) + 1
    return [group.tolist() for group in np.split(order, bounds) if len(group)]


def pairs_looked_for_once(thumbs: Pixels, sides: Sequence[int], warn: Callable[[str], None]) -> Pairs:
    """Return `near_pairs`; the same images are searched once in a process.

    A study splits its images for the search, for the trials and for the best run.
    """
    digest = hashlib.sha256(repr((thumbs.shape, [*map(int, sides)])).encode())
    for some in pieces(thumbs):
        digest.update(some.tobytes())
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


def near_pairs_of(measured: Audit, warn: Callable[[str], None]) -> list[tuple[bytes, bytes]]:
    """Return `near_pairs` of measured images, by the SHA-256 of their files."""
    pairs = pairs_looked_for_once(measured.thumbs, measured.sides, warn)
    first, second = (measured.pictures.take(pairs[:, side]) for side in (0, 1))
    return [(one.digest, other.digest) for one, other in zip(first, second, strict=True)]


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
    if not can_search(len(numbers)):
        if warn:
            warn(
                f"{len(numbers):,} images are too many to look for near-duplicates among them; only images of the same "
                f"thumbnail are found (a column 'group' of a CSV keeps together what belongs together)"
            )
        return _sorted(copied)
    search = _Search(thumbs, numbers)
    search.run(_Vectors(thumbs, numbers, standard), _BY_THUMBS[0])
    search.run(_Vectors(thumbs, numbers), _BY_THUMBS[1])
    if features is not None:
        search.run(_Vectors(features, numbers), _BY_FEATURES)
    if search.unfinished and warn:
        warn(
            f"{search.unfinished:,} images have more near-duplicates than the nearest {search.most} of each, which were "
            "compared: a group of them may be found in several parts"
        )
    return _sorted(np.concatenate([copied, *(numbers[pairs] for pairs in search.found)]))


def _sorted(pairs: Pairs) -> Pairs:
    ordered: Pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return ordered


class _Vectors:
    """Thumbnails or features of some images as vectors, computed when asked for."""

    def __init__(
        self, source: Array, numbers: Int64, compute: Callable[[Array], Array] = lambda values: values
    ) -> None:
        self._source, self._numbers, self._compute = source, numbers, compute
        self.shape = len(numbers), int(np.prod(source.shape[1:]))

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, rows: Any) -> Array:
        values = self._compute(take_rows(self._source, self._numbers[rows]))
        return values.reshape(len(values), -1)


def _usable(thumbs: Pixels, sides: Sequence[int] | None) -> npt.NDArray[np.int64]:
    """Return the numbers of the images with enough content to be compared."""
    good = np.ones(len(thumbs), bool) if sides is None else np.asarray(sides) >= SMALLEST
    for start in range(0, len(thumbs), _ROUND):
        some = thumbs[start : start + _ROUND]
        good[start : start + _ROUND] &= (some.std(axis=(1, 2), dtype=np.float32) >= _FLAT) & ~_are_enlarged(some)
        release(thumbs)
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
    digests = bytearray()
    for start in range(0, len(usable), _ROUND):
        for thumb in thumbs[usable[start : start + _ROUND]]:
            digests += hashlib.blake2b(thumb.tobytes(), digest_size=32).digest()
        release(thumbs)
    _, first, inverse = np.unique(np.frombuffer(digests, "S32"), return_index=True, return_inverse=True)
    pairs = np.stack([usable[first][inverse], usable], axis=1)
    return pairs[pairs[:, 0] != pairs[:, 1]], usable[np.sort(first)]


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

    def __init__(self, thumbs: Pixels, numbers: Int64) -> None:
        """Take all thumbnails, and the numbers of those to compare."""
        self._thumbs, self._numbers = thumbs, numbers
        self.groups = Groups(len(numbers))
        self.found: list[Pairs] = []
        self.unfinished = 0  # images with more near-duplicates than were looked at
        self.most = 0  # neighbours that were looked at of each of these

    def run(self, vectors: Rows, reach: _Reach) -> None:
        """Compare each image with its neighbours, with more where all are near-duplicates."""
        index = Neighbours(vectors, centred=reach.centred)
        numbers, before = np.arange(len(vectors)), 0
        for count in (reach.count, reach.count * _MORE):
            parts = (numbers[start : start + _PART] for start in range(0, len(numbers), _PART))
            crowded = [self._look(index, part, count, before, reach) for part in parts]
            numbers, before = np.concatenate(crowded), count
            if not len(numbers):
                return
        if len(numbers) > self.unfinished:
            self.unfinished, self.most = len(numbers), before

    def _look(self, index: Neighbours, numbers: Int64, count: int, before: int, reach: _Reach) -> Int64:
        """Compare images with their neighbours; return those of which all were near.

        They are `count`, less the `before` that were compared already.
        """
        nearest, cosines = index.nearest(numbers, count, reach.least)
        left = _pairs(numbers, nearest[:, before:])
        for compare in (are_same, are_shifted):
            left = self._compare(left, compare)
        cuts = np.where(cosines >= reach.least_cut, nearest, -1)[:, before : reach.cuts]
        self._compare(_among(left, _pairs(numbers, cuts)), hold_cuts)
        last = nearest[:, -1]
        near: Int64 = numbers[(last >= 0) & self.groups.are_joined(np.stack([np.maximum(last, 0), numbers], axis=1))]
        return near

    def _compare(self, pairs: Pairs, compare: Compare) -> Pairs:
        """Join the pairs that are near; return the others."""
        others = []
        for start in range(0, len(pairs), _ROUND):
            some = pairs[start : start + _ROUND]
            some = some[~self.groups.are_joined(some)]
            near = compare(*(take_rows(self._thumbs, self._numbers[some[:, side]]) for side in (0, 1)))
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
