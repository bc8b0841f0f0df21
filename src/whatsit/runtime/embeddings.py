"""Embeddings of files: what the network sees in them, kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from whatsit.arrays import Array, Bools, Float16, Float32
from whatsit.cache import cache_folder
from whatsit.engines import Images
from whatsit.errors import ImageError
from whatsit.files import DiskError
from whatsit.images.batches import decode_batches
from whatsit.images.pictures import Keys
from whatsit.images.row_cache import RowCache
from whatsit.images.stores import read_linked
from whatsit.runtime.predictor import Predictor

_KEY = "embedding"
_LOT = 2048  # files that are read and looked up at once
_SMALL_LOT = 256  # after which others see how far it is
_BATCH = 8
_HALF_MAX = 65504.0


@dataclass
class Lot:
    """Some files and their embeddings."""

    names: list[str]
    rows: Float32  # [N, width], each of length 1
    errors: dict[str, str] = field(default_factory=dict)  # of files that cannot be read
    keys: Keys = field(default_factory=lambda: np.empty(0, "S32"))  # SHA-256 of the files, [N]
    answers: Array = field(default_factory=lambda: np.empty((0, 0)))  # float16 [N, K + 1], see `Embedder`
    skipped: int = 0  # files that were not asked for


class Embedder:
    """Computes the embeddings of files by a model's own network, and keeps them."""

    def __init__(self, predictor: Predictor, *, answers: bool = False) -> None:
        """Take the model. Raises `EngineError` for one without embeddings.

        With `answers`, lots hold the probabilities and the out-of-distribution score (0 where the model has none) too, in half
        precision, computed in the same run of the network.
        """
        self._predictor, self._width = predictor, predictor.embedding_width
        scores = ["ood_score"] if predictor.bundle.unknown else []
        self._engine = predictor.open_engine("embedding", "probabilities", *scores) if answers else None
        digest = hashlib.sha256(predictor.bundle.graph).hexdigest()[:32]
        kind, width = (f"{_KEY}-answers", self._width + len(predictor.classes) + 1) if answers else (_KEY, self._width)
        self._cache = RowCache(cache_folder() / "features" / f"{kind}-{digest}", width, np.float16)

    def embed_files(self, names: Iterable[str], without: Keys | None = None) -> Iterator[Lot]:
        """Yield the embeddings of files, in lots; from the cache where they are.

        Files with the SHA-256 of one of `without` are skipped.
        """
        names = iter(names)
        while lot := list(islice(names, _LOT)):
            yield self._embed_lot(lot, np.empty(0, "S32") if without is None else without)

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
            yield places, rows[:, : self._width], there

    def _embed_lot(self, names: list[str], without: Keys) -> Lot:
        found = Lot([], np.empty((0, self._width), np.float32))
        digests: list[bytes] = []
        for name in names:
            try:
                digests.append(hashlib.sha256(read_linked(Path(name))).digest())
                found.names.append(name)
            except ImageError as error:
                found.errors[name] = str(error)
        keys = np.array(digests, "S32")
        if len(without) and len(keys):
            new = np.flatnonzero(~np.isin(keys, without))
            found.skipped = len(keys) - len(new)
            found.names, keys = [found.names[place] for place in new], keys[new]
        rows, errors = self._rows(keys, lambda place: read_linked(Path(found.names[place])))
        found.errors.update((found.names[place], text) for place, text in errors.items())
        there = [place for place in range(len(keys)) if place not in errors]
        names, values = [found.names[place] for place in there], rows[there]
        embeddings = values[:, : self._width].astype(np.float32)
        return Lot(names, embeddings, found.errors, keys[there], values[:, self._width :], found.skipped)

    def _rows(self, keys: Keys, read: Callable[[int], bytes]) -> tuple[Float16, dict[int, str]]:
        """Return the rows of files, and the errors by place of those that cannot be read."""
        rows = np.zeros((len(keys), self._cache.width), np.float16)
        left = np.flatnonzero(~self._cache.fill("", keys, rows)).tolist() if len(keys) else []
        good: list[int] = []
        errors: dict[int, str] = {}
        size, rule = self._predictor.size, self._predictor.rule
        for batch in decode_batches(left, read, size, batch_size=_BATCH, rule=rule):
            errors.update((place, str(error)) for place, error in batch.failed)
            if not batch.good:
                continue
            rows[batch.good] = self._run(batch.pixels)
            finite: list[bool] = [bool(np.isfinite(rows[place]).all()) for place in batch.good]
            good += [place for place, is_finite in zip(batch.good, finite, strict=True) if is_finite]
            bad = (place for place, is_finite in zip(batch.good, finite, strict=True) if not is_finite)
            errors.update((place, "the model fails on this picture") for place in bad)
        if good:
            with contextlib.suppress(DiskError):  # they are computed again next time
                self._cache.add("", keys[good], rows[good])
        return rows, errors

    def _run(self, pixels: Images) -> Array:
        if self._engine is None:
            return self._predictor.embed_pixels(pixels)
        embedding, probabilities, *scores = self._engine.run(pixels)
        lengths = np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
        score = scores[0][:, None] if scores else np.zeros((len(pixels), 1), np.float32)
        score = np.where(np.isnan(score), _HALF_MAX, score)  # which is refused, as one without a number is
        row = np.concatenate([embedding / lengths, probabilities, score], axis=1)
        return np.asarray(np.clip(row, -_HALF_MAX, _HALF_MAX))
