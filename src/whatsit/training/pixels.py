"""All pictures of a split, decoded once to one size: in memory, or in a file where there are too many for it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whatsit.files import disk_error, reserve
from whatsit.images.batches import decode_batches
from whatsit.images.scan import Dataset, Picture

IN_MEMORY = 2 * 1024**3  # bytes; more are kept in a file, which the system holds in memory as far as there is any


@dataclass(frozen=True)
class DecodedPictures:
    """Those that could be read."""

    pictures: list[Picture]
    pixels: npt.NDArray[np.uint8]  # [len(pictures), height, width, 3]
    failed: list[tuple[str, str]]  # (name, reason) of the others


def decode_all(
    dataset: Dataset,
    pictures: Sequence[Picture],
    size: tuple[int, int],
    folder: Path,
    progress: Callable[[int, int], None],
) -> DecodedPictures:
    """Decode pictures to `size` (height, width). Where they go to a file it is in `folder`, and has no name.

    Raises `DiskError` where the file cannot be written.
    """
    shape = (len(pictures), *size, 3)
    pixels = np.empty(shape, np.uint8) if np.prod(shape, dtype=np.int64) <= IN_MEMORY else _on_disk(shape, folder)
    good: list[Picture] = []
    failed: list[tuple[str, str]] = []
    for batch in decode_batches(pictures, dataset.read, size, batch_size=64):
        pixels[len(good) : len(good) + len(batch.pixels)] = batch.pixels
        good += batch.good
        failed += [(picture.name, str(error)) for picture, error in batch.failed]
        progress(len(good) + len(failed), len(pictures))
    return DecodedPictures(good, pixels[: len(good)], failed)


def _on_disk(shape: tuple[int, ...], folder: Path) -> npt.NDArray[np.uint8]:
    """An array in a file that vanishes with the process."""
    size = int(np.prod(shape, dtype=np.int64))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # the array holds on to its contents
            reserve(file, size)
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise disk_error(folder, error) from None
