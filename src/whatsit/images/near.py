"""Which pictures of a data set are nearly the same: saved again, resized, cut, or shot a moment later.

Candidates are found by similar thumbnails and, where they are given, by similar features of a network. Each pair is then
looked at: is one thumbnail, or a cut of it, found in the other?
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.images.components import principal_components
from whatsit.images.decode import Pixels
from whatsit.images.scan import Picture

Floats = npt.NDArray[np.float32]

ALIKE = 0.97  # correlation of two whole thumbnails
ALIKE_CUT = 0.88  # of a thumbnail with a part of the other; of 985 pairs of similar cats and dogs 984 stay below 0.85
ALIKE_DETAIL = (
    0.6  # of what is fine in them; of 300 cuts all were above 0.62; of pairs in CIFAR-10 999 in 1,000 share a label
)
ALIKE_LIGHT = 4.0  # difference of the mean luminance, of 255
ALIKE_SPREAD = 1.15  # times the other's standard deviation
SMALLEST = 24  # pixels of the shorter side
_SAME = 2  # difference of samples of one enlarged pixel
_PERHAPS = 0.75  # of half as large thumbnails, from which the whole ones are looked at; of 150 cuts none was below 0.82
CUTS = tuple(share / 40 for share in range(39, 23, -1))  # of the side, that a cut may have kept: 0.975 to 0.6
_NEAR_THUMBS = 0.94  # correlation from which thumbnails are looked at
_NEAR_FEATURES = 0.60  # cosine from which features are, once their mean is taken away
_DIMENSIONS = 96
_BLOCK = 512  # vectors that are compared with all others at a time
_PAIRS = 64  # pairs that are looked at at a time
_MOST = 6  # candidates of a picture
_MOST_PAIRS = 8000  # candidates in all, of each kind; looking at one takes some 1 ms
_FLAT = 3.0  # standard deviation of a thumbnail without content, about which correlation says nothing


def near_duplicates(
    thumbs: Pixels, features: npt.NDArray[Any] | None = None, sides: Sequence[int] | None = None
) -> list[list[int]]:
    """Return the groups of images that are near-duplicates, each two or more numbers, ascending.

    Arguments as for `near_pairs`.
    """
    parents = list(range(len(thumbs)))
    for first, second in near_pairs(thumbs, features, sides).tolist():
        _join(parents, first, second)
    groups: dict[int, list[int]] = {}
    for number in range(len(thumbs)):
        groups.setdefault(_root(parents, number), []).append(number)
    return [group for group in groups.values() if len(group) > 1]


def near_pairs(
    thumbs: Pixels, features: npt.NDArray[Any] | None = None, sides: Sequence[int] | None = None
) -> npt.NDArray[np.int64]:
    """Return verified pairs of near-duplicates whose connected components are the groups.

    Args:
        thumbs: luminance uint8 `[N, T, T]`.
        features: float `[N, F]`, of any network; finds cuts that thumbnails alone do not.
        sides: the shorter side of each picture in pixels; those below `SMALLEST` show too little to be told apart by it.

    Returns:
        int64 `[P, 2]`, the smaller number first.
    """
    count = len(thumbs)
    if count < 2:
        return np.empty((0, 2), np.int64)
    pairs = _most_similar(thumbs.reshape(count, -1), _NEAR_THUMBS)
    if features is not None:
        pairs |= _most_similar(features, _NEAR_FEATURES)
    flat = {place for place in set(chain(*pairs)) if thumbs[place].std() < _FLAT or _is_enlarged(thumbs[place])}
    if sides is not None:
        flat.update(place for place, side in enumerate(sides) if side < SMALLEST)
    looked = np.array(sorted(pair for pair in pairs if not flat.intersection(pair)), np.int64).reshape(-1, 2)
    return looked[are_near(thumbs[looked[:, 0]], thumbs[looked[:, 1]])]


def _is_enlarged(thumb: Pixels) -> bool:
    """Whether it shows pixels made large, of a picture that was below `SMALLEST` once: blocks of 2 x 2 samples are alike."""
    blocks = thumb.reshape(thumb.shape[0] // 2, 2, thumb.shape[1] // 2, 2).astype(np.int16)
    return int((blocks.max(axis=(1, 3)) - blocks.min(axis=(1, 3))).max()) <= _SAME


def are_near(first: Pixels, second: Pixels) -> npt.NDArray[np.bool_]:
    """For each pair of thumbnails, uint8 `[P, T, T]` each, whether one is the other or a cut of it; bool `[P]`."""
    found: npt.NDArray[np.bool_] = (_correlation(first, second) >= ALIKE) & _agree(first, second)
    for whole, part in ((first, second), (second, first)):
        left = np.flatnonzero(~found)
        perhaps = left[_holds(_halved(whole[left]), _halved(part[left]), _PERHAPS, whole_story=False)]
        found[perhaps] = _holds(whole[perhaps], part[perhaps], ALIKE_CUT)
    return found


def _holds(
    whole: npt.NDArray[Any], part: npt.NDArray[Any], least: float, *, whole_story: bool = True
) -> npt.NDArray[np.bool_]:
    """Which of the pairs have a window with at least this correlation, at any of the sides, that also agrees otherwise."""
    found = np.zeros(len(whole), bool)
    for share in CUTS:
        left = np.flatnonzero(~found)
        for start in range(0, len(left), _PAIRS):
            places = left[start : start + _PAIRS]
            alike, window, small = _best_window(whole[places], part[places], round(share * whole.shape[1]))
            good = alike >= least
            if whole_story and good.any():
                good[good] = _agree(window[good], small[good])
            found[places] = good
    return found


def _halved(thumbs: Pixels) -> Floats:
    """Each 2 x 2 samples as their mean."""
    count, height, width = thumbs.shape
    small: Floats = thumbs.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4), dtype=np.float32)
    return small


def _best_window(
    whole: npt.NDArray[Any], part: npt.NDArray[Any], side: int
) -> tuple[Floats, npt.NDArray[Any], npt.NDArray[Any]]:
    """The correlation of each `part`, made smaller, with that window of its `whole` which is most like it; and both."""
    shrink = _shrink(part.shape[1], side)
    small = shrink @ part.astype(np.float32) @ shrink.T
    windows = np.lib.stride_tricks.sliding_window_view(whole.astype(np.float32), (side, side), axis=(1, 2))
    windows = windows.reshape(len(whole), -1, side * side)
    variances = np.einsum("ijk,ijk->ij", windows, windows) - windows.sum(axis=2) ** 2 / side**2
    alike = (windows @ _standard(small).reshape(len(part), -1, 1))[..., 0] / np.sqrt(np.maximum(variances, 1.0))
    best = alike.argmax(axis=1)
    rows = np.arange(len(best))
    return alike[rows, best], windows[rows, best].reshape(-1, side, side), small


def _correlation(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Floats:
    found: Floats = np.einsum("ijk,ijk->i", _standard(first), _standard(second))
    return found


def _agree(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether they agree also in what is fine in them, which two evening skies do not, and in how light and how flat they are."""
    fine = _correlation(_fine(first), _fine(second)) >= ALIKE_DETAIL
    light = np.abs(first.mean(axis=(1, 2)) - second.mean(axis=(1, 2))) <= ALIKE_LIGHT
    spread = np.log((first.std(axis=(1, 2)) + 1) / (second.std(axis=(1, 2)) + 1))
    agreed: npt.NDArray[np.bool_] = fine & light & (np.abs(spread) <= np.log(ALIKE_SPREAD))
    return agreed


