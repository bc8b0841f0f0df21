from __future__ import annotations

import json
from pathlib import Path

import pytest

from whatsit.errors import DataError
from whatsit.images.edits import Edit, add_edits, apply_edits, edits_path, in_force, key_of, read_edits
from whatsit.images.pictures import Picture
from whatsit.images.scan import Dataset
from whatsit.images.stores import FolderStore


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """Four pictures, two of each class."""
    names = ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg")
    pictures = tuple(Picture(name, name.split("/")[0], None, name.encode().ljust(32)) for name in names)
    return Dataset(str(tmp_path / "pets"), FolderStore(Path()), pictures, ("cat", "dog"))


def edit(data: Dataset, place: int, action: str, label: str = "") -> Edit:
    return Edit(*key_of(data.pictures[place]), action, label)


def test_labels_are_corrected_and_pictures_left_out(data: Dataset) -> None:
    add_edits(data.source, [edit(data, 0, "label", "dog"), edit(data, 3, "exclude"), edit(data, 1, "confirm")])
    done = apply_edits(data, read_edits(data.source))
    assert [(p.name, p.label) for p in done.pictures] == [
        ("cat/1.jpg", "dog"),
        ("cat/2.jpg", "cat"),
        ("dog/1.jpg", "dog"),
    ]
    assert "labels corrected: 1; pictures left out: 1" in done.notes[0]


def test_last_decision_holds_until_it_is_taken_back(data: Dataset) -> None:
    edits = [edit(data, 0, "exclude"), edit(data, 0, "label", "dog")]
    assert [one.action for one in in_force(edits).values()] == ["label"]
    assert in_force([*edits, edit(data, 0, "undo")]) == {}


def test_file_that_was_replaced_is_another_picture(data: Dataset) -> None:
    old = Edit("cat/1.jpg", "cat", "00", "exclude")
    done = apply_edits(data, [old])
    assert len(done.pictures) == 4
    assert "changed or gone" in done.notes[0]
    assert done.notes[0].endswith(": 1")


def test_log_lies_beside_the_data(data: Dataset, tmp_path: Path) -> None:
    add_edits(data.source, [edit(data, 0, "exclude")])
    assert edits_path(data.source) == (tmp_path / "pets.edits.jsonl").resolve()
    assert json.loads(edits_path(data.source).read_text())["image"] == "cat/1.jpg"


def test_line_cut_short_by_a_crash_loses_nothing_else(data: Dataset) -> None:
    add_edits(data.source, [edit(data, 0, "exclude"), edit(data, 1, "exclude")])
    whole = edits_path(data.source).read_bytes()
    edits_path(data.source).write_bytes(whole[:-40])
    add_edits(data.source, [edit(data, 2, "exclude")])
    assert [one.image for one in read_edits(data.source)] == ["cat/1.jpg", "dog/1.jpg"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not JSON", "line 1 is not valid JSON"),
        ("[]", "line 1 must be a JSON object of texts"),
        ('{"image": 1}', "line 1 must be a JSON object of texts"),
        ('{"image": "cat/1.jpg"}', "line 1 lacks 'given'"),
        ('{"image": "a", "given": "b", "sha256": "c", "action": "exclud"}', "did you mean 'exclude'"),
        ("[" * 100_000, "line 1 is not valid JSON"),
    ],
)
def test_damaged_log_is_told(data: Dataset, line: str, words: str) -> None:
    edits_path(data.source).write_text(line + "\n")
    with pytest.raises(DataError, match=words):
        read_edits(data.source)


def test_unknown_label_is_told(data: Dataset) -> None:
    with pytest.raises(DataError, match=r"'dgo', the label of cat/1\.jpg, is none of the classes; did you mean 'dog'"):
        apply_edits(data, [edit(data, 0, "label", "dgo")])


@pytest.mark.parametrize("tail", [b'{"ima', b'{"image": "photo {1}', b"\0\0\0\0"])
def test_tails_of_every_kind_are_passed_over(data: Dataset, tail: bytes) -> None:
    add_edits(data.source, [edit(data, 0, "exclude")])
    edits_path(data.source).write_bytes(edits_path(data.source).read_bytes() + tail)
    add_edits(data.source, [edit(data, 2, "exclude")])
    assert [one.image for one in read_edits(data.source)] == ["cat/1.jpg", "dog/1.jpg"]
