from __future__ import annotations

from pathlib import Path

from whatsit.images.groups import connect
from whatsit.images.leakage import copies_in_test, describe_leakage, with_leakage
from whatsit.images.pictures import Picture
from whatsit.images.scan import Dataset, Leakage
from whatsit.images.stores import FolderStore


def sha(name: str) -> bytes:
    return name.encode().ljust(32)


def data(*pictures: Picture) -> Dataset:
    return Dataset("data", FolderStore(Path()), pictures, ("a",))


def picture(split: str, name: str, group: str | None = None) -> Picture:
    return Picture(f"{split}/a/{name}", "a", split, sha(name), group)


def looked(dataset: Dataset, *pairs: tuple[str, str]) -> Dataset:
    near = [(sha(one), sha(other)) for one, other in pairs]
    return with_leakage(dataset, near, connect(near), copies_in_test(dataset.pictures))


def test_near_duplicates_of_training_pictures_are_named() -> None:
    done = looked(
        data(picture("train", "1"), picture("test", "2"), picture("test", "3"), picture("test", "4")), ("1", "2")
    )
    assert done.leakage.near == {sha("2"): ("test/a/2", "train/a/1")}
    assert done.notes == (
        "1 of 3 test pictures (33.3 %) is a near-duplicate of training or validation pictures, such as test/a/2 and "
        "train/a/1; the accuracy is also given without them",
    )


def test_group_leaks_as_a_whole_and_the_example_was_compared_itself() -> None:
    done = looked(data(picture("test", "1"), picture("test", "2"), picture("train", "3")), ("1", "2"), ("2", "3"))
    assert done.leakage.near == {sha("2"): ("test/a/2", "train/a/3"), sha("1"): ("test/a/1", "train/a/3")}
    assert "such as test/a/2 and train/a/3" in done.notes[0]


def test_near_duplicates_on_one_side_do_not_leak() -> None:
    done = looked(data(*(picture(split, name) for split, name in zip(("train", "train", "test", "test"), "1234", strict=True))),
                  ("1", "2"), ("3", "4"))  # fmt: skip
    assert done.leakage == Leakage()
    assert done.notes == ()


def test_exact_copies_and_groups_are_counted_apart() -> None:
    training = (picture("train", "1"), picture("train", "2", "p"), picture("validation", "3"))
    tests = (picture("test", "3"), picture("test", "4", "p"), picture("test", "5", "q"))
    done = looked(data(*training, *tests), ("1", "3"))
    assert done.leakage.copies == {sha("3"): ("test/a/3", "validation/a/3")}
    assert done.leakage.grouped == {sha("4"): ("test/a/4", "train/a/2")}
    assert describe_leakage(done.leakage, done.of("test")) == (
        "2 of 3 test pictures (66.7 %) resemble training or validation pictures: 1 is an exact copy, such as test/a/3 and "
        "validation/a/3; 1 shares a group, such as test/a/4 and train/a/2"
    )


def test_validation_pictures_that_resemble_training_pictures_are_noted_but_do_not_leak() -> None:
    done = looked(data(picture("train", "1"), picture("validation", "2"), picture("test", "3")), ("1", "2"))
    assert done.leakage == Leakage()
    assert done.notes[0].startswith("1 of 1 validation pictures (100.0 %) is a near-duplicate of training pictures")
