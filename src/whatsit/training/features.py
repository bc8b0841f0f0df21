"""Frozen features: the outputs of a frozen network, computed once and cached.

They are kept by the contents of the picture, under a key made of everything they depend on: the graph with its
weights, its precision and the resize rule. So a second run, another split, or ten new pictures cost what is new.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Float16, Int64
from whatsit.cache import cache_folder
from whatsit.engines import Engine, Images, available, open_engine, training_precision
from whatsit.events import SILENT, Reporter, Work
from whatsit.files import DiskError
from whatsit.images.batches import Batch, decode_batches
from whatsit.images.decode import RESIZE_RULE
from whatsit.images.pictures import Keys, Pictures
from whatsit.images.row_cache import SHARD, RowCache
from whatsit.images.scan import Dataset
from whatsit.images.stored_arrays import IN_MEMORY, keep_rows, new_array, release
from whatsit.images.views import apply_view
from whatsit.images.workers import Handled, SharedWork, Workers
from whatsit.models.network import AnyNetwork, as_network

_HALF_MAX = 65504.0


@dataclass(frozen=True)
class Features:
    """The features of the pictures that could be read."""

    pictures: Pictures
    views: dict[str, Float16]  # view -> [len(pictures), F]; in files where they are large
    failed: list[tuple[str, str]]  # (name, reason) of the others


@dataclass(frozen=True)
class OpenNetwork:
    """A network that an engine runs."""

    engine: Engine  # its only output is the feature vector, `[N, width]`
    size: tuple[int, int]  # (height, width) of the images that it takes
    width: int
    graph: bytes = b""  # and how it is run, for others to run it too
    runtime: str = ""
    precision: str = ""


def feature_cache(graph: bytes, precision: str, width: int, folder: Path | None = None) -> RowCache:
    """Return the cache of a network's features, a part for each view."""
    key = hashlib.sha256(f"{precision} {RESIZE_RULE} 2 ".encode() + graph).hexdigest()[:32]
    return RowCache((folder or cache_folder() / "features") / key, width, np.float16)


def extract(
    dataset: Dataset,
    pictures: Pictures,
    network: OpenNetwork,
    *,
    views: Sequence[str] = ("original",),
    cache: RowCache | None = None,
    progress: Callable[[int, int], None] | None = None,
    warn: Callable[[str], None] | None = None,
    in_memory: int = IN_MEMORY,
) -> Features:
    """Return the features of images, from the cache where it has them.

    Args:
        dataset: which reads the images.
        pictures: the images.
        network: computes the features.
        views: see `images/views.py`; decoding is shared between them.
        cache: of the features, a part for each view.
        progress: takes (done, total).
        warn: takes a warning, once, when the disk is too full for the cache.
        in_memory: bytes, of all views; more are in files (see `images/stored_arrays.py`).
    """
    share = in_memory // len(views)
    values = {view: new_array((len(pictures), network.width), np.float16, in_memory=share) for view in views}
    keys = pictures.keys
    missing = _fill_from_cache(keys, values, cache) if cache else np.arange(len(pictures))
    failed: dict[int, str] = {}
    done = len(pictures) - len(missing)
    keeper = _Keeper(cache, keys, values, warn)

    def take(rows: list[int], outputs: Sequence[npt.NDArray[Any]]) -> None:
        nonlocal done
        for view, output in zip(views, outputs, strict=True):
            values[view][rows] = _half(output)
        keeper.add(rows)
        done += len(rows)
        if progress:
            progress(done + len(failed), len(pictures))

    if dataset.workers and network.graph and len(missing):
        _run_elsewhere(dataset.workers, pictures.take(missing), missing, network, views, failed, take)
    else:
        for rows, outputs in _run(dataset, pictures, missing, network, views, failed):
            take(rows, outputs)
    keeper.flush()
    good = np.delete(np.arange(len(pictures)), [*failed])
    return Features(
        pictures.take(good) if failed else pictures,
        {view: keep_rows(array, good) for view, array in values.items()},
        [(pictures[i].name, reason) for i, reason in sorted(failed.items())],
    )


