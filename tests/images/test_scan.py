from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import encode, shapes, tarred
from whatsit.errors import DataError, ImageError
from whatsit.images.scan import scan, typical_size

Maker = Callable[[dict[str, bytes]], Path]
A, B, C, D = (encode(shapes("disc", i)) for i in range(4))
FOUR = {"cat/1.png": A, "cat/2.png": B, "dog/1.png": C, "dog/2.png": D}


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_folder_of_class_folders(make_folder: Maker) -> None:
    dataset = scan(make_folder(FOUR))
    assert dataset.classes == ("cat", "dog")
    assert next((p.name, p.label, p.split) for p in dataset.pictures) == ("cat/1.png", "cat", None)
    assert dataset.read(dataset.pictures[2]) == C


@pytest.mark.parametrize("validation", ["validation", "valid", "val", "VAL"])
def test_split_folders(make_folder: Maker, validation: str) -> None:
    folder = make_folder(
        {f"{part}/{name}": data for part in ("train", validation, "test") for name, data in FOUR.items()}
    )
    dataset = scan(folder)
    assert dataset.classes == ("cat", "dog")
    assert {p.split for p in dataset.pictures} == {"train", "validation", "test"}


def test_classes_may_be_called_train_and_test(make_folder: Maker) -> None:
    dataset = scan(make_folder({"train/1.png": A, "train/2.png": B, "test/1.png": C}))
    assert dataset.classes == ("test", "train")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_equals_folder(make_folder: Maker, tmp_path: Path, method: int) -> None:
    archive = zipped(tmp_path / "photos.zip", {f"photos/{name}": data for name, data in FOUR.items()}, method)
    assert scan(archive).fingerprint() == scan(make_folder(FOUR)).fingerprint()


@pytest.mark.parametrize(("ending", "mode"), [("tar", "w"), ("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar.xz", "w:xz")])
def test_tar_equals_folder(make_folder: Maker, tmp_path: Path, ending: str, mode: str) -> None:
    archive = tarred(tmp_path / f"photos.{ending}", FOUR, mode)
    assert scan(archive).fingerprint() == scan(make_folder(FOUR)).fingerprint()


def test_zip_with_thai_names_of_the_folders_is_read(tmp_path: Path) -> None:
    files = {"ผัดไทย/1.png": A, "ต้มยำกุ้ง/1.png": B}
    dataset = scan(zipped(tmp_path / "อาหาร.zip", files))
    assert dataset.classes == ("ต้มยำกุ้ง", "ผัดไทย")
    assert dataset.read(dataset.pictures[0]) in (A, B)


@pytest.mark.parametrize("label", ["ผัดไทย", "Crème brûlée"])
def test_zip_whose_names_are_utf8_without_saying_so(label: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {f"{label}/1.png": A, "dog/1.png": B})
    path.write_bytes(_without_the_utf8_flag(path.read_bytes()))
    dataset = scan(path)
    assert (dataset.classes, dataset.unreadable) == (tuple(sorted((label, "dog"))), ())


def test_zip_whose_names_are_in_an_unknown_encoding_is_read_with_a_note(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"caXX/1.png": A, "dog/1.png": B})
    path.write_bytes(path.read_bytes().replace(b"caXX", "caf\xe9".encode("cp1252")))
    dataset = scan(path)
    assert len(dataset.pictures) == 2
    assert ": 1, such as 'cafΘ/1.png'" in dataset.notes[0]


def test_zip_with_backslashes_between_folders_is_read(tmp_path: Path) -> None:
    dataset = scan(zipped(tmp_path / "x.zip", {"cat\\": b"", "cat\\1.png": A, "dog\\1.png": B}))
    assert [(picture.name, picture.label) for picture in dataset.pictures] == [
        ("cat/1.png", "cat"),
        ("dog/1.png", "dog"),
    ]
    assert (dataset.unreadable, dataset.skipped) == ((), {})


def _without_the_utf8_flag(archive: bytes) -> bytes:
    """As macOS writes it."""
    data = bytearray(archive)
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(start)
        while place >= 0:
            data[place + flags + 1] &= ~0x08
            place = data.find(start, place + 4)
    return bytes(data)