def _fine(pictures: npt.NDArray[Any]) -> Floats:
    """Less the mean of 3 x 3 samples around each."""
    height, width = pictures.shape[1:]
    padded = np.pad(pictures.astype(np.float32), ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3))
    fine: Floats = np.asarray(pictures - np.asarray(around) / 9, np.float32)
    return fine


def _shrink(size: int, side: int) -> Floats:
    """What makes `side` samples of `size`, each the mean of what it covers."""
    edges = np.linspace(0, size, side + 1)
    places = np.arange(size)
    covered = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    weights: Floats = (np.maximum(covered, 0) * side / size).astype(np.float32)
    return weights


def _standard(pictures: npt.NDArray[Any]) -> Floats:
    """`[N, h, w]` with mean 0 and length 1 each, so that a product's sum is their correlation."""
    values: Floats = pictures.astype(np.float32)
    values = values - values.mean(axis=(1, 2), keepdims=True)
    values /= np.maximum(np.sqrt((values**2).sum(axis=(1, 2), keepdims=True)), 1e-6)
    return values


def _most_similar(vectors: npt.NDArray[Any], least: float) -> set[tuple[int, int]]:
    """Pairs `(i, j)`, i < j, whose vectors, centred, have at least this cosine; of many the `_MOST_PAIRS` most similar."""
    vectors, _ = principal_components(vectors, min(_DIMENSIONS, *vectors.shape))
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    found = sorted(_similar(vectors, least), reverse=True)[:_MOST_PAIRS]
    return {(first, second) for _, first, second in found}


def _similar(vectors: Floats, least: float) -> Iterator[tuple[float, int, int]]:
    """The cosine and the numbers of each pair of vectors of length 1; of each picture at most its `_MOST` nearest."""
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors[start:].T
        rows, columns = np.divmod(np.flatnonzero(block >= least), block.shape[1])
        rows, columns = rows[columns > rows], columns[columns > rows]
        values = block[rows, columns]
        order = np.lexsort((-values, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        bounds = [0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), len(rows)]
        for begin, end in pairwise(bounds):
            for place in range(begin, min(begin + _MOST, end)):
                yield float(values[place]), int(rows[place]) + start, int(columns[place]) + start


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place


def _join(parents: list[int], first: int, second: int) -> None:
    first, second = _root(parents, first), _root(parents, second)
    parents[max(first, second)] = min(first, second)


def representatives(pictures: Sequence[Picture], groups: Iterable[Sequence[int]]) -> dict[bytes, bytes]:
    """Of the digest of each picture in a group, the digest that stands for the group: for `split`."""
    return {pictures[place].digest: pictures[group[0]].digest for group in groups for place in group}
