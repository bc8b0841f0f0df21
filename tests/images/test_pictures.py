from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatsit.images.pictures import SPLITS, Picture, Pictures, find_keys

DIGESTS = st.one_of(st.just(b""), st.binary(min_size=32, max_size=32).filter(any))
PICTURES = st.lists(
    st.builds(
        Picture,
        st.text(min_size=1, max_size=9),
        st.sampled_from(["cat", "dog", "นก"]),
        st.sampled_from([None, *SPLITS]),
        DIGESTS,
        st.sampled_from([None, "p1", "p2"]),
    ),
    max_size=30,
)


def some(*labels: str) -> Pictures:
    return Pictures.of(
        Picture(f"{n}.png", label, None, hashlib.sha256(bytes([n])).digest()) for n, label in enumerate(labels)
    )


@given(PICTURES)
def test_columns_hold_every_picture_as_it_was(pictures: list[Picture]) -> None:
    columns = Pictures.of(iter(pictures))
    assert [*columns] == pictures
    assert [columns[place] for place in range(-len(pictures), len(pictures))] == pictures * 2
    assert columns == pictures
    assert columns.counts() == {label: sum(p.label == label for p in pictures) for label in columns.counts()}


@given(PICTURES, st.data())
def test_selection_is_that_of_a_list(pictures: list[Picture], data: st.DataObject) -> None:
    rows = np.array(data.draw(st.lists(st.sampled_from(range(len(pictures))))) if pictures else [], np.int64)
    taken = Pictures.of(pictures).take(rows)
    assert [*taken] == [pictures[row] for row in rows]
    assert [*taken[1:5]] == [*taken][1:5]
    assert [*taken.names()] == [pictures[row].name for row in rows]
    assert [*taken.take(taken.where("test"))] == [p for p in taken if p.split == "test"]


def test_name_that_is_no_unicode_comes_back() -> None:
    name = b"caf\xe9.jpg".decode(errors="surrogateescape")
    assert Pictures.of([Picture(name, "a")])[0].name == name


def test_place_beyond_the_end_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        some("a")[1]


def test_new_splits_leave_the_old_ones() -> None:
    before = some("a", "b")
    after = before.with_splits("test")
    assert [p.split for p in before] == [None, None]
    assert [p.split for p in after] == ["test", "test"]


def test_rows_of_each_label_are_in_order() -> None:
    rows = some("b", "a", "b", "a").rows_by_label()
    assert {label: own.tolist() for label, own in rows.items()} == {"a": [1, 3], "b": [0, 2]}
    assert list(rows) == ["a", "b"]


def test_label_outside_the_classes_is_a_key_error() -> None:
    assert some("b", "a").numbers(("a", "b")).tolist() == [1, 0]
    with pytest.raises(KeyError):
        some("b", "a").numbers(("a",))


def test_last_of_equal_keys_is_found() -> None:
    keys = np.array([b"x" * 32, b"y" * 32, b"x" * 32], "S32")
    assert find_keys(np.array([b"x" * 32, b"z" * 32, b"a" * 32], "S32"), keys).tolist() == [2, -1, -1]
    assert find_keys(keys, keys[:0]).tolist() == [-1, -1, -1]


def test_digest_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="received 3"):
        Pictures.of([Picture("1.png", "a", None, b"abc")])