def test_csv(make_folder: Maker) -> None:
    text = "Path,Label,Split\ncat/1.png,a / b,train\ncat/2.png,<b>bold</b>,train\ndog/1.png,a / b,test\n"
    folder = make_folder({**FOUR, "labels.csv": b"\xef\xbb\xbf" + text.encode()})
    dataset = scan(folder / "labels.csv")
    assert dataset.classes == ("<b>bold</b>", "a / b")
    assert [p.split for p in dataset.pictures] == ["train", "train", "test"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_any_spreadsheet(make_folder: Maker, delimiter: str) -> None:
    lines = ["path,label", "cat/1.png,cat", "dog/1.png,dog"]
    folder = make_folder({**FOUR, "labels.csv": "\r\n".join(lines).replace(",", delimiter).encode()})
    assert scan(folder / "labels.csv").classes == ("cat", "dog")


def test_picture_of_two_splits_in_a_csv_is_kept_in_the_later_one(make_folder: Maker) -> None:
    rows = [
        "cat/1.png,cat,train",
        "cat/2.png,cat,test",
        "dog/1.png,dog,train",
        "cat/1.png,cat,test",
        "cat/2.png,cat,val",
    ]
    folder = make_folder({**FOUR, "labels.csv": "\n".join(["path,label,split", *rows, rows[2]]).encode()})
    dataset = scan(folder / "labels.csv")
    assert [(p.name, p.split) for p in dataset.pictures] == [
        ("cat/1.png", "test"),
        ("cat/2.png", "test"),
        ("dog/1.png", "train"),
    ]
    assert dataset.notes == ("pictures listed in several splits, and kept in the later one: 2, such as cat/1.png",)


def test_strays_are_passed_over_and_counted(make_folder: Maker) -> None:
    strays = {
        ".DS_Store": b"x", "cat/Thumbs.db": b"x", "cat/.ipynb_checkpoints/1.png": A, "notes.txt": b"x", "cat/README": b"x",
        "__MACOSX/cat/._1.png": b"x", "loose.png": A,
    }  # fmt: skip
    dataset = scan(make_folder({**FOUR, **strays}))
    assert len(dataset.pictures) == 4
    assert dataset.skipped == {
        "hidden files": 1, "hidden folders": 1, "Thumbs.db files": 1, "__MACOSX folders": 1, ".txt files": 1,
        "files without an ending": 1, "pictures outside any class folder": 1,
    }  # fmt: skip


def test_empty_and_missing_files_are_listed_with_the_reason(make_folder: Maker) -> None:
    folder = make_folder(
        {**FOUR, "dog/0.png": b"", "labels.csv": b"path,label\ncat/1.png,cat\ngone.png,dog\ndog/1.png,dog"}
    )
    assert scan(folder).unreadable == (("dog/0.png", "the file is empty (0 bytes)"),)
    assert scan(folder / "labels.csv").unreadable == (("gone.png", "there is no such file"),)


def test_given_test_set_that_cannot_be_read_is_an_error(make_folder: Maker) -> None:
    files = {f"{part}/{name}": data for part in ("train", "test") for name, data in FOUR.items()}
    with pytest.raises(DataError, match=r"none of 4 test pictures can be read, such as test/.*: the file is empty"):
        scan(make_folder({name: b"" if name.startswith("test/") else data for name, data in files.items()}))


def test_typical_size_is_the_median(make_folder: Maker) -> None:
    sizes = {f"{label}/{side}.png": encode(shapes("disc", 1, side)) for label in ("a", "b") for side in (16, 32, 64)}
    assert typical_size(scan(make_folder(sizes))) == (32, 32)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no pictures found"),
        ({"notes.txt": b"x"}, "no pictures found .*skipped: 1 .txt file$"),
        ({"1.png": A, "2.png": B}, "pictures must lie in class folders"),
    ],
)
def test_folders_that_are_no_data_set(
    make_folder: Maker, tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match=message):
        scan(make_folder(files))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.csv")
    with pytest.raises(DataError, match="a pipe or a device"):
        scan(tmp_path / "data.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,label\na,b",
            "the column 'path' is missing; columns found: file, label; rename columns in the first line, or add ",
        ),
        ("path,name\na,b", "column 'label' is missing"),
        (
            "file,species\na,b",
            "the columns 'path' and 'label' are missing; columns found: file, species; rename columns",
        ),
        ("", "the columns 'path' and 'label' are missing; columns found: none"),
        ("path,label\n", "lists no pictures"),
        ("path,label\n1.png,\n", "line 2: the class name is empty"),
        ("path,label\n,cat\n", "line 2: the column 'path' is empty"),
        (f"path,label\n1.png,{'x' * 10240}\n", "line 2: .*10,240 characters; at most 200"),
        ("path,label\n1.png,\x1b[31mred\n", r"line 2: .*U\+001B, which is not seen"),
        ("path,label,split\n1.png,cat,tset\n", "line 2: the split 'tset' is unknown"),
        ("path,label,split\n1.png,cat,train\n2.png,dog,\n", "filled in every row or in none"),
    ],
)
def test_bad_csv(make_folder: Maker, text: str, message: str) -> None:
    folder = make_folder({**FOUR, "labels.csv": text.encode()})
    with pytest.raises(DataError, match=message):
        scan(folder / "labels.csv")


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "cat/../../evil.png", "C:\\evil.png", "..\\evil.png"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archive_that_escapes_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    files = {**FOUR, name: A}
    archive = zipped(tmp_path / "x.zip", files) if kind == "zip" else tarred(tmp_path / "x.tar", files, "w")
    with pytest.raises(DataError, match="points outside the archive"):
        scan(archive)


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="decompression bomb"):
        scan(zipped(tmp_path / "x.zip", {**FOUR, "cat/3.png": bytes(100_000_000)}))


