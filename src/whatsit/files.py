"""Writing of files: whole or not at all, and harmless to those who open them."""

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
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_LOCK = ".lock"
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


class DiskError(WhatsitError):
    """A file that cannot be written: a full disk, a read-only folder, a taken path."""


def disk_error(path: Path, error: OSError) -> DiskError:
    """Return an `OSError` of a write as the error that is shown to the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskError(f"{path}: the disk is full; free some space and try again")
    if error.errno == errno.EFBIG:
        return DiskError(
            f"{path}: the file is larger than the system allows here; choose another disk, or raise its limit"
        )
    return DiskError(f"{path}: cannot be written: {error.strerror or error}")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Write a file whole or not at all: temporary file, fsync, rename.

    Raises `DiskError` where the disk is full or the path cannot be written: `path` is untouched then, and nothing half-written is
    left, nor a folder that was made for it.
    """
    with _removing_new_folders(path.parent):
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


@contextmanager
def _removing_new_folders(folder: Path) -> Iterator[None]:
    """Remove the folders that were made for what fails, where they are still empty."""
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one of them holds something, or was not made
            for path in made:
                path.rmdir()
        raise


def _new_beside(path: Path) -> tuple[int, Path]:
    """Open a new file beside another, as accessible as any file of this user.

    The system applies the process's umask. `tempfile` makes files that only their owner reads, and to look at the umask is to
    change it for a moment, for every thread.
    """
    while True:
        temporary = path.with_name(f".{path.name[:40]}.{secrets.token_hex(6)}.part")
        with contextlib.suppress(FileExistsError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            return os.open(temporary, flags | getattr(os, "O_NOFOLLOW", 0), 0o666), temporary


def reserve(file: IO[bytes], size: int) -> None:
    """Allocate an open file's size on the disk. Raises `OSError`.

    A full disk shows now, not as a crash of a memory map.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file by `replacing`."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole text by `replacing`, as UTF-8."""
    write_bytes(path, text.encode(errors="backslashreplace"))  # file names may hold what is not Unicode


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, as far as the system can do that."""
    with contextlib.suppress(OSError):  # such as Windows, which opens no folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def move(source: Path, target: Path) -> None:
    """Move a file or folder within a disk, making its new parents. Raises `DiskError`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    except OSError as error:
        raise disk_error(target, error) from None


def move_file(source: Path, target: Path) -> None:
    """Move a file, also to another disk. Never replaces one.

    Raises `OSError`: `FileExistsError` where there is something.
    """
    try:
        _rename_new(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_file(source, target, safely=True)
        _remove_moved(source, target)


def copy_file(source: Path, target: Path, *, safely: bool = False) -> None:
    """Copy a file with its times, whole or not at all. Never replaces one.

    `safely`: it is on the disk at the end, so that the source may go.

    Raises `OSError`: `FileExistsError` where there is something.
    """
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        shutil.copy2(source, part)
        if safely:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        _rename_new(part, target)
        if safely:
            sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def _rename_new(source: Path, target: Path) -> None:
    """Rename a file. Raises `FileExistsError` where there is something.

    A rename would replace what another program puts there between the look and the rename; a hard link does not, where the disk
    has them.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    if not source.is_symlink():
        try:
            target.hardlink_to(source)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            pass
        else:
            _remove_moved(source, target)
            return
    source.rename(target)


def _remove_moved(source: Path, target: Path) -> None:
    """Remove a file that has a second name or a copy, or else those.

    Raises `OSError`.
    """
    try:
        source.unlink()
    except OSError:
        if os.path.lexists(source):
            target.unlink(missing_ok=True)
        raise


def move_into_place(new: Path, path: Path) -> None:
    """Replace a file or folder by another; where that fails, the old one stays.

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


def spreadsheet_safe(text: str) -> str:
    """Return a cell of a CSV file, with an apostrophe before what may be a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_spreadsheet(cell: str) -> str:
    """Return the text of a cell that `spreadsheet_safe` wrote."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a table that no spreadsheet takes formulas from. Raises `DiskError`."""
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")  # as `write_text`
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([spreadsheet_safe(cell) for cell in row] for row in rows)
        text.detach()  # which flushes it, and leaves the file open


@contextmanager
def written_by_others(path: Path, place: Path, size: int) -> Iterator[None]:
    """Turn what a library raises into a `DiskError` where the disk is full.

    Libraries have errors of their own for that, or write less without an error.

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
            if (full := _no_room(folder, size)) is not None:
                raise disk_error(path if folder == place else folder, full) from None
        raise


def _no_room(folder: Path, size: int) -> OSError | None:
    """Return the error of writing a file of this size, where there is no room for it."""
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
    """Make a folder `.unfinished-...` in a folder, and remove it at the end.

    `folder` is made where it is missing, and removed again where it stays empty. What killed processes left in it is removed
    first. Raises `OSError`.
    """
    with _removing_new_folders(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        path = folder / f"{UNFINISHED}{secrets.token_hex(6)}"
        lock = _lock_of(path)
        try:
            with lock:
                path.mkdir()
                try:
                    yield path
                finally:
                    shutil.rmtree(path, ignore_errors=True)
        finally:
            _remove_lock(lock)


@contextmanager
def becoming(target: Path) -> Iterator[Path]:
    """Yield the path of a file that becomes the target at the end.

    It is in an unfinished folder beside it. Raises `DiskError`.
    """
    try:
        with unfinished_folder(target.parent) as temporary:
            yield temporary / target.name
            move_into_place(temporary / target.name, target)
    except OSError as error:
        raise disk_error(target, error) from None


def _remove_abandoned(folder: Path) -> None:
    """Remove the unfinished folders whose processes are dead."""
    for path in folder.glob(f"{UNFINISHED}*"):
        if path.suffix != _LOCK:
            lock = _lock_of(path)
            with contextlib.suppress(OSError, Timeout):
                with lock:
                    shutil.rmtree(path, ignore_errors=True)
                _remove_lock(lock)


def _lock_of(path: Path) -> FileLock:
    """Return the lock of an unfinished folder, released when its process dies."""
    return FileLock(path.with_suffix(_LOCK), timeout=0, thread_local=False)


def _remove_lock(lock: FileLock) -> None:
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
