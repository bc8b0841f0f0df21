"""The data that a network is trained on, batch by batch.

Every batch is a function of the seed, its epoch and its number alone.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Float32, Int64, Labels
from whatsit.images.batches import decode_batches
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset
from whatsit.images.stored_arrays import is_stored, new_array, release, take_rows
from whatsit.training.augment import augment, mix, wants_augmentation
from whatsit.training.recipe import Recipe

Value = TypeVar("Value")
EFFECTIVE_BETA = 0.999
BLOCK, POOL = 128 * 1024, 256 * 1024**2  # bytes of a file that are read together, and within which rows are shuffled
IN_MEMORY = 2 * 1024**3  # bytes; more are kept in a file, which the system holds in memory as far as there is any


class Batches(Protocol):
    """The batches of an epoch.

    Each is inputs, targets float32 `[B, K]` whose rows sum to 1, and weights float32 `[B]`.
    """

    steps: int

    def batch(self, epoch: int, step: int) -> tuple[Any, Float32, Float32]:
        """Return batch `step` (from 0) of epoch `epoch` (from 1)."""
        ...


@dataclass(frozen=True)
class Targets:
    """The target of each class, and the weight of its examples."""

    rows: Float32  # [K, K]; row k is the target of class k, with a sum of 1
    weights: Float32  # [K], with a mean of 1 over the training examples

    @classmethod
    def of(cls, labels: Labels, classes: int, recipe: Recipe) -> Targets:
        """Return those of a recipe for training labels int `[N]`, 0 to `classes - 1`.

        Targets are smoothed by the recipe's `label_smoothing` (Szegedy et al. 2016).
        """
        rows = np.eye(classes) * (1.0 - recipe.label_smoothing) + recipe.label_smoothing / classes
        return cls(rows.astype(np.float32), class_weights(np.bincount(labels, minlength=classes), recipe.class_weights))


def class_weights(counts: npt.NDArray[Any], way: str) -> Float32:
    """Return the weight of an example of each class, float32 `[K]`.

    The mean over the examples is 1.

    Args:
        counts: int `[K]`, the training examples of each class.
        way: `none`: all alike. `sqrt`, and `auto`, which means it: in inverse proportion to the square root of the examples of
            the class. `effective`: to their effective number (Cui et al. 2019, with beta 0.999). `balanced`: to their number, so
            that every class counts alike.
    """
    n = np.maximum(counts, 1).astype(np.float64)
    by_way = {
        "none": np.ones_like(n),
        "effective": (1.0 - EFFECTIVE_BETA) / (1.0 - EFFECTIVE_BETA**n),
        "sqrt": 1.0 / np.sqrt(n),
        "balanced": 1.0 / n,
    }
    by_way["auto"] = by_way["sqrt"]  # see docs/explanation/training-notes.md, "Unbalanced classes"
    weights = by_way[way]
    scaled: Float32 = (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)
    return scaled


def wants_live_pictures(recipe: Recipe) -> bool:
    """Return whether the recipe does more than mirror images.

    Then views computed once would not do.
    """
    return wants_augmentation(replace(recipe, flip=False)) or bool(recipe.mixup or recipe.cutmix)


class _Ordered:
    """Rows in another order every epoch, in batches of even size.

    A small last batch would upset the batch norms.
    """

    def __init__(self, count: int, batch_size: int, seed: int, row_bytes: int = 0) -> None:
        """Take the number of rows; `row_bytes` of each where they lie in a file."""
        self.steps = math.ceil(count / batch_size)
        self._count, self._seed, self._row_bytes = count, seed, row_bytes
        self._epoch, self._order = 0, np.arange(count)

    def rows(self, epoch: int, step: int) -> Int64:
        if epoch != self._epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = (
                _in_blocks(rng, self._count, self._row_bytes) if self._row_bytes else rng.permutation(self._count)
            )
            self._epoch = epoch
        return self._order[step * self._count // self.steps : (step + 1) * self._count // self.steps]


def _in_blocks(rng: np.random.Generator, count: int, row_bytes: int) -> Int64:
    """Return an order by which a file of rows is read in blocks.

    Blocks of neighbouring rows are shuffled, and then the rows of every few thousand blocks among each other.
    """
    block = max(1, BLOCK // row_bytes)
    pool = max(1, POOL // row_bytes)
    order = (rng.permutation(-(-count // block))[:, None] * block + np.arange(block)).ravel()
    order = order[order < count]
    for start in range(0, count, pool):
        rng.shuffle(order[start : start + pool])
    return order


class FeatureBatches:
    """Batches of features; each view is an array `[N, F]`, N as in `labels`.

    An epoch has every view of every picture or, where they take `turns`, one, as `PictureBatches` has it. Views in
    files are read in blocks.
    """

    def __init__(
        self,
        views: Sequence[npt.NDArray[np.float16]],
        labels: Labels,
        targets: Targets,
        batch_size: int,
        seed: int,
        *,
        turns: bool = False,
    ) -> None:
        self._views, self._labels, self._targets = list(views), labels, targets
        row_bytes = views[0].strides[0] if is_stored(views[0]) else 0
        self._order = _Ordered(len(labels) * (1 if turns else len(views)), batch_size, seed, row_bytes)
        self._first = np.random.default_rng(seed).integers(len(views), size=len(labels)) if turns else None
        self.steps = self._order.steps

    def batch(self, epoch: int, step: int) -> tuple[Float32, Float32, Float32]:
        """Return a batch; see `Batches`."""
        rows = self._order.rows(epoch, step)
        count = len(self._labels)
        if self._first is not None:
            rows = rows + count * ((self._first[rows] + epoch) % len(self._views))
        features = np.empty((len(rows), self._views[0].shape[1]), np.float32)
        for number, view in enumerate(self._views):
            mine = rows // count == number
            features[mine] = take_rows(view, rows[mine] % count)
        labels = self._labels[rows % count]
        return features, self._targets.rows[labels], self._targets.weights[labels]


class PictureBatches:
    """Batches of pictures uint8 `[N, H, W, 3]`, augmented as the recipe says.

    A mirrored picture is mirrored in every second epoch, which uses both sides evenly (Jordan 2024).
    """

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        labels: Labels,
        targets: Targets,
        batch_size: int,
        recipe: Recipe,
        then: Callable[[npt.NDArray[np.uint8]], Any] | None = None,
    ) -> None:
        """Take images; `then` is applied to each augmented batch.

        It may be the frozen beginning of a network.
        """
        self._pixels, self._labels, self._targets, self._recipe, self._then = pixels, labels, targets, recipe, then
        self._order = _Ordered(len(labels), batch_size, recipe.seed)
        self._sides = np.random.default_rng(recipe.seed).random(len(labels)) < 0.5
        self.steps = self._order.steps

    def batch(self, epoch: int, step: int) -> tuple[Any, Float32, Float32]:
        """Return a batch; see `Batches`."""
        rows = self._order.rows(epoch, step)
        pixels, labels = self._pixels[rows], self._labels[rows]
        targets, weights = self._targets.rows[labels], self._targets.weights[labels]
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, epoch, step])
        if wants_augmentation(recipe):
            mirrored = self._sides[rows] ^ (epoch % 2 == 0) if recipe.flip else np.zeros(len(rows), bool)
            pixels = augment(pixels, recipe, rng, mirrored)
        if recipe.mixup or recipe.cutmix:
            pixels, targets, weights = mix(pixels, targets, weights, recipe, rng)
        return (self._then(pixels) if self._then else pixels), targets, weights


def ahead(make: Callable[[int], Value], numbers: Iterable[int], depth: int = 3) -> Iterator[Value]:
    """Yield `make` of each number, in order, computed a few ahead on a thread."""
    waiting: deque[Future[Value]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        for number in numbers:
            waiting.append(pool.submit(make, number))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class DecodedPictures:
    """The images of a split that could be read, decoded to one size."""

    pictures: Pictures
    pixels: npt.NDArray[np.uint8]  # [len(pictures), height, width, 3]
    failed: list[tuple[str, str]]  # (name, reason) of the others


def decode_all(
    dataset: Dataset,
    pictures: Pictures,
    size: tuple[int, int],
    folder: Path,
    progress: Callable[[int, int], None],
) -> DecodedPictures:
    """Decode images to `size`, in memory or in a nameless file in `folder`.

    `size` is (height, width).

    Raises `DiskError` where the file cannot be written.
    """
    pixels = new_array((len(pictures), *size, 3), np.uint8, folder=folder, in_memory=IN_MEMORY)
    read = np.ones(len(pictures), bool)
    failed: list[tuple[str, str]] = []
    done = kept = 0
    for batch in decode_batches(pictures, dataset.read, size, batch_size=64):
        pixels[kept : kept + len(batch.pixels)] = batch.pixels
        read[[done + place for place in batch.errors]] = False
        failed += [(picture.name, str(error)) for picture, error in batch.failed]
        kept, done = kept + len(batch.pixels), done + len(batch.lot)
        release(pixels)
        progress(done, len(pictures))
    return DecodedPictures(pictures.take(read), pixels[:kept], failed)
