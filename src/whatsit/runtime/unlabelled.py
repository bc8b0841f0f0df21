"""A pool of unlabelled pictures, and the batch of them to label next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from whatsit.arrays import Array, Bools, Float32, Int64
from whatsit.errors import ImageError
from whatsit.images.audit import THUMB, measure
from whatsit.images.near import near_duplicates
from whatsit.images.pictures import Keys
from whatsit.images.stored_arrays import PIECE, new_array, release, take_rows
from whatsit.images.stores import read_linked
from whatsit.runtime.embeddings import Embedder
from whatsit.runtime.predictor import Predictor
from whatsit.runtime.varied import FACTOR, choose, doubts

MOST_UNKNOWN = 0.25  # of a batch: among pictures that the model calls unknown is also what nobody wants a label for
_WIDEST = 8 * FACTOR  # times as many candidates as pictures, where bursts take the places
_ALIKE = 0.9  # cosine of embeddings from which thumbnails are compared
_MOST_ALIKE = 500  # pictures beyond the candidates that are compared


@dataclass
class Pool:
    """Unlabelled pictures as the model sees them."""

    names: list[str]
    rows: Array  # embeddings, float16 [N or more, F]; in a file where they are many
    doubts: Float32  # [N], 0 to 1, see `varied.doubts`
    unknown: Bools  # [N]
    errors: dict[str, str] = field(default_factory=dict)  # of files that cannot be read
    skipped: int = 0  # pictures that have a label

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Picked:
    """A picture of the pool that is worth a label."""

    place: int
    alike: tuple[int, ...]  # near-duplicates of it, the least certain first


def read_pool(
    predictor: Predictor, names: Sequence[str], without: Keys | None, advance: Callable[[int, int], None]
) -> Pool:
    """Look at all pictures but those of these keys.

    Memory grows by the embeddings alone, 2.5 kB a picture; beyond a gigabyte they lie in a file.
    """
    embedder, count = Embedder(predictor, answers=True), 0
    pool = Pool(
        [], new_array((len(names), predictor.embedding_width), np.float16), np.empty(0, np.float32), np.empty(0, bool)
    )
    doubtful, unknown = [np.empty(0, np.float32)], [np.empty(0, bool)]
    rule = predictor.bundle.unknown
    for lot in embedder.embed_files(names, without):
        pool.names += lot.names
        pool.rows[len(pool) - len(lot.names) : len(pool)] = lot.rows
        release(pool.rows)
        pool.errors |= lot.errors
        pool.skipped += lot.skipped
        if lot.names:
            doubtful.append(doubts(lot.answers[:, :-1]))
            unknown.append(np.array([rule is not None and rule.refuses(float(score)) for score in lot.answers[:, -1]]))
        count += len(lot.names) + len(lot.errors) + lot.skipped
        advance(count, len(names))
    pool.doubts, pool.unknown = np.concatenate(doubtful), np.concatenate(unknown)
    return pool


def pick(pool: Pool, count: int, seed: int = 0) -> list[Picked]:
    """Return the batch to label.

    First comes what the model is unsure of, then what it calls unknown, which gets its share of the pool, at most a quarter. Of
    near-duplicates there is one in the batch.
    """
    order = np.argsort(-pool.doubts, kind="stable")
    parts = [order[~pool.unknown[order]], order[pool.unknown[order]]]
    strange = min(len(parts[1]), round(count * min(len(parts[1]) / max(len(order), 1), MOST_UNKNOWN)))
    counts = [min(count - strange, len(parts[0])), 0]
    counts[1] = min(count - counts[0], len(parts[1]))
    groups = _Groups(pool)
    factor = FACTOR
    while True:
        candidates = np.concatenate([part[: factor * n] for part, n in zip(parts, counts, strict=True)])
        firsts = groups.firsts(candidates)
        is_all = all(factor * n >= len(part) for part, n in zip(parts, counts, strict=True) if n)
        if len(firsts) >= FACTOR * count // 2 or is_all or factor >= _WIDEST:
            break
        factor *= 2
    chosen: list[int] = []
    for is_unknown, wanted in zip((False, True), counts, strict=True):
        own = firsts[pool.unknown[firsts] == is_unknown]
        if wanted and len(own):
            rows = take_rows(pool.rows, own)
            chosen += own[choose(rows, pool.doubts[own], wanted, seed)].tolist()
    alike = groups.alike(chosen)
    return [Picked(place, tuple(sorted(alike[place], key=lambda one: -pool.doubts[one]))) for place in chosen]


class _Groups:
    """The near-duplicates of some pictures of a pool, which are measured when needed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._measured: dict[int, tuple[Array, int]] = {}  # thumbnail and shorter side of each

    def firsts(self, places: Int64) -> Int64:
        """Return the first picture of each group, in order."""
        later = {place for group in self._groups(places) for place in group[1:]}
        return np.array([place for place in places.tolist() if place not in later], np.int64)

    def alike(self, chosen: list[int]) -> dict[int, list[int]]:
        """Return the near-duplicates of each chosen picture in the whole pool."""
        near = self._near(chosen)
        found: dict[int, list[int]] = {place: [] for place in chosen}
        others = [place for place in dict.fromkeys([*self._measured, *near]) if place not in found]
        for group in self._groups(np.array([*chosen, *others], np.int64)):
            if group[0] in found:
                found[group[0]] = [place for place in group[1:] if place not in found]
        return found

    def _groups(self, places: Int64) -> list[list[int]]:
        """Return the groups of two or more, each in the order of `places`."""
        if len(places) < 2:
            return []
        self._measure([place for place in places.tolist() if place not in self._measured])
        thumbs = np.stack([self._measured[place][0] for place in places.tolist()])
        sides = [self._measured[place][1] for place in places.tolist()]
        features = take_rows(self._pool.rows, places)
        return [places[group].tolist() for group in near_duplicates(thumbs, features, sides)]

    def _near(self, chosen: list[int]) -> list[int]:
        """Return pictures whose embedding is near that of a chosen one, nearest first."""
        pool = self._pool
        if not chosen:
            return []
        wanted = take_rows(pool.rows, np.array(chosen)).astype(np.float32)
        best = np.empty(len(pool), np.float32)
        for start in range(0, len(pool), PIECE):
            some = pool.rows[start : min(start + PIECE, len(pool))].astype(np.float32)
            best[start : start + len(some)] = (some @ wanted.T).max(axis=1)
            release(pool.rows)
        best[[*self._measured]] = 0.0
        order = np.argsort(-best, kind="stable")[:_MOST_ALIKE]
        return [int(place) for place in order if best[place] >= _ALIKE]

    def _measure(self, places: list[int]) -> None:
        def measured(place: int) -> tuple[Array, int]:
            try:
                found, thumb = measure(read_linked(Path(self._pool.names[place])))
            except ImageError:  # it is gone since; too small to be like another
                return np.zeros((THUMB, THUMB), np.uint8), 0
            return thumb, min(found.height, found.width)

        with ThreadPoolExecutor(2, thread_name_prefix="measure") as workers:
            self._measured |= dict(zip(places, workers.map(measured, places), strict=True))
