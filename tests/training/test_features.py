from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import encode, shapes
from whatsit import files
from whatsit.engines import Images, Outputs
from whatsit.images.kept import Kept
from whatsit.images.scan import Dataset, list_folders, take_fingerprints
from whatsit.images.stores import MemoryStore
from whatsit.training import features
from whatsit.training.features import extract, feature_cache

FILES = {f"{label}/{i}.png": encode(shapes(label, i)) for label in ("disc", "rows") for i in range(10)}


class FakeEngine:
    """Says of each picture: the mean of its left half, and of its right half. Counts what it is shown."""

    runtime, outputs = "fake", ("embedding",)

    def __init__(self) -> None:
        self.seen = 0

    def run(self, images: Images) -> Outputs:
        self.seen += len(images)
        half = images.shape[2] // 2
        return [np.stack([images[:, :, :half].mean(axis=(1, 2, 3)), images[:, :, half:].mean(axis=(1, 2, 3))], axis=1)]

    def stream(self, batches: Iterable[Images]) -> Iterator[Outputs]:
        return map(self.run, batches)


def dataset(files: dict[str, bytes] = FILES) -> Dataset:
    return take_fingerprints(list_folders("data", MemoryStore(files)))


@pytest.fixture
def cache(tmp_path: Path) -> Kept:
    return feature_cache(b"graph", "float32", 2, tmp_path)


def run(data: Dataset, engine: FakeEngine, cache: Kept | None, **options: object) -> features.Features:
    return extract(data, data.pictures, engine, (16, 16), width=2, cache=cache, **options)


def test_views_are_the_picture_and_its_mirror_image() -> None:
    found = run(dataset(), FakeEngine(), None, views=("original", "flip"))
    assert np.array_equal(found.views["flip"], found.views["original"][:, ::-1])


def test_second_time_nothing_is_computed(cache: Kept) -> None:
    first = run(dataset(), FakeEngine(), cache)
    engine = FakeEngine()
    again = run(dataset(), engine, cache)
    assert engine.seen == 0
    assert np.array_equal(first.views["original"], again.views["original"])


def test_new_pictures_only_are_computed(cache: Kept) -> None:
    run(dataset(), FakeEngine(), cache)
    engine = FakeEngine()
    more = dataset({**FILES, "disc/new.png": encode(shapes("disc", 99))})
    assert np.array_equal(run(more, engine, cache).views["original"], run(more, FakeEngine(), None).views["original"])
    assert engine.seen == 1


def test_changed_picture_under_an_old_name_is_computed_again(cache: Kept) -> None:
    run(dataset(), FakeEngine(), cache)
    changed = dataset({**FILES, "disc/0.png": encode(shapes("disc", 99))})
    assert np.array_equal(
        run(changed, FakeEngine(), cache).views["original"], run(changed, FakeEngine(), None).views["original"]
    )


def test_another_graph_or_precision_has_its_own_cache(tmp_path: Path) -> None:
    folders = {feature_cache(g, p, 2, tmp_path).folder for g in (b"a", b"b") for p in ("float32", "bfloat16")}
    assert len(folders) == 4


def test_damaged_cache_is_computed_again(cache: Kept) -> None:
    first = run(dataset(), FakeEngine(), cache)
    for path in cache.folder.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:60])
    assert np.array_equal(run(dataset(), FakeEngine(), cache).views["original"], first.views["original"])


def test_unreadable_pictures_are_left_out_with_the_reason(cache: Kept) -> None:
    data = dataset({**FILES, "disc/3.png": FILES["disc/3.png"][:-30], "rows/text.png": b"text"})
    for _ in range(2):  # computed, then from the cache
        found = run(data, FakeEngine(), cache)
        assert [name for name, _ in found.failed] == ["disc/3.png", "rows/text.png"]
        assert len(found.pictures) == len(found.views["original"]) == 19


def test_full_disk_costs_the_cache_and_nothing_else(cache: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.secrets, "token_hex", full)  # a name is drawn for every file that is begun
    warnings: list[str] = []
    found = run(dataset(), FakeEngine(), cache, warn=warnings.append)
    assert len(found.views["original"]) == 20
    assert len(warnings) == 1
    assert "the disk is full" in warnings[0]


def test_room_is_made_by_deleting_what_was_used_longest_ago(tmp_path: Path) -> None:
    import os

    caches = [feature_cache(name, "float32", 2, tmp_path) for name in (b"old", b"new", b"mine")]
    for age, cache in enumerate(reversed(caches)):
        cache.add("original", [bytes(32)], np.zeros((1, 2), np.float16))
        os.utime(cache.folder, (1e9 - age, 1e9 - age))
    size = sum(path.stat().st_size for path in caches[0].folder.rglob("*.npy"))
    caches[2].make_room(limit=2 * size)
    assert [cache.folder.exists() for cache in caches] == [False, True, True]


def test_progress_ends_at_the_total() -> None:
    steps: list[tuple[int, int]] = []
    run(dataset(), FakeEngine(), None, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (20, 20)


def test_same_picture_twice_is_kept_once(cache: Kept) -> None:
    data = dataset()
    twice = replace(data, pictures=(*data.pictures, *data.pictures))
    assert len(run(twice, FakeEngine(), cache).views["original"]) == 40


def test_damaged_header_is_computed_again(cache: Kept) -> None:
    first = run(dataset(), FakeEngine(), cache)
    for path in cache.folder.rglob("*.npy"):
        path.write_bytes(path.read_bytes().replace(b"}", b" ", 1))
    assert np.array_equal(run(dataset(), FakeEngine(), cache).views["original"], first.views["original"])
