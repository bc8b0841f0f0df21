"""New files in a folder, found by looking at it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from whatsit.errors import UsageError
from whatsit.images.arrivals import Arrivals, FolderGoneError, Signature


class Known(dict[str, Signature]):
    """What an earlier process has recorded."""

    def __call__(self, name: str) -> Signature | None:
        return self.get(name)


def names(arrivals: Arrivals, now: float) -> list[str]:
    return [one.name for one in arrivals.look(now)]


def test_file_has_arrived_when_it_rests(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path, Known(), settle=1.0)
    path = tmp_path / "a.jpg"
    path.write_bytes(b"1")
    assert names(arrivals, 0.0) == []
    path.write_bytes(b"12")  # it grows
    assert names(arrivals, 0.9) == []
    assert names(arrivals, 1.8) == []
    assert names(arrivals, 2.0) == ["a.jpg"]


def test_file_that_was_dealt_with_comes_again_only_when_it_changes(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path, Known(), settle=0.0)
    (tmp_path / "a.jpg").write_bytes(b"1")
    [one] = arrivals.look(0.0)
    arrivals.settle(one)
    assert names(arrivals, 1.0) == []
    (tmp_path / "a.jpg").write_bytes(b"12")
    assert names(arrivals, 2.0) == ["a.jpg"]


def test_unfinished_file_is_tried_again_with_growing_pauses_and_a_last_time(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path, Known(), settle=1.0, patience=10.0)
    (tmp_path / "a.jpg").write_bytes(b"1")
    tried = []
    for now in range(15):
        for one in arrivals.look(float(now)):
            tried.append((now, one.is_last))
            arrivals.settle(one) if one.is_last else arrivals.retry(one)
    assert tried == [(1, False), (2, False), (4, False), (8, False), (10, True)]


def test_time_of_change_in_the_future_or_the_past_does_not_matter(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path, Known(), settle=1.0)
    for name, time in (("old.jpg", 0), ("future.jpg", 4_000_000_000)):
        (tmp_path / name).write_bytes(b"1")
        os.utime(tmp_path / name, (time, time))
    assert names(arrivals, 0.0) == []
    assert names(arrivals, 1.0) == ["old.jpg", "future.jpg"]


def test_folder_that_vanishes_and_comes_back_brings_nothing_known(tmp_path: Path) -> None:
    folder, known = tmp_path / "stick", Known()
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"1")
    arrivals = Arrivals(folder, known, settle=0.0)
    [one] = arrivals.look(0.0)
    arrivals.settle(one)
    known[one.name] = one.signature
    shutil.move(folder, tmp_path / "pocket")
    with pytest.raises(FolderGoneError, match="stick"):
        arrivals.look(1.0)
    shutil.move(tmp_path / "pocket", folder)
    (folder / "b.jpg").write_bytes(b"2")
    assert names(arrivals, 2.0) == ["b.jpg"]


def test_links_subfolders_and_other_files_are_as_in_every_walk(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "cam1").mkdir(parents=True)
    (folder / "cam1" / "a.jpg").write_bytes(b"1")
    for name in (".hidden.jpg", "notes.txt", "b.jpg.part"):
        (folder / name).write_bytes(b"1")
    (folder / "to_nothing.jpg").symlink_to(tmp_path / "nothing.jpg")
    (folder / "again").symlink_to(folder)
    (tmp_path / "outside.png").write_bytes(b"1")
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    arrivals = Arrivals(folder, Known(), settle=0.0)
    assert sorted(names(arrivals, 0.0)) == ["cam1/a.jpg", "link.png", "to_nothing.jpg"]


def test_folder_of_sorted_files_inside_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "sorted" / "cat").mkdir(parents=True)
    (tmp_path / "sorted" / "cat" / "a.jpg").write_bytes(b"1")
    (tmp_path / "sorted.jpg").write_bytes(b"1")
    arrivals = Arrivals(tmp_path, Known(), settle=0.0, without=tmp_path / "sorted")
    assert names(arrivals, 0.0) == ["sorted.jpg"]


def test_wrong_folder_and_times_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (" ", tmp_path / "file"):
        with pytest.raises(UsageError, match="is no folder"):
            Arrivals(folder, Known())
    with pytest.raises(UsageError, match="itself"):
        Arrivals(tmp_path, Known(), without=tmp_path)
    with pytest.raises(UsageError, match="--settle is a number of seconds"):
        Arrivals(tmp_path, Known(), settle=float("nan"))
