from __future__ import annotations

import pytest

from whatsit.errors import DataError
from whatsit.images.layout import find_layout, split_of

CLASSES = ("cat", "dog", "owl")


def below(*folders: str, classes: tuple[str, ...] = CLASSES) -> list[str]:
    return [f"{folder}/{name}/{number}.png" for folder in folders for name in classes for number in range(2)]


def places(names: list[str]) -> set[tuple[str, str | None] | None]:
    layout = find_layout(names, "data")
    return {layout.place(name) for name in names}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Train", "TEST"),
        ("train/train", "test/test"),
        ("TrainImages", "TestImages"),
        ("data/train", "data/holdout"),
        ("archive/x/training-data", "archive/x/eval"),
        ("train/images", "test/images"),
        ("train/PlantVillage", "test/PlantVillage"),
        ("ชุดฝึก", "ชุดทดสอบ"),
        ("train_2024", "test_2024"),
    ],
)
def test_split_folders_by_name_and_structure(train: str, test: str) -> None:
    expected = {(name, part) for name in CLASSES for part in ("train", "test")}
    assert places(below(train, test)) == expected


def test_three_splits_of_any_spelling() -> None:
    assert {place[1] for place in places(below("Training", "dev", "Test")) if place} == {"train", "validation", "test"}
    assert {place[1] for place in places(below("train", "eval", "test")) if place} == {"train", "validation", "test"}


def test_a_split_may_lack_classes() -> None:
    found = places(below("my_train") + below("my_test", classes=("cat",)))
    assert found == {("cat", "train"), ("dog", "train"), ("owl", "train"), ("cat", "test")}


def test_unlabelled_pictures_beside_the_splits_are_outside() -> None:
    names = [*below("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred/1.png"]
    layout = find_layout(names, "data")
    assert layout.place(names[0]) == ("cat", "train")
    assert layout.place(names[-1]) is None
    assert find_layout([*below("train"), "test1/1.png"], "data").place("test1/1.png") is None


def test_splits_inside_the_classes() -> None:
    names = below("cat", "dog", classes=("train", "test"))
    assert places(names) == {(label, part) for label in ("cat", "dog") for part in ("train", "test")}


@pytest.mark.parametrize(
    "names",
    [
        below("a", "b"),
        below("fold1", "fold2"),
        below("cat", "dog", classes=("indoor", "outdoor")),
        below("train", "extra"),
        below("first", "second", "third")[:-2],
    ],
)
def test_doubtful_folders_are_refused_with_a_sentence(names: list[str]) -> None:
    with pytest.raises(DataError, match=r"hold the same subfolders .* call them train and test if they are splits"):
        find_layout(names, "data")


@pytest.mark.parametrize(
    "names",
    [
        below("cat", "dog", classes=("batch1", "batch2")),
        below("cat", "dog", classes=("images",)),
        [*below("cat", "dog", classes=("indoor", "outdoor")), "owl/1.png"],
        [*below("cat", "dog", classes=("indoor", "outdoor")), "cat/1.png"],
        below("cat", classes=("indoor", "outdoor")) + below("dog", classes=("park", "beach")),
        ["strain/1.png", "protest/1.png", "valley/1.png"],
        ["train/1.png", "test/1.png"],
    ],
)
def test_top_folders_are_the_classes(names: list[str]) -> None:
    assert places(names) == {(name.split("/")[0], None) for name in names}


def test_folder_that_holds_the_others_again_is_refused() -> None:
    with pytest.raises(DataError, match="the folder 'cells' holds cat, dog and owl again"):
        find_layout([*below(".")[:0], *(f"{c}/1.png" for c in CLASSES), *below("cells")], "data")
    with pytest.raises(DataError, match="the folder 'xray' holds test and train again"):
        find_layout(below("train", "test", "xray/train", "xray/test"), "data")


def test_stray_folder_beside_named_splits_is_refused() -> None:
    with pytest.raises(DataError, match="beside the folders seg_train and seg_test lies 'docs'"):
        find_layout([*below("seg_train", "seg_test"), "docs/figure.png"], "data")


@pytest.mark.parametrize(
    ("name", "split"),
    [("Train", "train"), ("my-training", "train"), ("VAL", "validation"), ("validset", "validation"), ("hold-out", "test"),
     ("test1", "test"), ("train_test", None), ("contest", None), ("valley", None), ("device", None)],
)  # fmt: skip
def test_split_of_a_name(name: str, split: str | None) -> None:
    assert split_of(name) == split
