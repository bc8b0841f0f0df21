"""Batches of images, decoded ahead on threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

from whatsit.errors import ImageError, WhatsitError
from whatsit.images.decode import MAX_PIXELS, RESIZE_RULE, Pixels, Source, as_image_error, decode

TINY = 64 * 64  # pixels

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Batch(Generic[Item]):
    """Images of one size, without those that could not be read."""

    lot: list[Item]
    errors: dict[int, ImageError]  # by place in the lot
    pixels: Pixels  # [len(good), height, width, 3]

    @property
    def good(self) -> list[Item]:
        """Return the items whose pixels are there, in order."""
        return [item for place, item in enumerate(self.lot) if place not in self.errors]

    @property
    def failed(self) -> list[tuple[Item, ImageError]]:
        """Return the other items with their errors, in order."""
        return [(self.lot[place], error) for place, error in self.errors.items()]

    def answers(self, values: Iterable[Value]) -> Iterator[tuple[Item, Value | ImageError]]:
        """Yield every item in order with its error, or the next of the good items' values."""
        source = iter(values)
        for place, item in enumerate(self.lot):
            yield item, self.errors[place] if place in self.errors else next(source)


def decode_batch(
    lot: list[Item],
    read: Callable[[Item], Source],
    size: tuple[int, int],
    max_pixels: int = MAX_PIXELS,
    rule: str = RESIZE_RULE,
) -> Batch[Item]:
    """Decode a few images at `(height, width)`, with the errors of those that fail."""
    pixels = np.empty((len(lot), *size, 3), np.uint8)
    errors: dict[int, ImageError] = {}
    for place, item in enumerate(lot):
        try:
            pixels[place - len(errors)] = decode(read(item), size, max_pixels=max_pixels, rule=rule)
        except Exception as error:  # one picture never costs more than itself
            if isinstance(error, WhatsitError) and not isinstance(error, ImageError):
                raise
            errors[place] = as_image_error(error)
    return Batch(lot, errors, pixels[: len(lot) - len(errors)])


def decode_batches(
    items: Iterable[Item],
    read: Callable[[Item], Source],
    size: tuple[int, int],
    *,
    batch_size: int = 16,
    workers: int | None = None,
    rule: str = RESIZE_RULE,
) -> Iterator[Batch[Item]]:
    """Decode images to `size` (height, width), in order, a few batches ahead.

    Tiny images are decoded by one thread by default, larger ones by two: the codec of a tiny one is done before another
    thread could have taken over.

    `read` returns a source for `decode`, or raises `ImageError`; `rule` is one of `decode.RULES`.
    At most `3 * workers` batches are in memory.
    """

    def work(lot: list[Item]) -> Batch[Item]:
        return decode_batch(lot, read, size, rule=rule)

    workers = workers or (1 if size[0] * size[1] <= TINY else 2)
    source = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    ahead: deque[Future[Batch[Item]]] = deque()
    try:
        while True:
            while len(ahead) < 3 * workers and (lot := list(islice(source, batch_size))):
                ahead.append(pool.submit(work, lot))
            if not ahead:
                return
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
