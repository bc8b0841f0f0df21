from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.conftest import encode, shapes
from whatsit.errors import DataError
from whatsit.images.pictures import SPLITS, Picture
from whatsit.images.scan import Dataset, scan
from whatsit.images.split import limit, parse_fractions, split
from whatsit.images.stores import FolderStore

Maker = Callable[[dict[str, bytes]], Path]


def dataset(counts: dict[str, int], part: str | None = None) -> Dataset:
    """Pictures whose contents are their names."""
    pictures = [
        Picture(f"{part}/{label}/{i}", label, part, f"{part}{label}{i}".encode().ljust(32))
        for label, count in counts.items()
        for i in range(count)
    ]
    return Dataset("data", FolderStore(Path()), tuple(pictures), tuple(sorted(counts)))


def joined(*parts: Dataset) -> Dataset:
    """Data that come with splits."""
    pictures = tuple(picture for part in parts for picture in part.pictures)
    return Dataset("data", FolderStore(Path()), pictures, tuple(sorted({picture.label for picture in pictures})))


@settings(max_examples=60)
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


@given(st.integers(1, 98), st.integers(1, 98), st.integers(0, 3))
def test_shares_that_are_asked_for_are_those_of_every_class(validation: int, test: int, seed: int) -> None:
    assume(validation + test < 100)
    text = f"{100 - validation - test}/{validation}/{test}"
    found = Counter(
        (p.label, p.split) for p in split(dataset({"a": 200, "b": 50}), seed, parse_fractions(text)).pictures
    )
    for label, count in (("a", 200), ("b", 50)):
        for name, percent in zip(SPLITS, map(int, text.split("/")), strict=True):
            assert found[label, name] >= 1
            assert abs(found[label, name] - percent / 100 * count) <= 2


def test_as_many_validate_as_are_asked_for() -> None:
    done = split(dataset({"a": 30_000, "b": 10_000}), fractions=parse_fractions("70/15/15"))
    assert Counter(p.split for p in done.pictures) == {"train": 28_000, "validation": 6_000, "test": 6_000}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "80",
        "80/20",
        "80/20/0",
        "100/0/0",
        "80/10/11",
        "70/15/10/5",
        "-80/90/90",
        "080/10/10",
        "80/10/10 ",
        "0.8/0.1/0.1",
        "๘๐/๑๐/๑๐",
    ],
)
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_fractions(text)


def test_given_test_set_counts_more_than_the_shares_and_is_noted() -> None:
    data = joined(dataset({"a": 100, "b": 60}, "train"), dataset({"a": 10, "b": 10}, "test"))
    done = split(data, fractions=parse_fractions("50/25/25"))
    counts = Counter((p.label, p.split) for p in done.pictures)
    assert (counts["a", "test"], counts["a", "validation"], counts["b", "validation"]) == (10, 25, 15)
    assert "come with their own test, so the split that was asked for is only for the rest" in done.notes[0]
    assert split(data).notes == ()


def test_pictures_of_an_earlier_split_stay_under_other_shares() -> None:
    some, more = dataset({"a": 40, "b": 40}), dataset({"a": 100, "b": 100})
    before = split(some).pictures
    now = {p.digest: p.split for p in split(more, fractions=parse_fractions("40/30/30"), earlier=before).pictures}
    assert {p.digest: p.split for p in before}.items() <= now.items()
    assert Counter(now.values()) == {"train": 80, "validation": 60, "test": 60}


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
    copies = zip([*train.pictures[:5], *train.pictures[20:25]], test.pictures, strict=True)
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
    same = tuple(replace(picture, digest=b"same".ljust(32)) for picture in test.pictures)
    with pytest.raises(DataError, match="the test split that came with it has no usable picture left"):
        split(Dataset("data", train.store, (*train.pictures, *same), train.classes))


def test_class_with_too_few_pictures_is_an_error() -> None:
    with pytest.raises(DataError, match="the class 'b' has 2 different readable pictures; at least 3 are needed"):
        split(dataset({"a": 10, "b": 2}))


@pytest.mark.parametrize(
    ("parts", "places"),
    [(("test",), "test/"), (("validation",), "validation/"), (("validation", "test"), "validation/ and test/")],
)
def test_class_without_training_pictures_is_told_where_it_has_some(parts: tuple[str, ...], places: str) -> None:
    given = [dataset({"a": 10, "b": 10}, "train"), dataset({"a": 5, "b": 5}, "test")]
    data = joined(*given, *(dataset({"c": 5}, part) for part in parts))
    wanted = (
        f"the class 'c' has pictures only in {places}; put some of them into train/, or take the class out of {places}"
    )
    with pytest.raises(DataError, match=wanted):
        split(data)


