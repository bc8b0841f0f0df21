from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import encode, shapes
from whatsit.errors import DataError
from whatsit.images.scan import SPLITS, Dataset, Picture, scan
from whatsit.images.split import limit, split
from whatsit.images.stores import MemoryStore


def dataset(counts: dict[str, int], part: str | None = None) -> Dataset:
    """Pictures whose contents are their names."""
    pictures = [
        Picture(f"{part}/{label}/{i}", label, part, f"{part}{label}{i}".encode())
        for label, count in counts.items()
        for i in range(count)
    ]
    return Dataset("data", MemoryStore({}), tuple(pictures), tuple(sorted(counts)))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), st.integers(3, 200), min_size=2), st.integers(0, 5))
def test_every_class_is_split_70_15_15(counts: dict[str, int], seed: int) -> None:
    done = split(dataset(counts), seed)
    assert len(done.pictures) == sum(counts.values())
    found = Counter((p.label, p.split) for p in done.pictures)
    for label, count in counts.items():
        for name, share in zip(SPLITS, (0.70, 0.15, 0.15), strict=True):
            assert found[label, name] >= 1
            assert abs(found[label, name] - share * count) <= 1.5


def test_of_many_pictures_no_more_than_5000_validate() -> None:
    done = split(dataset({"a": 30_000, "b": 10_000}))
    assert Counter(p.split for p in done.pictures) == {"train": 29_000, "validation": 5_000, "test": 6_000}


def test_same_seed_same_split_and_another_seed_another() -> None:
    data = dataset({"a": 40, "b": 40})
    assert split(data, 1).pictures == split(data, 1).pictures
    assert split(data, 1).pictures != split(data, 2).pictures


def test_exact_duplicates_stay_together() -> None:
    data = dataset({"a": 30, "b": 30})
    twins = tuple(Picture(p.name + "-copy", p.label, None, p.digest) for p in data.pictures)
    done = split(Dataset("data", data.store, (*data.pictures, *twins), data.classes), 0)
    where: dict[bytes, set[str | None]] = {}
    for picture in done.pictures:
        where.setdefault(picture.digest, set()).add(picture.split)
    assert len(done.pictures) == 120
    assert all(len(splits) == 1 for splits in where.values())


def test_given_test_set_is_kept_and_validation_is_carved_from_train() -> None:
    train, test = dataset({"a": 100, "b": 60}, "train"), dataset({"a": 10, "b": 10}, "test")
    pictures = (*train.pictures, *test.pictures)
    done = split(Dataset("data", train.store, pictures, train.classes), 0)
    counts = Counter((p.label, p.split) for p in done.pictures)
    assert (counts["a", "test"], counts["b", "test"]) == (10, 10)
    assert (counts["a", "validation"], counts["b", "validation"]) == (15, 9)


def test_given_validation_without_test_gets_a_test_set_from_train() -> None:
    train, held = dataset({"a": 40, "b": 40}, "train"), dataset({"a": 5, "b": 5}, "validation")
    pictures = (*train.pictures, *held.pictures)
    counts = Counter(p.split for p in split(Dataset("data", train.store, pictures, train.classes), 0).pictures)
    assert counts["validation"] == 10
    assert counts["test"] > 5


def test_training_picture_that_is_in_the_test_set_is_left_out_of_training() -> None:
    train, test = dataset({"a": 20, "b": 20}, "train"), dataset({"a": 5, "b": 5}, "test")
    copies = zip(train.pictures[:5] + train.pictures[20:25], test.pictures, strict=True)
    pictures = (*train.pictures, *(replace(picture, digest=original.digest) for original, picture in copies))
    done = split(Dataset("data", train.store, pictures, train.classes), 0)
    assert Counter(p.split for p in done.pictures)["test"] == 10
    assert len({p.digest for p in done.pictures}) == len(done.pictures) == 40
    assert "10 pictures stand again in a later split" in done.notes[0]


