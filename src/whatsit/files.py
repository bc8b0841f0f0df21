"""How whatsit writes files: whole or not at all, and harmless to those who open them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from whatsit.errors import WhatsitError


class DiskError(WhatsitError):
    """A file cannot be written: the disk is full, the folder is read-only, the path is taken."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file so that `path` is either untouched or complete: temporary file, fsync, rename.

    Raises `DiskError` where the disk is full or the place cannot be written; nothing half-written is left then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _new_beside(path)
    except OSError as error:
        raise disk_error(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, ConnectionError | TimeoutError):
            raise  # of whatever the caller was reading from
        raise disk_error(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def _new_beside(path: Path) -> tuple[int, Path]:
    """A new file in the folder of another, opened for writing, as accessible as any file that this user makes.

    The system applies the process's umask. `tempfile` makes files that only their owner reads, and to look at the umask is to
    change it for a moment, for every thread.
    """
    while True:
        temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
        with contextlib.suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            return os.open(temporary, flags | getattr(os, "O_NOFOLLOW", 0), 0o666), temporary


def write_bytes(path: Path, data: bytes) -> None:
    """`replacing` for contents that are at hand."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """`replacing` for text, as UTF-8."""
    write_bytes(path, text.encode(errors="backslashreplace"))  # file names may hold what is not Unicode


def move_into_place(new: Path, path: Path) -> None:
    """Let a file or folder take the place of another, of either kind; where that fails, the other stays.

    Raises `DiskError`. Both must be on one disk.
    """
    old = new.with_name(f"{new.name}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            path.replace(old)  # a folder cannot be replaced in one step
            try:
                new.replace(path)
            except OSError:
                old.replace(path)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            new.replace(path)
    except OSError as error:
        raise disk_error(path, error) from None


_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def spreadsheet_safe(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula: where it could be one, behind an apostrophe."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_spreadsheet(cell: str) -> str:
    """The text of a cell that `spreadsheet_safe` wrote."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def disk_error(path: Path, error: OSError) -> DiskError:
    """An `OSError` of a write, in words for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(f"{path}: the disk is full; free some space and run the same command again")
    return DiskError(f"{path}: cannot be written: {error.strerror or error}")
