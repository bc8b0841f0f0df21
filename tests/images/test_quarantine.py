from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import write_files
from whatsit.errors import DataError, UsageError
from whatsit.images.edits import Edit, add_edits, in_force, move_aside, moved_aside, put_back, read_edits

FILES = {"cat/1.jpg": b"one", "cat/2.jpg": b"two", "dog/รูป.jpg": b"three"}
BAD = [("cat/1.jpg", "unreadable: no picture"), ("dog/รูป.jpg", "dark: too dark")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_files(tmp_path / "data", FILES)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_moved_and_the_log_says_why(data: Path) -> None:
    moved = move_aside(data, BAD)
    assert contents(data) == {"cat/2.jpg": b"two"}
    aside = contents(data.with_name("data.quarantine"))
    assert {name: aside[name] for name, _ in BAD} == {"cat/1.jpg": b"one", "dog/รูป.jpg": b"three"}
    assert [(one.name, one.reason) for one in moved] == BAD
    assert moved_aside(data) == moved


def test_files_are_put_back_exactly(data: Path) -> None:
    move_aside(data, BAD[:1])
    move_aside(data, BAD[1:])
    assert [one.name for one in put_back(data)] == [name for name, _ in BAD]
    assert contents(data) == FILES
    assert not data.with_name("data.quarantine").exists()


def test_file_that_took_the_place_is_not_written_over(data: Path) -> None:
    move_aside(data, BAD)
    (data / "cat/1.jpg").write_bytes(b"new")
    with pytest.raises(DataError, match="is there already"):
        put_back(data)
    assert (data / "cat/1.jpg").read_bytes() == b"new"


def test_names_that_lead_elsewhere_are_passed_over(data: Path) -> None:
    (data.parent / "other").write_bytes(b"x")
    assert move_aside(data, [("../other", "bad"), ("cat/none.jpg", "bad")]) == []
    assert (data.parent / "other").exists()


def test_log_that_leads_elsewhere_moves_nothing(data: Path) -> None:
    move_aside(data, BAD)
    aside = data.with_name("data.quarantine")
    (data.parent / "other").write_bytes(b"x")
    (aside / "log.jsonl").write_text('{"name": "../other", "reason": "", "time": ""}\n')
    with pytest.raises(DataError, match="leads out of the folder"):
        put_back(data)
    assert (data.parent / "other").read_bytes() == b"x"


def test_place_that_is_taken_is_told_before_anything_is_moved(data: Path) -> None:
    move_aside(data, BAD[1:])
    (data / BAD[1][0]).write_bytes(b"new")
    with pytest.raises(DataError, match="is there already"):
        move_aside(data, BAD)
    assert (data / BAD[0][0]).read_bytes() == b"one"


def test_nothing_to_put_back_is_told(data: Path) -> None:
    with pytest.raises(UsageError, match="nothing was moved aside"):
        put_back(data)


def test_archive_cannot_be_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(UsageError, match="only files in a folder"):
        move_aside(tmp_path / "a.zip", BAD)


def test_name_with_a_line_separator_of_unicode_comes_back(data: Path) -> None:
    name = "cat/a\u2028b\x85c.jpg"
    write_files(data, {name: b"four"})
    move_aside(data, [(name, "dark: too\u2029dark")])
    assert [one.name for one in put_back(data)] == [name]
    assert contents(data) == {**FILES, name: b"four"}


def test_damaged_log_is_told(data: Path) -> None:
    move_aside(data, BAD)
    (data.with_name("data.quarantine") / "log.jsonl").write_text("{")
    with pytest.raises(DataError, match="this log is damaged"):
        put_back(data)


def test_log_of_an_older_version_is_read(data: Path) -> None:
    """It lay in the folder of moved files."""
    aside = data.with_name("data.quarantine")
    (aside / "cat").mkdir(parents=True)
    (data / "cat/1.jpg").rename(aside / "cat/1.jpg")
    (aside / "log.jsonl").write_text('{"name": "cat/1.jpg", "reason": "dark: too dark", "time": "2025-01-01"}\n')
    move_aside(data, BAD[1:])
    assert [one.name for one in moved_aside(data)] == [name for name, _ in BAD]
    assert [one.name for one in put_back(data)] == [name for name, _ in BAD]
    assert contents(data) == FILES
    assert not aside.exists()
    with pytest.raises(UsageError, match="nothing was moved aside"):
        put_back(data)


def test_moves_leave_decisions_as_they_are(data: Path) -> None:
    decision = Edit("cat/1.jpg", "cat", "00", "label", "dog")
    add_edits(data, [decision])
    move_aside(data, BAD)
    put_back(data)
    assert [(one.key, one.label) for one in read_edits(data)] == [(decision.key, "dog")]
    assert list(in_force(read_edits(data))) == [decision.key]
