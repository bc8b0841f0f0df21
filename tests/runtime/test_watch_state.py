"""The record of a watched folder."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from whatsit.errors import DataError, UsageError
from whatsit.runtime import watch_state
from whatsit.runtime.watch_state import KEPT, REFUSED, SENT, Handled, Message, Run, WatchState

ONE = Message("1", "cam/a.jpg", "{}")


def test_what_was_recorded_is_there_at_the_next_start(tmp_path: Path) -> None:
    with WatchState(tmp_path / "a.sqlite", tmp_path) as state:
        assert state.is_new
        state.begin({"old.jpg": (3, 4)})
        state.record([Handled("cam/a.jpg", (1, 2), b"digest")], [ONE], {"cam/": Run("cat", 2, None)})
    with WatchState(tmp_path / "a.sqlite", tmp_path) as state:
        assert not state.is_new
        assert (state.known("old.jpg"), state.known("cam/a.jpg"), state.known("b")) == ((3, 4), (1, 2), None)
        assert (state.digest("cam/a.jpg"), state.digest("old.jpg")) == (b"digest", b"")
        assert state.unwritten() == [ONE]
        assert state.to_send(9) == [ONE]
        assert state.run_of("cam/") == Run("cat", 2, None)


def test_message_goes_when_it_is_written_and_sent_in_either_order(tmp_path: Path) -> None:
    two = Message("2", "b.jpg", "{}")
    with WatchState(tmp_path / "a.sqlite", tmp_path) as state:
        state.record([], [ONE, two])
        state.written(["1"])
        state.delivered("1", SENT)
        state.delivered("2", SENT)
        assert [one.id for one in state.unwritten()] == ["2"]
        state.written(["2"])
        assert (state.unwritten(), state.to_send(9), state.undelivered()) == ([], [], 0)


def test_refused_message_is_sent_again_at_the_next_start(tmp_path: Path) -> None:
    with WatchState(tmp_path / "a.sqlite", tmp_path) as state:
        state.record([], [ONE])
        state.delivered("1", KEPT)
        state.delivered("1", REFUSED)
        assert (state.to_send(9), state.undelivered()) == ([], 1)
    with WatchState(tmp_path / "a.sqlite", tmp_path) as state:
        assert [one.id for one in state.to_send(9)] == ["1"]


def test_names_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    with WatchState(tmp_path / "a.sqlite", tmp_path) as state:
        state.record([Handled("\udcff.jpg", (1, 2), b"")], [Message("1", "\udcff.jpg", "{}")])
        assert state.known("\udcff.jpg") == (1, 2)
        assert state.unwritten()[0].name == "\udcff.jpg"


def test_of_too_many_files_those_that_are_gone_are_forgotten_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_state, "REMEMBERED", 5)
    with WatchState(tmp_path / "a.sqlite", tmp_path) as state:
        state.record([Handled(f"{number}.jpg", (1, 2), b"") for number in range(8)])
        state.prune(lambda name: name == "3.jpg")
        assert [name for name in map("{}.jpg".format, range(8)) if state.known(name)] == ["3.jpg"]


def test_record_of_another_folder_or_one_in_use_or_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with WatchState(tmp_path / "a.sqlite", tmp_path), pytest.raises(UsageError, match="another whatsit watches it"):
        WatchState(tmp_path / "a.sqlite", tmp_path)
    with pytest.raises(UsageError, match="this is the record of"):
        WatchState(tmp_path / "a.sqlite", tmp_path / "other")
    (tmp_path / "b.sqlite").write_bytes(b"no data base" * 100)
    with pytest.raises(DataError, match=r"b\.sqlite: this is no record"):
        WatchState(tmp_path / "b.sqlite", tmp_path)


def test_base_of_another_program_is_refused_and_not_touched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mine.sqlite") as base:
        base.execute("CREATE TABLE trials (number INTEGER)")
    base.close()
    before = (tmp_path / "mine.sqlite").read_bytes()
    with pytest.raises(DataError, match="this is no record of whatsit watch"):
        WatchState(tmp_path / "mine.sqlite", tmp_path)
    assert (tmp_path / "mine.sqlite").read_bytes() == before


def test_record_is_for_its_user_alone(tmp_path: Path) -> None:
    """It names the pictures, and holds answers on their way."""
    with WatchState(tmp_path / "state" / "a.sqlite", tmp_path) as state:
        state.begin({})
        modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "state").glob("a.sqlite*")}
    assert modes["a.sqlite"] == modes.get("a.sqlite-wal", 0) == 0
