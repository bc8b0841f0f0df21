"""The input of every way of training: data, recipe, folder, time and reporter."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.arrays import Labels
from whatsit.engines import open_engine
from whatsit.errors import DataError
from whatsit.events import SILENT, Reporter, Work
from whatsit.images.batches import decode_batches
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset, typical_size
from whatsit.models.network import AnyNetwork, as_network
from whatsit.run_files import CHECKPOINTS
from whatsit.training.batches import DecodedPictures, decode_all
from whatsit.training.clock import Clock
from whatsit.training.history import History
from whatsit.training.recipe import Recipe
from whatsit.training.resolve import working_size


@dataclass(frozen=True)
class Context:
    """A training to be done."""

    dataset: Dataset  # split
    recipe: Recipe
    folder: Path  # of the run
    clock: Clock
    reporter: Reporter = SILENT
    brief: bool = False  # a trial, of which nothing but the validation loss matters
    complete: bool = False  # too little time for all of the images is an error, not a reason to take fewer
    keep: Callable[[Any], None] | None = None  # takes the best `Trained` so far, where more is tried
    stage_prefix: str = ""  # of the names of its stages in the history
    size: int = 0  # side at which the network works; see `prepared`
    upscale: int = 1  # the input is smaller by this factor, and enlarged inside the graph
    history: History = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.history is None:
            object.__setattr__(self, "history", History(self.folder, self.reporter, self.clock.started))

    def prepared(self, recipe: Recipe, **more: Any) -> Context:
        """Return the context of a training by that recipe, its size chosen by the images."""
        size, upscale = working_size(recipe, self.side)
        recipe = replace(recipe, size=size)
        return replace(self, recipe=recipe, size=size, upscale=upscale, **more)

    @functools.cached_property
    def side(self) -> int:
        """The longer side of a typical image, in pixels."""
        return max(typical_size(self.dataset))

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images that the network takes."""
        return self.size // self.upscale, self.size // self.upscale

    @property
    def test_views(self) -> tuple[str, ...]:
        """The views of an image that the shipped model looks at."""
        return self.recipe.test_views(self.input_size[0])

    def checkpoint(self, name: str) -> Path:
        """Return the path of a file by which an interrupted training continues."""
        return self.folder / CHECKPOINTS / name

    def labels(self, pictures: Pictures) -> Labels:
        """Return the number of the class of each image, int `[N]`."""
        return pictures.numbers(self.dataset.classes)

    def decode(self, split: str) -> DecodedPictures:
        """Return the images of a split at the size that the network takes."""
        progress = self.reporter.stage(f"Reading pictures ({split})", Work.READING, split)
        return decode_all(self.dataset, self.dataset.of(split), self.input_size, self.folder, progress)

    def reserve(self, features: AnyNetwork, *, held: int = 0, known: int = 0) -> None:
        """Keep time for what follows training with this network.

        Args:
            features: it, without its head.
            held: images that it answers, by all views, to be calibrated.
            known: images of which it computes the features, by one view, for the unknown score.
        """
        if self.clock.limited and not self.brief:
            views = len(self.test_views)
            each = seconds_per_picture(features, self.dataset, self.recipe.seed)
            self.clock.reserve(views * each, held + math.ceil(known / views))

    def without(self, unreadable: Iterable[tuple[str, str]]) -> Context:
        """Return the context without unreadable images.

        Raises `DataError` where too few are left.
        """
        return replace(self, dataset=require_every_class(self.dataset.without([*unreadable])))

    def require_all(self, unreadable: list[tuple[str, str]]) -> None:
        """Raise `DataError` where an image that the head knows cannot be read any more."""
        if unreadable:
            name, reason = unreadable[0]
            raise DataError(f"{self.dataset.source}: {name} could be read before and now cannot: {reason}; train anew")


def some_of(dataset: Dataset, split: str, count: int, seed: int) -> Pictures:
    """Return at most that many images of a split, drawn at random.

    By name the first of them are all of the first classes.
    """
    pictures = dataset.of(split)
    return pictures.take(np.random.default_rng(seed).permutation(len(pictures))[:count])


def seconds_per_picture(features: AnyNetwork, dataset: Dataset, seed: int) -> float:
    """Return the seconds to decode and classify an image as it ships, in float32.

    `features` is a network without its head; `seed` settles which validation images are tried.
    """
    network, some = as_network(features), some_of(dataset, "validation", 64, seed)
    engine, size = open_engine(network.features_graph(), ["embedding"]), network.size
    rounds = []
    for _ in range(2 + 64 // max(len(some), 1)):  # the first is to warm up; of few pictures more, as one may be slow
        started = time.perf_counter()
        batches = decode_batches(some, dataset.read, size, batch_size=8)
        count = sum(len(outputs[0]) for outputs in engine.stream(batch.pixels for batch in batches))
        rounds.append((time.perf_counter() - started) / max(count, 1))
    return min(rounds[1:])


def require_every_class(dataset: Dataset) -> Dataset:
    """Return the data set.

    Raises `DataError` where a class has no training image, or there is none to validate on.
    """
    have = dataset.of("train").counts()
    missing = [label for label in dataset.classes if label not in have]
    if missing or not dataset.of("validation"):
        what = f"training picture of the class '{missing[0]}'" if missing else "validation picture"
        if not dataset.unreadable:
            raise DataError(f"{dataset.source}: no {what} is left")
        name, reason = dataset.unreadable[-1]
        raise DataError(
            f"{dataset.source}: no {what} can be read; {len(dataset.unreadable)} cannot, such as {name}: {reason}"
        )
    return dataset
