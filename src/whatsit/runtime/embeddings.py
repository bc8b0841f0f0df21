"""Embeddings of files: what the network sees in them, kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from whatsit.arrays import Float32
from whatsit.cache import cache_folder
from whatsit.errors import ImageError
from whatsit.files import DiskError
from whatsit.images.batches import decode_batch
from whatsit.images.row_cache import RowCache
from whatsit.images.stores import read_linked
from whatsit.runtime.predictor import Predictor

_KEY = "embedding"
_LOT = 2048  # files that are read and looked up at once
_BATCH = 8


class Embedder:
    """Computes the embeddings of files by a model's own network, and keeps them."""

    def __init__(self, predictor: Predictor) -> None:
        """Take the model. Raises `EngineError` for one without embeddings."""
        self._predictor, self._width = predictor, predictor.embedding_width

    def embed_files(self, names: Iterable[str]) -> Iterator[Lot]:
        """Yield the embeddings of files, in lots; from the cache where they are."""
        digest = hashlib.sha256(self._predictor.bundle.graph).hexdigest()[:32]
        cache = RowCache(cache_folder() / "features" / f"{_KEY}-{digest}", self._width, np.float16)
        names = iter(names)
        while lot := list(islice(names, _LOT)):
            yield self._embed_lot(lot, cache)

    def _embed_lot(self, names: list[str], cache: RowCache) -> Lot:
        found = Lot([], np.empty((0, self._width), np.float32))
        digests: list[bytes] = []
        for name in names:
            try:
                digests.append(hashlib.sha256(read_linked(Path(name))).digest())
                found.names.append(name)
            except ImageError as error:
                found.errors[name] = str(error)
        keys, rows = np.array(digests, "S32"), np.zeros((len(digests), self._width), np.float16)
        left = np.flatnonzero(~cache.fill("", keys, rows)) if digests else np.empty(0, int)
        good: list[int] = []
        for start in range(0, len(left), _BATCH):
            places = [int(place) for place in left[start : start + _BATCH]]
            batch = decode_batch(
                places,
                lambda place: read_linked(Path(found.names[place])),
                self._predictor.size,
                rule=self._predictor.rule,
            )
            found.errors.update((found.names[place], str(error)) for place, error in batch.failed)
            if batch.good:
                rows[batch.good] = self._predictor.embed_pixels(batch.pixels)
                good += batch.good
        if good:
            with contextlib.suppress(DiskError):  # they are computed again next time
                cache.add("", keys[good], rows[good])
        there = [place for place, name in enumerate(found.names) if name not in found.errors]
        return Lot([found.names[place] for place in there], rows[there].astype(np.float32), found.errors)


@dataclass
class Lot:
    """Some files and their embeddings."""

    names: list[str]
    rows: Float32  # [N, width], each of length 1
    errors: dict[str, str] = field(default_factory=dict)  # of files that cannot be read
