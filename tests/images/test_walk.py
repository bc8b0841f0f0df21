from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import encode, shapes
from whatsit.errors import DataError
from whatsit.images.scan import scan
from whatsit.images.split import split
from whatsit.images.walk import LeftOut, describe, list_folder, pictures_among, pictures_below, walk

Maker = Callable[[dict[str, bytes]], Path]
FILES = {"cat/1.png": b"1", "cat/10.jpg": b"2", "cat-2/a.png": b"3", "dog/sub/x.png": b"4", "dog.txt": b"5"}


def test_order_is_that_of_the_names_as_text(make_folder: Maker) -> None:
    assert list(walk(make_folder(FILES), LeftOut())) == sorted(FILES)


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("@eaDir", "@eaDir folders"),
        ("#recycle", "#recycle folders"),
        ("@Recycle", "@Recycle folders"),
        ("$Recycle.Bin", "$RECYCLE.BIN folders"),
        ("lost+found", "lost+found folders"),
        ("System Volume Information", "System Volume Information folders"),
        ("__MACOSX", "__MACOSX folders"),
        (".Trash-1000", "hidden folders"),
        (".AppleDouble", "hidden folders"),
        (".thumbnails", "hidden folders"),
    ],
)
def test_folders_of_the_system_are_counted_and_not_entered(make_folder: Maker, folder: str, kind: str) -> None:
    files = {"cat/1.png": b"1", f"cat/{folder}/1.png": b"2", f"cat/{folder}/sub/2.png": b"3"}
    of_folder, of_archive = LeftOut(), LeftOut()
    assert list(pictures_below(make_folder(files), of_folder)) == ["cat/1.png"]
    assert list(pictures_among(sorted(files), of_archive)) == ["cat/1.png"]
    assert of_folder.kinds == of_archive.kinds == {kind: 1}


@pytest.mark.parametrize("file", [".DS_Store", "._1.png", "Thumbs.db", "desktop.ini"])
def test_files_of_the_system_are_counted_alike_in_folders_and_archives(make_folder: Maker, file: str) -> None:
    of_folder, of_archive = LeftOut(), LeftOut()
    assert list(pictures_below(make_folder({f"a/{file}": b"x"}), of_folder)) == []
    assert list(pictures_among([f"a/{file}"], of_archive)) == []
    assert of_folder.kinds == of_archive.kinds
    assert of_folder.kinds.total() == 1


def test_the_folder_that_is_given_may_have_any_name(make_folder: Maker) -> None:
    root = make_folder({"#recycle/cat/1.png": b"1"})
    assert list(walk(root / "#recycle", LeftOut())) == ["cat/1.png"]


def test_links_are_followed_and_loops_are_not(make_folder: Maker, tmp_path: Path) -> None:
    root = make_folder({"cat/1.png": b"1"})
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "2.png").write_bytes(b"2")
    (root / "dog").symlink_to(tmp_path / "pool")
    (root / "cat" / "up").symlink_to(root)
    left_out = LeftOut()
    assert list(walk(root, left_out)) == ["cat/1.png", "dog/2.png"]
    assert describe(left_out.kinds) == "1 link that leads back to a folder above"


def test_link_to_itself_is_passed_over(make_folder: Maker) -> None:
    root = make_folder({"cat/1.png": b"1"})
    (root / "self").symlink_to(root / "self")
    left_out = LeftOut()
    assert list(walk(root, left_out)) == ["cat/1.png"]
    assert [name for name, _ in left_out.troubles] == ["self"]


def _refusing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the system refuse to list a folder: tests may run as root, whom no permission stops."""
    real = os.scandir

    def scandir(path: str) -> object:
        if os.path.basename(path) == name:  # noqa: PTH119
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_unreadable_folder_is_noted_and_the_rest_goes_on(make_folder: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({f"{name}/1.png": name.encode() for name in ("cat", "dog", "private")})
    _refusing(monkeypatch, "private")
    dataset = scan(root)
    assert dataset.classes == ("cat", "dog")
    assert dataset.notes[0] == "private was skipped: the folder cannot be read: Permission denied"
    assert "the class folder 'private' holds no picture" in dataset.notes[1]


def test_unreadable_folder_of_the_system_is_not_even_tried(make_folder: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({f"{name}/1.png": name.encode() for name in ("cat", "dog", "lost+found")})
    _refusing(monkeypatch, "lost+found")
    assert scan(root).notes == ()


def test_data_folder_that_cannot_be_read_is_an_error(make_folder: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"cat/1.png": b"1"})
    _refusing(monkeypatch, root.name)
    with pytest.raises(DataError, match="the folder cannot be read: Permission denied"):
        scan(root)


def test_links_to_missing_files_are_listed_with_the_reason(make_folder: Maker) -> None:
    root = make_folder({"cat/1.png": b"1", "dog/1.png": b"2"})
    (root / "cat" / "2.png").symlink_to(root / "gone.png")
    assert scan(root).unreadable == (("cat/2.png", "it is a link, and the file that it leads to is missing"),)


def test_class_folder_that_is_a_link_to_nothing_is_named(make_folder: Maker) -> None:
    root = make_folder({"cat/1.png": b"1", "dog/1.png": b"2"})
    (root / "bird").symlink_to(root / "gone")
    assert "bird was skipped: the link leads to nothing, its target is missing" in scan(root).notes


@pytest.mark.parametrize(
    ("inside", "reason"), [("", "it is empty"), ("notes.txt", r"only 1 \.txt file$"), ("sub/", "it is empty")]
)
def test_class_folder_without_pictures_is_named_with_the_reason(make_folder: Maker, inside: str, reason: str) -> None:
    root = make_folder({"cat/1.png": b"1", "dog/1.png": b"2"})
    (root / "bird" / (inside if inside.endswith("/") else "")).mkdir(parents=True)
    if inside and not inside.endswith("/"):
        (root / "bird" / inside).write_bytes(b"x")
    [note] = scan(root).notes
    assert note.startswith("the class folder 'bird' holds no picture that can be read: ")
    assert re.search(reason, note)


def test_class_folder_of_pictures_in_a_foreign_format_stops_training(make_folder: Maker) -> None:
    files = {f"{label}/{i}.png": encode(shapes("disc", 10 * k + i)) for k, label in enumerate("ab") for i in range(4)}
    dataset = scan(make_folder({**files, "c/1.psd": b"8BPS", "c/2.psd": b"8BPS"}))
    assert dataset.classes == ("a", "b")
    with pytest.raises(DataError, match=r"the class folder 'c' holds no picture that can be read: only 2 \.psd files"):
        split(dataset)


def test_list_folder_keeps_the_same_rules(make_folder: Maker) -> None:
    root = make_folder({"b b/1": b"", "b/1": b"", "@eaDir/1": b"", "x.txt": b"", ".hidden": b""})
    assert list_folder(root) == (["b", "b b"], ["x.txt"])


def test_many_kinds_are_all_counted() -> None:
    assert describe({f".{n} files": 1 for n in range(8)}).endswith(", 2 others")
