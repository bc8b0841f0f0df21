"""What a network is trained on, batch by batch. Every batch is a function of the seed, its epoch and its place alone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from whatsit.training.augment import augment, mix, wants_augmentation
from whatsit.training.recipe import Recipe

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Value = TypeVar("Value")
IMBALANCED = 3  # the largest class against the smallest, from which balanced weights help more than they disturb


class Batches(Protocol):
    """An epoch's batches: inputs, and targets float32 `[B, K]` that sum to the weight of each picture."""

    steps: int

    def batch(self, epoch: int, step: int) -> tuple[Any, Floats]:
        """Batch `step` (from 0) of epoch `epoch` (from 1)."""
        ...


class _Ordered:
    """Rows in another order every epoch, in batches of even size: a small last one would upset the batch norms."""

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.steps = math.ceil(count / batch_size)
        self._count, self._seed = count, seed
        self._epoch, self._order = 0, np.arange(count)

    def rows(self, epoch: int, step: int) -> npt.NDArray[np.int64]:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, np.random.default_rng([self._seed, epoch]).permutation(self._count)
        return self._order[step * self._count // self.steps : (step + 1) * self._count // self.steps]


class FeatureBatches:
    """Batches of features; each view is an array `[N, F]`, N as in `labels`.

    An epoch has every view of every picture or, where they take `turns`, one, as `PictureBatches` has it.
    """

    def __init__(
        self,
        views: Sequence[npt.NDArray[np.float16]],
        labels: Labels,
        targets: Floats,
        batch_size: int,
        seed: int,
        *,
        turns: bool = False,
    ) -> None:
        self._views, self._labels, self._targets = list(views), labels, targets
        self._order = _Ordered(len(labels) * (1 if turns else len(views)), batch_size, seed)
        self._first = np.random.default_rng(seed).integers(len(views), size=len(labels)) if turns else None
        self.steps = self._order.steps

    def batch(self, epoch: int, step: int) -> tuple[Floats, Floats]:
        rows = self._order.rows(epoch, step)
        count = len(self._labels)
        if self._first is not None:
            rows = rows + count * ((self._first[rows] + epoch) % len(self._views))
        features = np.empty((len(rows), self._views[0].shape[1]), np.float32)
        for number, view in enumerate(self._views):
            mine = rows // count == number
            features[mine] = view[rows[mine] % count]
        return features, self._targets[self._labels[rows % count]]


class PictureBatches:
    """Batches of pictures uint8 `[N, H, W, 3]`, augmented as the recipe says.

    A mirrored picture is mirrored in every second epoch, which uses both sides evenly (Jordan 2024).
    """

    def __init__(
        self,
        pixels: npt.NDArray[np.uint8],
        labels: Labels,
        targets: Floats,
        batch_size: int,
        recipe: Recipe,
        then: Callable[[npt.NDArray[np.uint8]], Any] | None = None,
    ) -> None:
        """`then` is applied to each augmented batch, such as the frozen beginning of a network."""
        self._pixels, self._labels, self._targets, self._recipe, self._then = pixels, labels, targets, recipe, then
        self._order = _Ordered(len(labels), batch_size, recipe.seed)
        self._sides = np.random.default_rng(recipe.seed).random(len(labels)) < 0.5
        self.steps = self._order.steps

    def batch(self, epoch: int, step: int) -> tuple[Any, Floats]:
        rows = self._order.rows(epoch, step)
        pixels, targets = self._pixels[rows], self._targets[self._labels[rows]]
        recipe = self._recipe
        rng = np.random.default_rng([recipe.seed, epoch, step])
        if wants_augmentation(recipe):
            mirrored = self._sides[rows] ^ (epoch % 2 == 0) if recipe.flip else np.zeros(len(rows), bool)
            pixels = augment(pixels, recipe, rng, mirrored)
        if recipe.mixup or recipe.cutmix:
            pixels, targets = mix(pixels, targets, recipe, rng)
        return (self._then(pixels) if self._then else pixels), targets


def targets_for(labels: Labels, classes: int, recipe: Recipe) -> Floats:
    """Row k, `[K, K]`: the target of a picture of class k, smoothed (Szegedy et al. 2016) and weighted.

    Weights are `N / (K * N_k)`, so that every class counts alike, where the recipe says `auto` and the largest class
    is at least `IMBALANCED` times the smallest.
    """
    smooth = np.full((classes, classes), recipe.label_smoothing / classes) + np.eye(classes) * (
        1.0 - recipe.label_smoothing
    )
    counts = np.bincount(labels, minlength=classes)
    if recipe.class_weights == "auto" and counts.max() >= IMBALANCED * counts.min():
        smooth *= (len(labels) / (classes * np.maximum(counts, 1)))[:, None]
    return smooth.astype(np.float32)


def ahead(make: Callable[[int], Value], numbers: Iterable[int], depth: int = 3) -> Iterator[Value]:
    """`make` of each number, in order, on a thread that stays a few ahead of whoever takes them."""
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
