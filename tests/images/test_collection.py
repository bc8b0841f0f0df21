from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import encode, shapes
from whatsit.errors import DataError, ImageError, UsageError
from whatsit.images import collection as module
from whatsit.images.collection import Collection, CollectionFullError
from whatsit.images.scan import scan


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """Two pictures each of two classes."""
    collection = Collection(tmp_path / "taught")
    for label in ("disc", "ส้ม"):
        for number in range(2):
            collection.add(label, encode(shapes("disc", number + len(label))))
    return collection


def test_it_is_data_that_can_be_scanned(collection: Collection) -> None:
    collection.let_wait(encode(shapes("rows", 9)), "disc", 0.4, True)
    collection.put_away("disc", collection.pictures("disc")[0].name)
    found = scan(collection.folder)
    assert found.classes == ("disc", "ส้ม")
    assert [picture.label for picture in found.pictures] == ["disc", "ส้ม", "ส้ม"]


def test_file_is_kept_as_it_came_and_once(collection: Collection) -> None:
    data = encode(shapes("rows", 5), "JPEG")
    paths = {collection.add("disc", data) for _ in range(2)}
    assert [path.read_bytes() for path in paths] == [data]
    assert paths.pop().suffix == ".jpg"


def test_what_is_no_picture_is_refused(collection: Collection) -> None:
    with pytest.raises(ImageError):
        collection.add("disc", b"words")
    assert len(collection.pictures("disc")) == 2


@pytest.mark.parametrize(
    "label", ["", " ", "a/b", "..", ".hidden", "a\\b", "x" * 300, "train", "Test", "a\nb\x00", "-rf"]
)
def test_label_that_cannot_be_a_folder_is_refused(collection: Collection, label: str) -> None:
    if label == "a\nb\x00":
        label = "a\x00b"
    with pytest.raises(DataError):
        collection.add_label(label)


@pytest.mark.parametrize("folder", ["", " "])
def test_empty_name_of_a_folder_is_refused(folder: str) -> None:
    with pytest.raises(UsageError, match="DIR is empty; give a folder"):
        Collection(folder)


@pytest.mark.parametrize("name", ["../../x.png", ".secret", "a/b.png"])
def test_names_lead_nowhere_else(collection: Collection, name: str) -> None:
    with pytest.raises(DataError):
        collection.put_away("disc", name)
    with pytest.raises(DataError):
        collection.settle(name, "disc")


def test_nothing_is_deleted_that_is_put_away(collection: Collection) -> None:
    files = {path.read_bytes() for path in collection.pictures("disc")}
    collection.put_away("disc")
    assert collection.labels() == ["ส้ม"]
    kept = (collection.folder / module.REMOVED).rglob("*.png")
    assert {path.read_bytes() for path in kept} == files


def test_waiting_pictures_get_their_label_or_are_forgotten(collection: Collection) -> None:
    for number, (probability, unknown) in enumerate([(0.5, False), (0.9, True), (0.3, False)]):
        collection.let_wait(encode(shapes("rows", number)), "disc", probability, unknown)
    waiting = collection.waiting()
    assert [one.probability for one in waiting] == [0.9, 0.3, 0.5]
    collection.settle(waiting[0].path.name, "rows")
    collection.settle(waiting[1].path.name, None)
    assert [one.probability for one in collection.waiting()] == [0.5]
    assert len(collection.pictures("rows")) == 1


