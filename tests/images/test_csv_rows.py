from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from whatsit.errors import DataError
from whatsit.images.csv_rows import read_rows
from whatsit.images.scan import scan

Maker = Callable[[dict[str, bytes]], Path]
FILES = {"cat/1.png": b"1", "dog/a b.png": b"2"}
PLAIN = "path,label\ncat/1.png,cat\ndog/a b.png,dog\n"


def rows(folder: Path, content: bytes | str) -> list[tuple[str, str]]:
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(row.path, row.label) for row in read_rows(path)]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        "path,label\ncat\\1.png,cat\ndog\\a b.png,dog\n",
        "path,label\n.\\cat\\1.png,cat\n./dog//a b.png,dog\n",
        "sep=;\npath;label\ncat/1.png;cat\ndog/a b.png;dog\n",
        '"sep=|"\npath|label\ncat/1.png|cat\ndog/a b.png|dog\n',
        "sep=\t\npath\tlabel\ncat/1.png\tcat\ndog/a b.png\tdog\n",
        "\n\npath,label,,\ncat/1.png,cat,,\n,,,\ndog/a b.png,dog,,\n , ,,\n,,,\n",
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\r\n"),
        " PATH , Label \n cat/1.png , cat \n dog/a b.png  ,dog  \n",
        'path,label\n"cat/1.png", "cat"\n"dog/a b.png","dog"\n',
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-16-le"),
        "path,label\nCat/1.PNG,cat\nDOG/A b.png,dog\n",
    ],
)
def test_the_same_rows_from_any_program(make_folder: Maker, content: bytes | str) -> None:
    assert rows(make_folder(FILES), content) == [("cat/1.png", "cat"), ("dog/a b.png", "dog")]


@pytest.mark.parametrize(("stored", "listed"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_in_another_unicode_form_are_found(make_folder: Maker, stored: str, listed: str) -> None:
    name = "Crème brûlée/né.png"
    root = make_folder({unicodedata.normalize(stored, name): b"1", "dog/1.png": b"2"})
    text = f"path,label\n{unicodedata.normalize(listed, name)},sweet\ndog/1.png,dog\n"
    (root / "labels.csv").write_text(text, encoding="utf-8")
    assert scan(root / "labels.csv").unreadable == ()


def test_absolute_paths_and_file_addresses(make_folder: Maker, tmp_path: Path) -> None:
    root = make_folder({"แมว 1#2.png": b"1"})
    path = str(root / "แมว 1#2.png")
    listed = [path, f"file://{quote(path)}", f"file://localhost{quote(path)}", f"file:{quote(path)}"]
    (tmp_path / "elsewhere").mkdir()
    text = "path,label\n" + "".join(f"{one},cat\n" for one in listed)
    assert {name for name, _ in rows(tmp_path / "elsewhere", text)} == {path}


def test_name_that_has_a_backslash_on_disk_is_taken_as_it_is(make_folder: Maker) -> None:
    assert rows(make_folder({"a\\b.png": b"1"}), "path,label\na\\b.png,cat\n") == [("a\\b.png", "cat")]


def test_of_two_names_that_differ_in_capitals_none_is_guessed(make_folder: Maker) -> None:
    root = make_folder({"A.png": b"1", "a.png": b"2"})
    assert rows(root, "path,label\na.PNG,cat\n") == [("a.PNG", "cat")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\nhttps://example.org/1.png,cat\n", "line 2: 'https://example.org/1.png' is an address of the web"),
        ("path,label\na,b.png,cat\n", "line 2: there are more cells than columns"),
        ("sep=;\npath;label\n;cat\n", "line 3: the column 'path' is empty"),
        (
            "path,label\n1.png,cat\n2.png,แมว\n".encode("cp874"),
            "line 3: the CSV file is not in UTF-8; save it again as",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_line(make_folder: Maker, content: bytes | str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows(make_folder(FILES), content)


def test_splits_may_be_spelt_as_folders_may(make_folder: Maker) -> None:
    root = make_folder({**FILES, "labels.csv": b"path,label,split\ncat/1.png,cat,Training\ndog/a b.png,dog,dev\n"})
    assert [picture.split for picture in scan(root / "labels.csv").pictures] == ["train", "validation"]
