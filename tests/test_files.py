from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import pytest

from whatsit import files
from whatsit.files import cache_folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="homes of other systems are told by other variables")


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for name in ("WHATSIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    files._temporary_cache.cache_clear()


def test_cache_is_in_the_home_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "new"))
    assert cache_folder().is_relative_to(tmp_path / "new")


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


def test_home_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert cache_folder().parent == tmp_path / "temporary"
    assert "cannot be written" in caplog.text


def test_temporary_folder_that_others_may_write_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    (tmp_path / "file").write_bytes(b"")
    planted = tmp_path / "temporary" / f"whatsit-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert cache_folder() != planted


def test_a_relative_cache_of_the_system_is_not_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder().is_absolute()