def test_picture_under_two_labels_is_left_out_and_told(make_folder: Callable[[dict[str, bytes]], Path]) -> None:
    pictures = [encode(shapes("rows", i)) for i in range(10)]
    files = {f"{'ab'[i % 2]}/{i}.png": data for i, data in enumerate(pictures)} | {"b/again.png": pictures[0]}
    done = split(scan(make_folder(files)), 0)
    assert len(done.pictures) == 9
    assert (
        "2 files hold the same picture under different labels and were left out, such as a/0.png (a), b/again.png (b)"
        in (done.notes[0])
    )


def test_given_test_set_that_is_lost_is_not_replaced() -> None:
    train, test = dataset({"a": 10, "b": 10}, "train"), dataset({"a": 1, "b": 1}, "test")
    same = tuple(replace(picture, digest=b"same") for picture in test.pictures)
    with pytest.raises(DataError, match="the test split that came with it has no usable picture left"):
        split(Dataset("data", train.store, (*train.pictures, *same), train.classes))


def test_class_with_too_few_pictures_is_an_error() -> None:
    with pytest.raises(DataError, match="the class 'b' has 2 different readable pictures; at least 3 are needed"):
        split(dataset({"a": 10, "b": 2}))


def test_class_without_training_pictures_is_an_error() -> None:
    train, test = dataset({"a": 10, "b": 10}, "train"), dataset({"c": 5}, "test")
    with pytest.raises(DataError, match="the class 'c' has 0 different readable pictures"):
        split(Dataset("data", train.store, (*train.pictures, *test.pictures), ("a", "b", "c")))


def test_limit_takes_at_most_n_of_each_class() -> None:
    assert Counter(p.label for p in limit(dataset({"a": 50, "b": 4}), 10).pictures) == {"a": 10, "b": 4}


def test_limit_is_never_passed() -> None:
    parts = [dataset({"a": n, "b": n}, part) for n, part in ((70, "train"), (15, "validation"), (15, "test"))]
    data = Dataset("data", parts[0].store, tuple(p for part in parts for p in part.pictures), ("a", "b"))
    for count in (3, 4, 10, 99):
        found = Counter(p.label for p in limit(data, count).pictures)
        assert max(found.values()) <= count
        assert {p.split for p in limit(data, count).pictures} == set(SPLITS)


def test_limit_keeps_the_proportions_of_given_splits() -> None:
    train, test = dataset({"a": 80, "b": 80}, "train"), dataset({"a": 20, "b": 20}, "test")
    data = Dataset("data", train.store, (*train.pictures, *test.pictures), ("a", "b"))
    counts = Counter((p.label, p.split) for p in limit(data, 10).pictures)
    assert counts == {(label, part): n for label in "ab" for part, n in (("train", 8), ("test", 2))}


def test_near_duplicates_stay_together_also_under_several_labels() -> None:
    data = dataset({"a": 60, "b": 60})
    groups = [data.pictures[start : start + 3] for start in range(0, 30, 3)]  # of one class
    groups += [(data.pictures[30 + number], data.pictures[60 + number]) for number in range(10)]  # of both
    alike = {picture.digest: group[0].digest for group in groups for picture in group}
    for seed in range(5):
        where = {picture.digest: picture.split for picture in split(data, seed, alike=alike).pictures}
        assert all(len({where[picture.digest] for picture in group}) == 1 for group in groups)
        counts = Counter(where.values())
        assert abs(counts["test"] - 18) <= 6
        assert abs(counts["validation"] - 18) <= 6


def test_large_group_leaves_every_split_a_picture() -> None:
    data = dataset({"a": 10, "b": 10})
    alike = {picture.digest: data.pictures[0].digest for picture in data.pictures[:8]}
    for seed in range(5):
        found = Counter((p.label, p.split) for p in split(data, seed, alike=alike).pictures)
        assert all(found[label, name] for label in "ab" for name in SPLITS)


def test_class_whose_pictures_are_all_nearly_those_of_another_is_in_every_split() -> None:
    data = dataset({"a": 8, "b": 4})
    alike = {data.pictures[8 + number].digest: data.pictures[number].digest for number in range(4)}
    for seed in range(12):
        found = Counter((p.label, p.split) for p in split(data, seed, alike=alike).pictures)
        assert all(found[label, name] for label in "ab" for name in SPLITS)