def test_waiting_pictures_never_make_room_for_those_of_others(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    for number in range(2):
        collection.let_wait(encode(shapes("rows", number)), "disc", number / 10, False)
    with pytest.raises(CollectionFullError, match="2 pictures wait"):
        collection.let_wait(encode(shapes("rows", 2)), "disc", 0.2, False)
    assert [one.probability for one in collection.waiting()] == [0.0, 0.1]


def test_visitor_does_not_move_what_another_kept(collection: Collection) -> None:
    data = encode(shapes("rows", 7))
    assert collection.suggest("cat", data)
    assert collection.suggest("cat", data)
    assert not collection.suggest("dog", data)
    assert [path.read_bytes() for path in collection.pictures("cat")] == [data]
    assert "dog" not in collection.labels()
    [waiting] = collection.waiting()
    assert (waiting.answer, waiting.kept) == ("dog", "cat")
    assert not collection.suggest("cow", data)  # nor what another has said
    assert [one.answer for one in collection.waiting()] == ["dog"]
    collection.settle(waiting.path.name, "dog")  # but the owner does
    assert (len(collection.pictures("cat")), len(collection.pictures("dog")), collection.waiting()) == (0, 1, [])


def test_visitors_label_is_that_of_a_waiting_picture(collection: Collection) -> None:
    data = encode(shapes("rows", 7))
    collection.let_wait(data, "disc", 0.4, False)
    assert collection.suggest("cat", data)
    assert (len(collection.pictures("cat")), collection.waiting()) == (1, [])


def test_room_is_bounded_in_files_and_bytes_beside_what_was_there(tmp_path: Path) -> None:
    pictures = [encode(shapes("rows", number)) for number in range(5)]
    (tmp_path / "rows").mkdir()
    for number in range(20):
        (tmp_path / "rows" / f"IMG_{number}.png").write_bytes(pictures[0])
    few = Collection(tmp_path, most_files=3, most_bytes=10**9)
    assert few.suggest("cat", pictures[0])
    few.let_wait(pictures[1], "disc", 0.4, False)  # two files
    with pytest.raises(CollectionFullError, match="holds 3 files"):
        few.suggest("dog", pictures[2])
    with pytest.raises(CollectionFullError):
        few.let_wait(pictures[2], "disc", 0.4, False)
    assert few.labels() == ["cat", "rows"]
    assert few.suggest("cat", pictures[1])  # which was there, and now has its label
    assert few.suggest("cat", pictures[2])
    small = Collection(tmp_path, most_files=100, most_bytes=sum(map(len, pictures[:4])))
    assert small.suggest("cat", pictures[3])
    with pytest.raises(CollectionFullError):
        small.suggest("cat", pictures[4])


def test_room_that_the_owner_makes_is_seen(tmp_path: Path) -> None:
    collection = Collection(tmp_path, most_files=1, most_bytes=10**9)
    collection.suggest("cat", encode(shapes("rows", 0)))
    with pytest.raises(CollectionFullError):
        collection.suggest("cat", encode(shapes("rows", 1)))
    collection.pictures("cat")[0].unlink()
    assert collection.suggest("cat", encode(shapes("rows", 1)))


def test_visitors_bring_few_labels(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LABELS", 2)
    with pytest.raises(CollectionFullError, match="2 classes already"):
        collection.suggest("cat", encode(shapes("rows", 7)))
    assert collection.suggest("disc", encode(shapes("rows", 7)))


def test_last_word_about_a_picture_holds(collection: Collection) -> None:
    data = encode(shapes("rows", 7))
    collection.let_wait(data, "disc", 0.4, False)
    collection.add("cat", data, alone=True)
    collection.add("dog", data, alone=True)
    assert (len(collection.pictures("cat")), len(collection.pictures("dog")), collection.waiting()) == (0, 1, [])


def test_folder_that_was_there_before_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "what?").mkdir()
    (tmp_path / "what?" / "IMG.PNG").write_bytes(encode(shapes("disc", 1)))
    collection = Collection(tmp_path)
    assert [len(collection.pictures(label)) for label in collection.labels()] == [1]
    collection.put_away("what?", "IMG.PNG")
    assert collection.pictures("what?") == []


def test_name_written_in_two_ways_is_one_class(collection: Collection) -> None:
    assert collection.add_label("e\u0301") == collection.add_label("é")


def test_link_to_nothing_hides_no_other_picture(collection: Collection) -> None:
    (collection.folder / "disc" / "gone.jpg").symlink_to(collection.folder / "nowhere.jpg")
    assert len(collection.pictures("disc")) == 2
    assert collection.left_out().troubles == [("disc/gone.jpg", "the link leads to nothing, its target is missing")]
