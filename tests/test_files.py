from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from whatsit.files import DiskError, disk_error, replacing, reserve, unfinished_folder, write_bytes, written_by_others

KILLED = """
import os, signal, sys
from pathlib import Path
from whatsit.files import unfinished_folder
with unfinished_folder(Path(sys.argv[1])) as place:
    (place / "half.bin").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_failed_write_leaves_no_file_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match=r"x\.txt: the disk is full; free some space and try again"):
        write_bytes(tmp_path / "new" / "deep" / "x.txt", b"x")
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_a_folder_that_was_there(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"x: cannot be written"), replacing(tmp_path / "x"):
        raise PermissionError(13, "Permission denied")
    assert tmp_path.is_dir()


def test_file_above_the_limit_of_the_system_is_told() -> None:
    assert "larger than the system allows" in str(disk_error(Path("x"), OSError(errno.EFBIG, "File too large")))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_library_that_says_that_the_disk_is_full_is_believed(tmp_path: Path, number: int) -> None:
    with pytest.raises(DiskError, match=r"x\.bin: "), written_by_others(Path("x.bin"), tmp_path, 10):
        raise OSError(number, os.strerror(number))


def test_library_that_only_fails_is_asked_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="iostream"), written_by_others(Path("x"), tmp_path, 3_000_000):
        raise RuntimeError("iostream error")  # there is room, so the reason is another
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(DiskError, match="x: the disk is full"), written_by_others(Path("x"), tmp_path, 10):
        raise RuntimeError("iostream error")


def test_errors_of_ours_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="mine"), written_by_others(Path("x"), tmp_path, 10):
        raise DiskError("mine")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room")
def test_room_is_reserved_before_it_is_used(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        reserve(file, 100_000)
        assert os.fstat(file.fileno()).st_blocks * 512 >= 100_000


def test_unfinished_folder_goes_with_what_is_in_it(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path / "new" / "export") as place:
        (place / "part").write_bytes(b"x")
        assert place.parent == tmp_path / "new" / "export"
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "export"]


def test_failed_work_leaves_no_folder_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken"), unfinished_folder(tmp_path / "new" / "export"):
        raise ValueError("broken")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not killed by signals")
def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert [path.name for path in tmp_path.rglob("half.bin")] == ["half.bin"]
    (tmp_path / ".unfinished-of-an-older-version").mkdir()
    with unfinished_folder(tmp_path) as living, unfinished_folder(tmp_path) as another:
        assert {path for path in tmp_path.iterdir() if path.is_dir()} == {living, another}
    assert list(tmp_path.iterdir()) == []
