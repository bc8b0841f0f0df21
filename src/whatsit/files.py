"""How whatsit writes files: whole or not at all, and harmless to those who open them."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from whatsit.errors import WhatsitError

UNFINISHED = ".unfinished-"  # begins the name of a folder that is written into

_LOCK = ".lock"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskError(WhatsitError):
    """A file cannot be written: the disk is full, the folder is read-only, the path is taken."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file so that `path` is either untouched or complete: temporary file, fsync, rename.

    Raises `DiskError` where the disk is full or the place cannot be written; nothing half-written is left then, and no folder
    that was made for it.
    """
    with _folders_on_trial(path.parent):
        yield from _replacing(path)


@contextmanager
def _folders_on_trial(folder: Path) -> Iterator[None]:
    """Remove the folders that were made for what fails, where nothing else came into them."""
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one of them holds something, or was not made
            for path in made:
                path.rmdir()
        raise


def _replacing(path: Path) -> Iterator[IO[bytes]]:
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


def reserve(file: IO[bytes], size: int) -> None:
    """Give an open file its size on the disk: a full disk shows now, not as a crash of a memory map. Raises `OSError`."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


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


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a table that no spreadsheet takes formulas from. Raises `DiskError`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([spreadsheet_safe(cell) for cell in row] for row in rows)
    write_text(path, text.getvalue())


def disk_error(path: Path, error: OSError) -> DiskError:
    """An `OSError` of a write, in words for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(f"{path}: the disk is full; free some space and try again")
    if error.errno == errno.EFBIG:
        return DiskError(
            f"{path}: the file is larger than the system allows here; choose another disk, or raise its limit"
        )
    return DiskError(f"{path}: cannot be written: {error.strerror or error}")


@contextmanager
def written_by_others(path: Path, place: Path, size: int) -> Iterator[None]:
    """Turn whatever a library raises into a `DiskError` where the reason is that the disk is full.

    Libraries have errors of their own for that, or write less and say nothing of why.

    Args:
        path: what is written, as the user knows it.
        place: the folder that the library writes into.
        size: about how many bytes it writes: where no file of that size can be written, that is the reason.
    """
    try:
        yield
    except (WhatsitError, MemoryError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise disk_error(path, error) from None
        for folder in (place, Path(tempfile.gettempdir())):
            if (found := _no_room(folder, size)) is not None:
                raise disk_error(path if folder == place else folder, found) from None
        raise


def _no_room(folder: Path, size: int) -> OSError | None:
    """The error of writing a file of this size, where there is no room for it."""
    block = bytes(1 << 20)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for start in range(0, size, len(block)):
                file.write(block[: size - start])
            file.flush()
    except OSError as error:
        return error if error.errno in NO_ROOM else None
    return None


@contextmanager
def unfinished_folder(folder: Path) -> Iterator[Path]:
    """Make a folder `.unfinished-...` in a folder, to write into; it is gone at the end, with what is left in it.

    `folder` is made where it is missing, and goes again where nothing came into it. What processes that were killed left behind
    in it is removed first. Raises `OSError`.
    """
    with _folders_on_trial(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        yield from _unfinished(folder)


def _unfinished(folder: Path) -> Iterator[Path]:
    path = folder / f"{UNFINISHED}{secrets.token_hex(6)}"
    lock = FileLock(
        path.with_suffix(_LOCK), timeout=0, thread_local=False
    )  # let go by the system when the process dies
    try:
        with lock:
            path.mkdir()
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)
    finally:
        with contextlib.suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove the unfinished folders whose processes are dead."""
    for path in folder.glob(f"{UNFINISHED}*"):
        if path.suffix == _LOCK:
            continue
        lock = FileLock(path.with_suffix(_LOCK), timeout=0, thread_local=False)
        with contextlib.suppress(OSError, Timeout):
            with lock:
                shutil.rmtree(path, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)