def test_class_without_training_pictures_of_a_csv_is_told_by_the_names_of_splits(make_folder: Maker) -> None:
    rows = [
        f"{label}{i}.png,{label},{part}"
        for label, part in (("a", "train"), ("b", "train"), ("c", "test"))
        for i in "12"
    ]
    files = {f"{label}{i}.png": f"{label}{i}".encode() for label in "abc" for i in "12"}
    folder = make_folder({**files, "labels.csv": "\n".join(["path,label,split", *rows]).encode()})
    with pytest.raises(
        DataError, match="the class 'c' has pictures only in the test split; put some of them into the train"
    ):
        split(scan(folder / "labels.csv"))


def test_class_whose_pictures_cannot_be_read_is_told_with_the_reason(make_folder: Maker) -> None:
    files = {
        f"{label}/{i}": f"{label}{i}".encode() if label != "c" else b"" for label in "abc" for i in ("1.png", "2.png")
    }
    with pytest.raises(
        DataError,
        match=r"the 2 pictures of the class 'c' cannot be read, such as c/\d.png: the file is empty",
    ):
        split(scan(make_folder(files)))


def test_class_whose_pictures_all_lie_under_another_is_told_so(make_folder: Maker) -> None:
    files = {f"{label}/{i}.png": f"{label}{i}".encode() for label in "ab" for i in range(6)}
    again = {f"c/{i}.png": files[f"a/{i}.png"] for i in range(3)}
    reason = "because the same file lies under another class too, such as c/0.png and a/0.png"
    with pytest.raises(DataError, match=f"the 3 pictures of the class 'c' cannot be used {reason}"):
        split(scan(make_folder({**files, **again})))


def test_class_whose_training_pictures_stand_again_in_test_is_told_so() -> None:
    train, test = dataset({"a": 10, "b": 10, "c": 1}, "train"), dataset({"a": 5, "b": 5, "c": 1}, "test")
    copied = tuple(replace(p, digest=b"trainc0".ljust(32)) if p.label == "c" else p for p in test.pictures)
    wanted = "the only picture of the class 'c' in train/ cannot be used because a later split has the same file"
    with pytest.raises(DataError, match=wanted):
        split(joined(train, replace(test, pictures=copied)))


def test_class_without_pictures_for_several_reasons_is_told_each(make_folder: Maker) -> None:
    files = {f"{label}/{i}.png": f"{label}{i}".encode() for label in "ab" for i in range(6)}
    bad = {"c/0.png": b"", "c/1.png": files["a/1.png"]}
    with pytest.raises(
        DataError, match=r"cannot be used: 1 cannot be read, such as c/0\.png.*; 1 because the same file"
    ):
        split(scan(make_folder({**files, **bad})))


def test_class_that_is_not_tested_is_noted() -> None:
    done = split(joined(dataset({"a": 10, "b": 10, "c": 10}, "train"), dataset({"a": 5, "b": 5}, "test")))
    assert done.notes == ("the class 'c' has no test pictures, so it is not tested; put some into the test split",)


def test_classes_that_are_not_validated_are_noted() -> None:
    given = dataset({"a": 10, "b": 10}, "train"), dataset({"a": 5}, "validation"), dataset({"a": 5, "b": 5}, "test")
    assert "the class 'b' has no validation pictures" in split(joined(*given)).notes[0]


def test_pictures_of_a_group_stay_together_also_under_several_labels() -> None:
    data = dataset({"a": 60, "b": 60})
    grouped = tuple(replace(p, group=f"patient {i % 60 // 5}") for i, p in enumerate(data.pictures))
    for seed in range(5):
        where: dict[str | None, set[str | None]] = {}
        for picture in split(replace(data, pictures=grouped), seed).pictures:
            where.setdefault(picture.group, set()).add(picture.split)
        assert all(len(splits) == 1 for splits in where.values())
        assert set.union(*where.values()) == set(SPLITS)


def test_groups_and_near_duplicates_are_kept_together_as_one() -> None:
    data = dataset({"a": 40, "b": 40})
    pictures = tuple(replace(p, group=f"{p.label}{int(p.name.split('/')[-1]) // 4}") for p in data.pictures)
    chain = {pictures[3].digest: pictures[3].digest, pictures[4].digest: pictures[3].digest}  # of two groups
    done = split(replace(data, pictures=pictures), alike=chain)
    assert len({picture.split for picture in done.pictures if picture.group in ("a0", "a1")}) == 1


def test_groups_that_leave_a_class_out_by_the_first_order_are_dealt_in_another() -> None:
    data = dataset({"a": 40, "b": 40})
    shared = tuple(
        replace(p, group=f"g{int(p.name.split('/')[-1]) // (4 if p.label == 'a' else 10)}") for p in data.pictures
    )
    for seed in range(10):
        done = split(replace(data, pictures=shared), seed)
        assert {(p.label, p.split) for p in done.pictures} == {(label, name) for label in "ab" for name in SPLITS}
        assert len({(p.group, p.split) for p in done.pictures}) == 10