def test_tar_bomb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="decompression bomb"):
        scan(tarred(tmp_path / "x.tar.gz", {**FOUR, "cat/3.png": bytes(100_000_000)}, "w:gz"))


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", FOUR)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"'cat/1\.png' is encrypted"):
        scan(path)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tgz", "x.tar.xz"])
@pytest.mark.parametrize(
    "content", [b"", b"no archive", b"PK\x03\x04 cut short", b"\x1f\x8b\x08 cut", b"\xfd7zXZ\x00 cut"]
)
def test_damaged_archives_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        scan(tmp_path / name)


def test_zip_without_its_beginning_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", FOUR)
    path.write_bytes(path.read_bytes()[100:])
    with pytest.raises(DataError, match=r"x\.zip: the zip archive cannot be read, it may be cut short"):
        scan(path)


@pytest.mark.parametrize("place", [1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("field", ["compress_size", "header_offset"])
def test_zip_whose_contents_lie_beyond_its_end_is_refused(tmp_path: Path, field: str, place: int) -> None:
    path = zipped(tmp_path / "x.zip", FOUR)
    data = path.read_bytes()
    start = data.rindex(b"PK\x01\x02")
    entry = bytearray(data[start : data.rindex(b"PK\x05\x06")])
    at = {"compress_size": 20, "header_offset": 42}[field]
    entry[at : at + 4] = b"\xff" * 4  # to be looked for in the ZIP64 extra
    entry[30:32] = (12).to_bytes(2, "little")
    entry += struct.pack("<HHQ", 1, 8, place)
    end = bytearray(data[data.rindex(b"PK\x05\x06") :])
    end[12:16] = (int.from_bytes(end[12:16], "little") + 12).to_bytes(4, "little")
    path.write_bytes(data[:start] + entry + end)
    with pytest.raises(DataError, match=r"x\.zip: the zip archive cannot be read, it may be cut short"):
        scan(path)


def test_damaged_member_of_a_zip_is_listed(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", FOUR, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(B) + 30] ^= 1
    path.write_bytes(data)
    dataset = scan(path)
    assert dataset.unreadable == (("cat/2.png", "its data in the zip archive are damaged (wrong checksum)"),)
    assert len(dataset.pictures) == 3


def test_lying_zip_member_cannot_fill_the_memory(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {**FOUR, "cat/3.png": bytes(1_000_000)})
    data = path.read_bytes().replace((1_000_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little"))
    path.write_bytes(data)
    dataset = scan(path)
    assert [name for name, _ in dataset.unreadable] == ["cat/3.png"]


def test_folder_loops_end(make_folder: Maker) -> None:
    folder = make_folder(FOUR)
    (folder / "cat" / "loop").symlink_to(folder)
    assert {p.label for p in scan(folder).pictures} == {"cat", "dog"}


def test_reading_says_why_a_picture_cannot_be_read(make_folder: Maker) -> None:
    folder = make_folder(FOUR)
    dataset = scan(folder)
    (folder / "cat/1.png").unlink()
    with pytest.raises(ImageError, match="no such file"):
        dataset.read(dataset.pictures[0])


def test_stray_folder_beside_the_splits_is_no_class(make_folder: Maker) -> None:
    files = {f"{part}/{name}": data for part in ("train", "test") for name, data in FOUR.items()} | {
        "docs/figure.png": A
    }
    with pytest.raises(DataError, match="beside the folders train and test lies 'docs'"):
        scan(make_folder(files))


def test_csv_may_name_groups(make_folder: Maker) -> None:
    csv = b"path,label,Group\na.png,x,p1\nb.png,y, p2 \nc.png,y,\n"
    folder = make_folder({"a.png": b"a", "b.png": b"b", "c.png": b"c", "labels.csv": csv})
    assert [picture.group for picture in scan(folder / "labels.csv").pictures] == ["p1", "p2", None]


def test_csv_with_a_picture_in_two_groups_is_an_error(make_folder: Maker) -> None:
    folder = make_folder({"labels.csv": b"path,label,group\na.png,x,p1\nb.png,y,p2\na.png,x,p3\n"})
    with pytest.raises(DataError, match=r"a\.png is listed twice, with different groups: 'p1' and 'p3'"):
        scan(folder / "labels.csv")


def linked(kind: str, path: Path, files: dict[str, bytes], links: dict[str, str], *, hard: bool = False) -> Path:
    """An archive with links among its files: name -> target."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
            for name, target in links.items():
                info = zipfile.ZipInfo(name)
                info.create_system, info.external_attr = 3, 0o120777 << 16
                archive.writestr(info, target)
        return path
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = (tarfile.LNKTYPE if hard else tarfile.SYMTYPE), target
            tar.addfile(member)
    return path


@pytest.mark.parametrize(("kind", "hard"), [("zip", False), ("tar", False), ("tar", True)])
def test_links_in_archives_are_told_and_not_followed(tmp_path: Path, kind: str, hard: bool) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(FOUR["cat/1.png"])
    links = {"cat/inside.png": "1.png", "cat/outside.png": str(outside), "bird/1.png": "../cat/1.png", "fish": "cat"}
    dataset = scan(linked(kind, tmp_path / f"x.{kind}", FOUR, links, hard=hard))
    assert {picture.name for picture in dataset.pictures} == set(FOUR)
    assert dataset.skipped == {"links in the archive": 4}
    told = " | ".join(dataset.notes)
    assert "the class folder 'bird' holds no picture that can be read: only 1 link in the archive" in told
    assert "the class folder 'fish' holds no picture that can be read: it is a link, which is not followed" in told


def test_link_over_a_file_hides_it_as_unpacking_would(tmp_path: Path) -> None:
    dataset = scan(
        linked("tar", tmp_path / "x.tar", {**FOUR, "cat/9.png": FOUR["cat/1.png"]}, {"cat/9.png": "/etc/passwd"})
    )
    assert "cat/9.png" not in {picture.name for picture in dataset.pictures}
    assert dataset.skipped == {"links in the archive": 1}


def test_pipes_in_a_tar_and_files_written_twice_are_counted(tmp_path: Path) -> None:
    path = linked("tar", tmp_path / "x.tar", FOUR, {})
    with tarfile.open(path, "a") as tar:
        pipe = tarfile.TarInfo("cat/pipe.png")
        pipe.type = tarfile.FIFOTYPE
        tar.addfile(pipe)
        again = tarfile.TarInfo("cat/1.png")
        again.size = len(FOUR["dog/1.png"])
        tar.addfile(again, io.BytesIO(FOUR["dog/1.png"]))
    dataset = scan(path)
    assert dataset.skipped == {"pipes or devices": 1, "older files of the same name": 1}
    assert dataset.store.read("cat/1.png") == FOUR["dog/1.png"]