def _half(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values clipped to half precision, where the largest would be infinite."""
    if values.min() >= -_HALF_MAX and values.max() <= _HALF_MAX:
        return values
    clipped: npt.NDArray[Any] = np.clip(values, -_HALF_MAX, _HALF_MAX)
    return clipped


class _Keeper:
    """Put finished features into the cache, a shard at a time, until the disk is full."""

    def __init__(
        self,
        cache: RowCache | None,
        keys: Keys,
        values: dict[str, Float16],
        warn: Callable[[str], None] | None,
    ) -> None:
        self._cache, self._keys, self._values, self._warn = cache, keys, values, warn
        self._rows: list[int] = []

    def add(self, rows: list[int]) -> None:
        self._rows += rows
        if len(self._rows) >= SHARD:
            self.flush()

    def flush(self) -> None:
        rows, self._rows = self._rows, []
        if self._cache and rows:
            try:
                for view, values in self._values.items():
                    self._cache.add(view, self._keys[rows], values[rows])
            except DiskError as error:
                self._cache = None
                if self._warn:
                    self._warn(f"features are not kept for the next run: {error}")
        for values in self._values.values():
            release(values)


def _fill_from_cache(keys: Keys, values: dict[str, Float16], cache: RowCache) -> Int64:
    """Copy what the cache has; return the rows of which a view is missing."""
    return np.flatnonzero(~np.all([cache.fill(view, keys, array) for view, array in values.items()], axis=0))


def _run(
    dataset: Dataset,
    pictures: Pictures,
    rows: Int64,
    network: OpenNetwork,
    views: Sequence[str],
    failed: dict[int, str],
) -> Iterator[tuple[list[int], list[npt.NDArray[Any]]]]:
    """Yield the rows of each batch with one output for each view."""
    waiting: deque[list[int]] = deque()

    def inputs(batches: Iterator[Batch[int]]) -> Iterator[Images]:
        for batch in batches:
            failed.update({row: str(error) for row, error in batch.failed})
            if len(batch.pixels):
                waiting.append(batch.good)
                for view in views:
                    yield apply_view(batch.pixels, view)

    numbers = map(int, rows)
    batches = decode_batches(numbers, lambda row: dataset.read(pictures[row]), network.size, batch_size=8)
    outputs = network.engine.stream(inputs(batches))
    for first in outputs:
        results = [first[0], *(next(outputs)[0] for _ in views[1:])]
        yield waiting.popleft(), results


def _run_elsewhere(
    workers: Workers,
    pictures: Pictures,
    rows: Int64,
    network: OpenNetwork,
    views: Sequence[str],
    failed: dict[int, str],
    take: Callable[[list[int], Sequence[npt.NDArray[Any]]], None],
) -> None:
    """Have workers run the network; `take` gets rows with one output for each view."""
    settings = {
        "size": list(network.size),
        "rule": RESIZE_RULE,
        "views": list(views),
        "runtime": network.runtime,
        "precision": network.precision,
    }

    def pass_on(places: Sequence[int], found: Sequence[Handled]) -> None:
        good = [one for one in found if not one.error]
        failed.update({int(rows[place]): one.error for place, one in zip(places, found, strict=True) if one.error})
        if good:
            data = np.frombuffer(b"".join(one.data for one in good), "<f2").reshape(len(good), len(views), -1)
            numbers = [int(rows[place]) for place, one in zip(places, found, strict=True) if not one.error]
            take(numbers, [data[:, view] for view in range(len(views))])

    work = SharedWork("embed", settings, network.graph, 2 * network.width * len(views))
    workers.handle(work, [*pictures.names()], pass_on)


class FrozenNetwork:
    """A frozen network as a fast function of images, with cached results."""

    def __init__(self, graph: bytes, width: int, size: tuple[int, int]) -> None:
        """Open a graph from images of this size to an `embedding` of this width.

        It runs in the fastest precision of this machine.
        """
        runtime = available()[0]
        precision = training_precision(runtime)
        self.width = width
        engine = open_engine(graph, ["embedding"], runtime=runtime, precision=precision)
        self._network = OpenNetwork(engine, size, width, graph, runtime, precision)
        self._cache = feature_cache(graph, f"{runtime} {precision}", width)

    @classmethod
    def of_model(cls, network: AnyNetwork) -> FrozenNetwork:
        """Open a network without its head."""
        network = as_network(network)
        return cls(network.features_graph(), network.width, network.size)

    def features(
        self, dataset: Dataset, split: str, views: tuple[str, ...], reporter: Reporter, in_memory: int = IN_MEMORY
    ) -> Features:
        """Return the features of a split, from the cache where it has them."""
        advance = reporter.stage(f"Computing features ({split})", Work.FEATURES, split)
        pictures, warn, cache = dataset.of(split), reporter.warn, self._cache
        return extract(
            dataset, pictures, self._network, views=views, cache=cache, progress=advance, warn=warn, in_memory=in_memory
        )

    def cached(self, dataset: Dataset, pictures: Pictures, reporter: Reporter) -> Features:
        """Return the features of these images, from the cache where it has them."""
        advance = reporter.stage("Computing features", Work.FEATURES)
        return extract(dataset, pictures, self._network, cache=self._cache, progress=advance, warn=reporter.warn)

    def uncached(
        self, dataset: Dataset, pictures: Pictures, views: tuple[str, ...], reporter: Reporter = SILENT
    ) -> Features:
        """Return the features of these images, without a cache."""
        advance = reporter.stage("Computing features (tuned network)", Work.FEATURES)
        return extract(dataset, pictures, self._network, views=views, progress=advance)

    def missing(self, pictures: Pictures, views: tuple[str, ...]) -> int:
        """Return the number of features that the cache has not, over all views."""
        return sum(self._cache.missing(view, pictures.keys) for view in views)

    def bytes(self, pictures: int, views: tuple[str, ...]) -> int:
        """Return the bytes that the features of that many images take."""
        return 2 * self.width * pictures * len(views)

    def seconds_per_image(self) -> float:
        """Return the seconds for an image that is decoded already."""
        height, width = self._network.size
        pixels = np.random.default_rng(0).integers(0, 256, (8, height, width, 3), dtype=np.uint8)
        rounds = []
        for _ in range(3):  # the first is to warm up
            started = time.perf_counter()
            count = sum(len(outputs[0]) for outputs in self._network.engine.stream(iter([pixels] * 8)))
            rounds.append((time.perf_counter() - started) / count)
        return min(rounds[1:])

    def run(self, pixels: Images) -> npt.NDArray[Any]:
        """Return the features float32 `[N, F]` of images uint8 `[N, H, W, 3]`."""
        features: npt.NDArray[Any] = self._network.engine.run(pixels)[0]
        return features