def test_class_of_one_group_is_refused_with_the_reason() -> None:
    data = dataset({"a": 10, "b": 10})
    pictures = tuple(replace(p, group="p7") if p.label == "b" else p for p in data.pictures)
    with pytest.raises(
        DataError, match=r"the 10 pictures of the class 'b' make up only 1 group, .*'p7'\); at least 3 are"
    ):
        split(replace(data, pictures=pictures))


def test_groups_that_must_be_torn_are_refused() -> None:
    data = dataset({"a": 3, "b": 3, "c": 3, "d": 3})
    members = {"a": "123", "b": "124", "c": "134", "d": "234"}  # three splits of four groups cannot be in every class
    pictures = tuple(replace(p, group=members[p.label][int(p.name[-1])]) for p in data.pictures)
    with pytest.raises(DataError, match=r"no way was found .* group '[1-4]' would be torn for the class '[a-d]'"):
        split(replace(data, pictures=pictures))


def test_class_with_too_few_training_pictures_is_told_where() -> None:
    given = dataset({"a": 10, "b": 1}, "train"), dataset({"a": 5, "b": 5}, "test")
    with pytest.raises(
        DataError, match="the class 'b' has 1 different readable picture in the train split; at least 2 are"
    ):
        split(joined(*given))


def test_class_of_near_duplicates_is_refused_with_the_reason() -> None:
    data = dataset({"a": 10, "b": 4})
    alike = {picture.digest: data.pictures[10].digest for picture in data.pictures[10:]}
    with pytest.raises(
        DataError, match=r"the 4 pictures of the class 'b' make up only 1 group, .* \(as near-duplicates"
    ):
        split(data, alike=alike)


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


def test_what_was_split_before_stays_where_it_was_whatever_its_label() -> None:
    before = split(dataset({"a": 40, "b": 40}), 1).pictures
    relabelled = tuple(replace(picture, label="b", split=None) for picture in before[:5])
    rest = tuple(replace(picture, split=None) for picture in before[5:])
    new = [
        Picture(f"{label}/n{i}", label, None, f"{label}n{i}".encode().ljust(32)) for label in "ac" for i in range(20)
    ]
    done = split(joined_of(*relabelled, *rest, *new), 2, earlier=before)
    splits = {picture.digest: picture.split for picture in before}
    assert all(picture.split == splits[picture.digest] for picture in done.pictures if picture.digest in splits)
    found = Counter((p.label, p.split) for p in done.pictures)
    assert [found["c", name] for name in SPLITS] == [14, 3, 3]
    assert [found["a", name] for name in SPLITS] == pytest.approx([0.7 * 55, 0.15 * 55, 0.15 * 55], abs=1.5)


def joined_of(*pictures: Picture) -> Dataset:
    """Data of these pictures."""
    return Dataset("data", FolderStore(Path()), pictures, tuple(sorted({picture.label for picture in pictures})))


def test_new_picture_goes_where_the_one_it_resembles_was() -> None:
    before = split(dataset({"a": 40, "b": 40})).pictures
    old = tuple(replace(picture, split=None) for picture in before)
    twins = tuple(Picture(f"twin/{p.name}", p.label, None, (p.digest[:31] + b"t")) for p in old)
    alike = {twin.digest: picture.digest for twin, picture in zip(twins, old, strict=True)}
    alike |= {picture.digest: picture.digest for picture in old}
    done = split(joined_of(*old, *twins), 5, alike=alike, earlier=before)
    splits = {picture.name: picture.split for picture in done.pictures}
    assert all(splits[f"twin/{picture.name}"] == picture.split == splits[picture.name] for picture in before)


def test_column_group_joins_what_an_earlier_split_parted_in_the_later_split() -> None:
    before = split(dataset({"a": 40, "b": 40})).pictures
    one = {name: next(p.name for p in before if p.split == name and p.label == "a") for name in SPLITS}
    now = tuple(replace(p, split=None, group="g" if p.name in one.values() else None) for p in before)
    splits = {picture.name: picture.split for picture in split(joined_of(*now), earlier=before).pictures}
    assert {splits[name] for name in one.values()} == {"test"}


def test_split_that_comes_with_the_data_counts_more_than_an_earlier_one() -> None:
    before = split(dataset({"a": 40, "b": 40})).pictures
    now = tuple(replace(p, split="test" if p.split == "train" else "train") for p in before)
    done = split(joined_of(*now), earlier=before).pictures
    splits, was = {p.name: p.split for p in done}, {p.name: p.split for p in before}
    assert all(splits[name] == "test" for name in was if was[name] == "train")
    assert all(splits[name] == "validation" for name in was if was[name] == "validation")


def test_limit_takes_the_pictures_that_were_taken_before() -> None:
    data = dataset({"a": 40, "b": 40})
    few = limit(data, 10, 1).pictures
    again = limit(data, 12, 2, earlier=few).pictures
    assert {*few.names()} <= {*again.names()}
    assert again.counts() == {"a": 12, "b": 12}
