"""What was computed of pictures, kept on disk by the contents of their files: what is new is computed, the rest is read."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.files import replacing

CACHE_LIMIT = 6 * 1024**3  # bytes; the folders used longest ago are deleted first
SHARD = 4096  # pictures; what is lost at most when the computer stops

_DAMAGED = (OSError, ValueError, EOFError, SyntaxError, TokenError)  # NumPy reads a header as Python


class Kept:
    """Rows of numbers on disk, in parts. A shard of a part is two files: digests (V32 `[n]`) and values (`[n, width]`)."""

    def __init__(self, folder: Path, width: int, dtype: npt.DTypeLike) -> None:
        """Nothing is made on disk yet. The folder's name stands for everything that the rows depend on besides the file."""
        self.folder = folder
        self.width = width
        self.dtype = np.dtype(dtype)

    def fill(self, part: str, digests: Sequence[bytes], values: npt.NDArray[Any]) -> set[int]:
        """Copy what is kept into the rows of `values`, and say which rows those are.

        A shard is mapped into memory only while it is copied from; damaged ones are passed over.
        """
        rows: dict[bytes, list[int]] = {}
        for row, digest in enumerate(digests):
            rows.setdefault(digest, []).append(row)
        filled: set[int] = set()
        for path in sorted((self.folder / part).glob("*.digests.npy")):
            try:
                kept = np.load(path, allow_pickle=False)
                pairs = [(row, place) for place, digest in enumerate(kept) for row in rows.get(digest.tobytes(), ())]
                if not pairs:
                    continue
                shard = np.load(
                    path.with_name(path.name.replace("digests", "values")), mmap_mode="r", allow_pickle=False
                )
            except _DAMAGED:
                continue
            if shard.shape == (len(kept), self.width) and shard.dtype == self.dtype:
                targets, places = (list(column) for column in zip(*pairs, strict=True))
                values[targets] = shard[places]
                filled.update(targets)
        return filled

    def missing(self, part: str, digests: Sequence[bytes]) -> int:
        """How many of these pictures have no row kept."""
        wanted = set(digests)
        for path in (self.folder / part).glob("*.digests.npy"):
            try:
                wanted.difference_update(digest.tobytes() for digest in np.load(path, allow_pickle=False))
            except _DAMAGED:
                continue
        return sum(digest in wanted for digest in digests)

    def add(self, part: str, digests: Sequence[bytes], values: npt.NDArray[Any]) -> None:
        """Keep the rows of these pictures. Raises `DiskError`."""
        keys = np.frombuffer(b"".join(digests), "V32")
        name = hashlib.sha256(keys.tobytes()).hexdigest()[:32]
        for kind, array in (("values", values), ("digests", keys)):  # the digests last: with them the shard is complete
            with replacing(self.folder / part / f"{name}.{kind}.npy") as file:
                np.save(file, array, allow_pickle=False)

    def make_room(self, limit: int = CACHE_LIMIT) -> None:
        """Delete the folders used longest ago, never this one, until all together are below the limit."""
        try:
            os.utime(self.folder)
            folders = sorted(
                (f for f in self.folder.parent.iterdir() if f != self.folder), key=lambda f: f.stat().st_mtime
            )
            sizes = {f: sum(p.stat().st_size for p in f.rglob("*.npy")) for f in (*folders, self.folder)}
        except OSError:
            return  # no cache, not ours to tidy, or another process is just tidying it
        total = sum(sizes.values())
        for folder in folders:
            if total <= limit:
                return
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]
