"""Arrays with a row for each image: in memory, or in a file where they are large."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Array, Int64
from whatsit.cache import cache_folder
from whatsit.files import disk_error, reserve

IN_MEMORY = 1024**3  # bytes
PIECE = 4096  # rows
FEW = 64  # rows in any order: the system may map two megabytes for each


class Rows(Protocol):
    """An array, or what computes some of its rows when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of rows, and the shape of one."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> Array: ...


def new_array(
    shape: tuple[int, ...], dtype: npt.DTypeLike, *, folder: Path | None = None, in_memory: int | None = None
) -> Array:
    """Return an array of zeros, in a file where it has too many bytes for memory.

    The bound is `in_memory` bytes, by default `IN_MEMORY`. The file has no name and vanishes with the array; by default it lies
    in the cache.

    Raises `DiskError` where the file cannot be written.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= (IN_MEMORY if in_memory is None else in_memory):
        return np.zeros(shape, dtype)
    folder = folder or cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:  # the array holds on to its contents
            reserve(file, size)
            return np.memmap(file, dtype, "r+", shape=shape)
    except OSError as error:
        raise disk_error(folder, error) from None


def is_stored(array: Rows) -> bool:
    """Return whether an array is in a file."""
    return _map_of(array) is not None


def release(array: Rows) -> None:
    """Free the memory that a stored array has taken; its contents stay in the file."""
    mapped = _map_of(array)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def pieces(array: Array, rows: int = PIECE) -> Iterator[Array]:
    """Yield an array in pieces; of a stored one, only the last is in memory."""
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
        release(array)


def take_rows(array: Rows, rows: Int64) -> Array:
    """Return some rows, in any order, in memory."""
    if not is_stored(array):
        return array[rows]
    parts = [array[rows[:0]]]
    for start in range(0, len(rows), FEW):
        parts.append(array[rows[start : start + FEW]])
        release(array)
    return np.concatenate(parts)


def put_rows(array: Array, rows: Int64, values: Array) -> None:
    """Set some rows, in any order."""
    count = FEW if is_stored(array) else max(1, len(rows))
    for start in range(0, len(rows), count):
        array[rows[start : start + count]] = values[start : start + count]
        release(array)


def keep_rows(array: Array, rows: Int64) -> Array:
    """Return these rows, ascending, moved to the start of the same array."""
    if len(rows) < len(array):
        for start in range(0, len(rows), PIECE):
            some = rows[start : start + PIECE]
            array[start : start + len(some)] = array[some]
            release(array)
    return array[: len(rows)]


def _map_of(array: Rows) -> mmap.mmap | None:
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    return base
