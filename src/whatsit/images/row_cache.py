"""A cache of rows of numbers computed from images, by the contents of their files."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Bools
from whatsit.cache import changing, mark_used
from whatsit.files import replacing
from whatsit.images.pictures import Keys
from whatsit.images.stored_arrays import put_rows

SHARD = 4096  # images; the most that is lost when the computer stops
MANY = 8  # shards of less than half that size, which are merged then

_DIGESTS, _VALUES = ".digests.npy", ".values.npy"

_DAMAGED = (OSError, ValueError, EOFError, SyntaxError, TokenError)  # NumPy reads a header as Python


class RowCache:
    """Rows of numbers on disk, in parts, each a folder of shards.

    A shard is two files: digests (V32 `[n]`) and values (`[n, width]`).
    """

    def __init__(self, folder: Path, width: int, dtype: npt.DTypeLike) -> None:
        """Name the cache; nothing is written yet.

        The folder's name is a key of everything that the rows depend on besides the file.
        """
        self.folder = folder
        self.width = width
        self.dtype = np.dtype(dtype)

    def fill(self, part: str, digests: Keys, values: npt.NDArray[Any]) -> Bools:
        """Copy the cached rows into `values`, and return which they are, `[N]`.

        A shard is mapped into memory only while it is copied from; damaged ones are skipped.
        """
        order = np.argsort(digests, kind="stable")
        filled = np.zeros(len(digests), bool)
        for path, kept in self._shards(part):
            first, last = (np.searchsorted(digests, kept.view("S32"), side, order) for side in ("left", "right"))
            counts = last - first  # an image may be there several times
            places = np.repeat(np.arange(len(kept)), counts)
            if not len(places):
                continue
            targets = order[np.arange(len(places)) + np.repeat(first - np.cumsum(counts) + counts, counts)]
            try:
                shard = np.load(_values_of(path), mmap_mode="r", allow_pickle=False)
            except _DAMAGED:
                continue
            if shard.shape == (len(kept), self.width) and shard.dtype == self.dtype:
                put_rows(values, targets, shard[places])
                filled[targets] = True
                mark_used(path)
        return filled

    def missing(self, part: str, digests: Keys) -> int:
        """Return how many of these images have no row."""
        left = np.ones(len(digests), bool)
        for _, kept in self._shards(part):
            left[left] = ~np.isin(digests[left], kept.view("S32"))
        return int(left.sum())

    def add(self, part: str, digests: Keys, values: npt.NDArray[Any]) -> None:
        """Store the rows of these images. Raises `DiskError`."""
        self._write(part, digests, values)
        self._merge(part)

    def _write(self, part: str, digests: Keys, values: npt.NDArray[Any]) -> list[Path]:
        keys = digests.view("V32")
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:32]
        files = []
        for ending, array in ((_VALUES, values), (_DIGESTS, keys)):  # the digests last: with them the shard is complete
            path = self.folder / part / f"{name}{ending}"
            with replacing(path) as file:
                np.save(file, array, allow_pickle=False)
            files.append(path)
        return files

    def _shards(self, part: str) -> Iterator[tuple[Path, npt.NDArray[Any]]]:
        """Yield each shard's file of digests and its contents; damaged ones are skipped.

        Where another process merges shards meanwhile, the merged one follows.
        """
        seen: set[Path] = set()
        while new := [path for path in sorted((self.folder / part).glob(f"*{_DIGESTS}")) if path not in seen]:
            for path in new:
                seen.add(path)
                try:
                    kept = np.load(path, allow_pickle=False)
                except _DAMAGED:
                    continue
                if kept.dtype == np.dtype("V32") and kept.ndim == 1:
                    yield path, kept

    def _merge(self, part: str) -> None:
        """Merge small shards where there are many. Raises `DiskError`."""
        if len(_small_shards(self.folder / part)) < MANY:
            return
        with changing() as free:
            if not free:
                return  # another process merges now
            small = _small_shards(self.folder / part)
            lot: list[Path] = []
            count = 0
            for path, size in small:
                lot.append(path)
                count += size
                if count >= SHARD or path == small[-1][0]:
                    self._join(part, lot)
                    lot, count = [], 0

    def _join(self, part: str, lot: Sequence[Path]) -> None:
        rows: dict[bytes, npt.NDArray[Any]] = {}
        used = 0.0
        for path in lot:
            try:
                kept = np.load(path, allow_pickle=False)
                shard = np.load(_values_of(path), allow_pickle=False)
                used = max(used, path.stat().st_mtime)
            except _DAMAGED:
                continue
            if shard.shape == (len(kept), self.width) and shard.dtype == self.dtype:
                rows.update(zip((digest.tobytes() for digest in kept), shard, strict=True))
        new = self._write(part, np.array([*rows], "S32"), np.stack([*rows.values()])) if rows else []
        for path in new:
            os.utime(path, (used, used))
        for path in lot:
            for file in (path, _values_of(path)):
                if file not in new:
                    with contextlib.suppress(OSError):  # Windows keeps a file that is open
                        file.unlink(missing_ok=True)


def _values_of(digests: Path) -> Path:
    return digests.with_name(digests.name.removesuffix(_DIGESTS) + _VALUES)


def _small_shards(folder: Path) -> list[tuple[Path, int]]:
    """Return small shards, the least recently used first, and about how many rows."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.glob(f"*{_DIGESTS}"):
            info = path.stat()
            if (count := info.st_size // 32) < SHARD // 2:
                found.append((info.st_mtime, path, count))
    return [(path, count) for _, path, count in sorted(found)]
