"""Embeddings of files: what the network sees in them, kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from whatsit.arrays import Bools, Float16, Float32
from whatsit.cache import cache_folder
from whatsit.errors import ImageError
from whatsit.files import DiskError
from whatsit.images.batches import decode_batch
from whatsit.images.pictures import Keys
from whatsit.images.row_cache import RowCache
from whatsit.images.stores import read_linked
from whatsit.runtime.predictor import Predictor

_KEY = "embedding"
_LOT = 2048  # files that are read and looked up at once
_SMALL_LOT = 256  # after which others see how far it is
_BATCH = 8


class Embedder:
    """Computes the embeddings of files by a model's own network, and keeps them."""

    def __init__(self, predictor: Predictor) -> None:
        """Take the model. Raises `EngineError` for one without embeddings."""
        self._predictor, self._width = predictor, predictor.embedding_width
        digest = hashlib.sha256(predictor.bundle.graph).hexdigest()[:32]
        self._cache = RowCache(cache_folder() / "features" / f"{_KEY}-{digest}", self._width, np.float16)

    def embed_files(self, names: Iterable[str]) -> Iterator[Lot]:
        """Yield the embeddings of files, in lots; from the cache where they are."""
        names = iter(names)
        while lot := list(islice(names, _LOT)):
            yield self._embed_lot(lot)

    def embed_known(self, keys: Keys, read: Callable[[int], bytes]) -> Iterator[tuple[slice, Float16, Bools]]:
        """Yield the embeddings of files whose SHA-256 are known, in small lots.

        Args:
            keys: of their contents, `S32 [N]`.
            read: returns a file by its place; called only for those that are not in the cache. Raises `ImageError`.

        Yields the places, their rows `[n, width]`, and which of them could be read, `[n]`.
        """
        for start in range(0, len(keys), _SMALL_LOT):
            places = slice(start, min(start + _SMALL_LOT, len(keys)))
            rows, errors = self._rows(keys[places], lambda place, start=start: read(start + place))  # type: ignore[misc]
            there = np.ones(len(rows), bool)
            there[list(errors)] = False
            yield places, rows, there

    def _embed_lot(self, names: list[str]) -> Lot:
        found = Lot([], np.empty((0, self._width), np.float32))
        digests: list[bytes] = []
        for name in names:
            try:
                digests.append(hashlib.sha256(read_linked(Path(name))).digest())
                found.names.append(name)
            except ImageError as error:
                found.errors[name] = str(error)
        rows, errors = self._rows(np.array(digests, "S32"), lambda place: read_linked(Path(found.names[place])))
        found.errors.update((found.names[place], text) for place, text in errors.items())
        there = [place for place in range(len(digests)) if place not in errors]
        return Lot([found.names[place] for place in there], rows[there].astype(np.float32), found.errors)

    def _rows(self, keys: Keys, read: Callable[[int], bytes]) -> tuple[Float16, dict[int, str]]:
        """Return the rows of files, and the errors by place of those that cannot be read."""
        rows = np.zeros((len(keys), self._width), np.float16)
        left = np.flatnonzero(~self._cache.fill("", keys, rows)) if len(keys) else np.empty(0, int)
        good: list[int] = []
        errors: dict[int, str] = {}
        for start in range(0, len(left), _BATCH):
            places = [int(place) for place in left[start : start + _BATCH]]
            batch = decode_batch(places, read, self._predictor.size, rule=self._predictor.rule)
            errors.update((place, str(error)) for place, error in batch.failed)
            if batch.good:
                rows[batch.good] = self._predictor.embed_pixels(batch.pixels)
                good += batch.good
        if good:
            with contextlib.suppress(DiskError):  # they are computed again next time
                self._cache.add("", keys[good], rows[good])
        return rows, errors


@dataclass
class Lot:
    """Some files and their embeddings."""

    names: list[str]
    rows: Float32  # [N, width], each of length 1
    errors: dict[str, str] = field(default_factory=dict)  # of files that cannot be read
