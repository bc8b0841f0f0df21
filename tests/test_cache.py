from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import whatsit
from whatsit import cache
from whatsit.cache import cache_folder
from whatsit.errors import UsageError

unix_homes = pytest.mark.skipif(os.name == "nt", reason="homes of other systems are told by other variables")


@pytest.fixture
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for name in ("WHATSIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    cache._temporary_cache.cache_clear()


@pytest.mark.usefixtures("_nothing_chosen")
@unix_homes
def test_cache_is_in_the_home_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "new"))
    assert cache_folder().is_relative_to(tmp_path / "new")


@pytest.mark.usefixtures("_nothing_chosen")
@unix_homes
def test_without_a_home_the_cache_is_temporary_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom passwd does not know
    with caplog.at_level(logging.WARNING):
        folder = cache_folder()
        assert cache_folder() == folder
    assert folder.parent == tmp_path / "temporary"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(caplog.messages) == 1
    assert "this user has no home folder" in caplog.text
    assert "set WHATSIT_CACHE" in caplog.text


@pytest.mark.usefixtures("_nothing_chosen")
@unix_homes
def test_home_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cache_folder().parent == tmp_path / "temporary"
    assert "cannot be written" in caplog.text


@pytest.mark.usefixtures("_nothing_chosen")
@unix_homes
def test_temporary_folder_that_others_may_write_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    (tmp_path / "file").write_bytes(b"")
    planted = tmp_path / "temporary" / f"whatsit-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert cache_folder() != planted


@pytest.mark.usefixtures("_nothing_chosen")
@unix_homes
def test_a_relative_cache_of_the_system_is_not_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder().is_absolute()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("WHATSIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keep(path: Path, size: int = 1000, used: float = 1e9) -> Path:
    """A file in the cache that was last used then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (used, used))
    return path


ELSEWHERE = """
import sys
from whatsit.cache import mark_used, working
with working():
    print("working", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works with the cache until it is told to end."""
    with subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "working\n"
        yield process
        process.kill()


def test_oldest_use_of_any_kind_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSIT_CACHE_LIMIT", "2.5kB")
    old = keep(folder / "networks" / "key.onnx", used=1e9)
    middle = keep(folder / "features" / "key" / "original" / "a.values.npy", used=1e9 + 1)
    new = keep(folder / "audit" / "key" / "rows" / "a.values.npy", used=1e9 + 2)
    cache.tidy()
    assert [path.exists() for path in (old, middle, new)] == [False, True, True]


def test_files_that_belong_together_go_together_and_reading_counts_as_use(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHATSIT_CACHE_LIMIT", "2000")
    read = [keep(folder / "features" / "k" / f"a.{kind}.npy") for kind in ("digests", "values")]
    unread = [keep(folder / "features" / "k" / f"b.{kind}.npy", used=1e9 + 5) for kind in ("digests", "values")]
    cache.mark_used(read[0])
    cache.tidy()
    assert all(path.exists() for path in read)
    assert not any(path.exists() for path in unread)


def test_downloads_stay_whatever_the_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSIT_CACHE_LIMIT", "0")
    download = keep(folder / "datasets" / "mnist" / "labels.gz")
    cache.tidy()
    assert download.exists()


def test_work_ends_below_the_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSIT_CACHE_LIMIT", "1 kB")
    with cache.working():
        made = keep(folder / "audit" / "k" / "a.npy", 700, used=time.time() + 1)
        with cache.working():
            more = keep(folder / "audit" / "k" / "b.npy", 700, used=time.time() + 2)
        assert made.exists()
    assert not made.exists()
    assert more.exists()


def test_what_running_work_uses_stays(folder: Path, other_process: subprocess.Popen[str]) -> None:
    used = keep(folder / "features" / "k" / "a.npy", used=time.time())
    before = keep(folder / "features" / "k" / "b.npy")
    removed = cache.clear()
    assert (used.exists(), before.exists()) == (True, False)
    assert (removed.files, removed.files_in_use) == (1, 1)


def test_killed_work_holds_nothing(folder: Path, other_process: subprocess.Popen[str]) -> None:
    used = keep(folder / "features" / "k" / "a.npy", used=time.time())
    other_process.kill()
    other_process.wait()
    cache.clear()
    assert not used.exists()
    assert list((folder / ".users").iterdir()) == []


def test_clearing_one_kind_leaves_the_others_and_what_is_not_ours(folder: Path, tmp_path: Path) -> None:
    features = keep(folder / "features" / "k" / "a.npy")
    others = [keep(folder / "audit" / "k" / "a.npy"), keep(folder / "letters" / "mine.txt"), keep(tmp_path / "x" / "y")]
    (folder / "features" / "link").symlink_to(tmp_path / "x")
    cache.clear(["features"])
    assert not features.exists()
    assert all(path.exists() for path in others)


def test_what_a_killed_process_was_writing_goes(folder: Path) -> None:
    abandoned = keep(folder / "features" / "k" / ".a.0123.part", used=1e9)
    being_written = keep(folder / "features" / "k" / ".b.0123.part", used=time.time())
    cache.clear()
    assert (abandoned.exists(), being_written.exists()) == (False, True)


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500e6), ("2 gb", 2e9), ("1.5GiB", 1.5 * 2**30), ("12", 12), ("", 6e9), ("1T", 1e12)]
)
def test_limit_in_words(monkeypatch: pytest.MonkeyPatch, text: str, size: float) -> None:
    monkeypatch.setenv("WHATSIT_CACHE_LIMIT", text)
    assert cache.cache_limit() == size


@pytest.mark.parametrize("text", ["much", "-1", "1 EB", "nan", "1e9"])
def test_limit_that_is_no_size_is_told_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("WHATSIT_CACHE_LIMIT", text)
    with pytest.raises(UsageError, match=r"WHATSIT_CACHE_LIMIT.*500MB"), cache.working():
        pytest.fail("the work has begun")


def test_cache_that_may_only_be_read_is_used_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = keep(folder / "features" / "k" / "a.npy")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("WHATSIT_CACHE_LIMIT", "0")
    monkeypatch.setattr(os, "open", refuse)
    with cache.working():
        assert kept.exists()
    assert kept.exists()


def test_command_says_what_is_kept_and_removes_it(folder: Path) -> None:
    keep(folder / "features" / "k" / "a.npy", 2_500_000)
    shown = whatsit("cache")
    assert shown.returncode == 0
    for said in ("2.5 MB", "2001-09-09", str(folder), "6.0 GB", "WHATSIT_CACHE_LIMIT"):
        assert said in shown.stdout
    rows = {row["kind"]: row for row in json.loads(whatsit("cache", "--json").stdout)["kinds"]}
    assert rows["features"] == {"kind": "features", "files": 1, "bytes": 2_500_000, "used": "2001-09-09T01:46:40+00:00"}
    assert rows["audit"]["used"] is None
    assert "Removed 1 file (2.5 MB)" in whatsit("cache", "features", "--clear").stdout
    wrong = whatsit("cache", "fetures")
    assert (wrong.returncode, "did you mean 'features'" in wrong.stderr) == (2, True)
