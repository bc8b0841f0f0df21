from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import encode, shapes
from whatsit import files
from whatsit.engines import Images, Outputs
from whatsit.images.pictures import Keys
from whatsit.images.row_cache import MANY, RowCache
from whatsit.images.scan import Dataset, list_folders, take_fingerprints
from whatsit.images.stored_arrays import is_stored
from whatsit.images.walk import LeftOut
from whatsit.training import features
from whatsit.training.features import OpenNetwork, extract, feature_cache

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


class Files:
    """A store of files in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.read = files, files.__getitem__

    def pictures(self, left_out: LeftOut) -> Iterator[str]:
        return iter(self.files)


def dataset(files: dict[str, bytes] = FILES) -> Dataset:
    return take_fingerprints(list_folders("data", Files(files)))


@pytest.fixture
def cache(tmp_path: Path) -> RowCache:
    return feature_cache(b"graph", "float32", 2, tmp_path)


def run(data: Dataset, engine: FakeEngine, cache: RowCache | None, **options: object) -> features.Features:
    return extract(data, data.pictures, OpenNetwork(engine, (16, 16), 2), cache=cache, **options)


def test_views_are_the_picture_and_its_mirror_image() -> None:
    found = run(dataset(), FakeEngine(), None, views=("original", "flip"))
    assert np.array_equal(found.views["flip"], found.views["original"][:, ::-1])


def test_second_time_nothing_is_computed(cache: RowCache) -> None:
    first = run(dataset(), FakeEngine(), cache)
    engine = FakeEngine()
    again = run(dataset(), engine, cache)
    assert engine.seen == 0
    assert np.array_equal(first.views["original"], again.views["original"])


def test_new_pictures_only_are_computed(cache: RowCache) -> None:
    run(dataset(), FakeEngine(), cache)
    engine = FakeEngine()
    more = dataset({**FILES, "disc/new.png": encode(shapes("disc", 99))})
    assert np.array_equal(run(more, engine, cache).views["original"], run(more, FakeEngine(), None).views["original"])
    assert engine.seen == 1


def test_changed_picture_under_an_old_name_is_computed_again(cache: RowCache) -> None:
    run(dataset(), FakeEngine(), cache)
    changed = dataset({**FILES, "disc/0.png": encode(shapes("disc", 99))})
    assert np.array_equal(
        run(changed, FakeEngine(), cache).views["original"], run(changed, FakeEngine(), None).views["original"]
    )


def test_another_graph_or_precision_has_its_own_cache(tmp_path: Path) -> None:
    folders = {feature_cache(g, p, 2, tmp_path).folder for g in (b"a", b"b") for p in ("float32", "bfloat16")}
    assert len(folders) == 4


def test_damaged_cache_is_computed_again(cache: RowCache) -> None:
    first = run(dataset(), FakeEngine(), cache)
    for path in cache.folder.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:60])
    assert np.array_equal(run(dataset(), FakeEngine(), cache).views["original"], first.views["original"])


def test_unreadable_pictures_are_left_out_with_the_reason(cache: RowCache) -> None:
    data = dataset({**FILES, "disc/3.png": FILES["disc/3.png"][:-30], "rows/text.png": b"text"})
    for _ in range(2):  # computed, then from the cache
        found = run(data, FakeEngine(), cache)
        assert [name for name, _ in found.failed] == ["disc/3.png", "rows/text.png"]
        assert len(found.pictures) == len(found.views["original"]) == 19


def test_full_disk_costs_the_cache_and_nothing_else(cache: RowCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.secrets, "token_hex", full)  # a name is drawn for every file that is begun
    warnings: list[str] = []
    found = run(dataset(), FakeEngine(), cache, warn=warnings.append)
    assert len(found.views["original"]) == 20
    assert len(warnings) == 1
    assert "the disk is full" in warnings[0]


def keys(*digests: bytes) -> Keys:
    return np.array(digests, "S32")


def test_many_small_shards_become_few_and_keep_every_row(cache: RowCache) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(40, 2)).astype(np.float16)
    digests = [rng.bytes(32) for _ in values]
    for digest, row in zip(digests, values, strict=True):
        cache.add("original", keys(digest), row[None])
    assert len(list(cache.folder.rglob("*.npy"))) < 2 * MANY
    found = np.zeros_like(values)
    assert cache.fill("original", keys(*digests), found).all()
    assert np.array_equal(found, values)


def test_merging_keeps_a_picture_once_and_passes_over_damage(cache: RowCache) -> None:
    same = bytes(32)
    for number in range(MANY - 1):
        cache.add("original", keys(same, bytes([number + 1]) * 32), np.full((2, 2), number + 1, np.float16))
    next(cache.folder.rglob("*.values.npy")).write_bytes(b"damaged")
    cache.add("original", keys(b"x" * 32), np.ones((1, 2), np.float16))
    [digests] = cache.folder.rglob("*.digests.npy")
    assert len(np.load(digests)) == MANY  # `same`, x, and all but one of the others


def test_merged_while_another_reads_nothing_is_missed(cache: RowCache, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [bytes([number]) * 32 for number in range(MANY)]
    for digest in digests[:-1]:
        cache.add("original", keys(digest), np.ones((1, 2), np.float16))
    reader, load, read = RowCache(cache.folder, 2, np.float16), np.load, []

    def merging(path: Path, **options: object) -> object:
        read.append(path)
        if len(read) == 1:  # the list of files is made, and none is read
            cache.add("original", keys(*digests[-1:]), np.ones((1, 2), np.float16))
        return load(path, **options)

    monkeypatch.setattr(np, "load", merging)
    assert reader.missing("original", keys(*digests)) == 0


def test_progress_ends_at_the_total() -> None:
    steps: list[tuple[int, int]] = []
    run(dataset(), FakeEngine(), None, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (20, 20)


def test_same_picture_twice_is_kept_once(cache: RowCache) -> None:
    data = dataset()
    twice = replace(data, pictures=(*data.pictures, *data.pictures))
    assert len(run(twice, FakeEngine(), cache).views["original"]) == 40


def test_damaged_header_is_computed_again(cache: RowCache) -> None:
    first = run(dataset(), FakeEngine(), cache)
    for path in cache.folder.rglob("*.npy"):
        path.write_bytes(path.read_bytes().replace(b"}", b" ", 1))
    assert np.array_equal(run(dataset(), FakeEngine(), cache).views["original"], first.views["original"])


def test_features_in_a_file_are_those_in_memory(
    cache: RowCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = dataset({**FILES, "disc/3.png": FILES["disc/3.png"][:-30], "rows/text.png": b"text"})
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
    memory = run(data, FakeEngine(), None, views=("original", "flip"))
    for _ in range(2):  # computed, then from the cache
        stored = run(data, FakeEngine(), cache, views=("original", "flip"), in_memory=0)
        assert is_stored(stored.views["original"])
        assert not is_stored(memory.views["original"])
        assert all(np.array_equal(stored.views[view], memory.views[view]) for view in memory.views)
        assert (stored.pictures, stored.failed) == (memory.pictures, memory.failed)
