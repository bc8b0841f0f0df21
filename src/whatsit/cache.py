"""The cache: everything kept to save work, in one folder and under one limit.

What was used longest ago is removed first. A file set is an *entry*: the files of one folder whose names agree up to the first
dot. It was last used when its newest file was modified (`mark_used` modifies a file that is read). Work that uses the cache
runs within `working`: what it has used since it began is not removed before it ends, by any process.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from whatsit.errors import UsageError, WhatsitError, suggest
from whatsit.files import DiskError

KINDS = {
    "features": "what frozen networks give for images",
    "audit": "what explore measured of images",
    "networks": "networks ready to run",
    "datasets": "downloaded data sets",
    "runtimes": "what exported pages run models by, downloaded",
}
DOWNLOADED = (
    "datasets",
    "runtimes",
)  # may be impossible to get again: only the user removes them, the limit is for the others
LIMIT = 6 * 10**9  # bytes
LIMIT_VARIABLE = "WHATSIT_CACHE_LIMIT"

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)
_GUARD = ".lock"  # held by whoever changes what others may be reading, or says that it works
_USERS = ".users"  # a locked file for each process that works
_ABANDONED = 3600.0  # seconds after which a file that is being written is nobody's any more
_PATIENCE = 10.0  # seconds to wait for another process that tidies


@dataclass(frozen=True)
class Entry:
    """Files that belong together."""

    files: tuple[Path, ...]
    bytes: int
    used: float  # seconds since 1970


@dataclass(frozen=True)
class Contents:
    """The size of what is cached of one kind."""

    kind: str
    files: int
    bytes: int
    used: float | None  # seconds since 1970; None where there is nothing


@dataclass(frozen=True)
class Removed:
    """Files removed, and files kept because running work uses them."""

    files: int
    bytes: int
    files_in_use: int
    bytes_in_use: int


def cache_folder() -> Path:
    """Return the folder of the cache: `$WHATSIT_CACHE`, or the user's cache folder.

    Where the user has none that can be written (no home, as in a container, or a read-only one), it is a temporary folder,
    with one warning.
    """
    if chosen := os.environ.get("WHATSIT_CACHE"):
        return Path(chosen)
    usual = _usual_cache()
    return usual if usual and _can_be_written(usual) else _temporary_cache(usual)


def cache_limit() -> int:
    """Return the limit in bytes: `$WHATSIT_CACHE_LIMIT`, such as `500 MB`, or 6 GB.

    Raises `UsageError` for a value that is no size.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return LIMIT
    found = _SIZE.fullmatch(text)
    if not found:
        raise UsageError(f"{LIMIT_VARIABLE} is {text[:50]!r}, which is no size; write it like 500MB or 2GB")
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


def mark_used(*paths: Path) -> None:
    """Record that files were used now."""
    for path in paths:
        with contextlib.suppress(OSError):  # a cache that may only be read
            os.utime(path)


def known_kinds(names: Sequence[str]) -> list[str]:
    """Return these kinds, or all. Raises `UsageError` for an unknown name."""
    for name in names:
        if name not in KINDS:
            raise UsageError(f"unknown kind of cache '{name}'{suggest(name, KINDS)}")
    return list(dict.fromkeys(names)) or list(KINDS)


def contents() -> list[Contents]:
    """Return what is cached, a row for each of `KINDS`."""
    rows = []
    for kind in KINDS:
        entries = list(_entries(kind))
        used = max((entry.used for entry in entries), default=None)
        files = sum(len(entry.files) for entry in entries)
        rows.append(Contents(kind, files, sum(entry.bytes for entry in entries), used))
    return rows


def clear(kinds: Sequence[str] = ()) -> Removed:
    """Remove what is cached of these kinds, or all, but for what running work uses.

    Raises `UsageError` for an unknown kind, `WhatsitError` where the cache cannot be changed.
    """
    kinds = known_kinds(kinds)
    folder = cache_folder()
    if not folder.is_dir():
        return Removed(0, 0, 0, 0)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_guarded(_PATIENCE))
        except Timeout:
            raise WhatsitError(f"{folder}: another process is changing the cache; try again") from None
        except OSError as error:
            raise DiskError(f"{folder}: cannot be changed: {error.strerror or error}") from None
        since = _oldest_work()
        entries = [entry for kind in kinds for entry in _entries(kind)]
        free = [entry for entry in entries if entry.used < since]
        _remove(free)
        _remove_leftovers()
    left = [entry for entry in entries if any(os.path.lexists(path) for path in entry.files)]
    count, size = _total(left)
    every, whole = _total(entries)
    return Removed(every - count, whole - size, count, size)


def tidy() -> None:
    """Remove what exceeds the limit, oldest use first, less what running work uses."""
    limit = cache_limit()
    if not cache_folder().is_dir():
        return
    with contextlib.suppress(OSError, Timeout), _guarded(_PATIENCE):
        entries = [entry for kind in KINDS if kind not in DOWNLOADED for entry in _entries(kind)]
        entries.sort(key=lambda entry: entry.used)
        too_many = sum(entry.bytes for entry in entries) - limit
        since = _oldest_work() if too_many > 0 else 0.0
        for entry in entries:
            if too_many <= 0 or entry.used >= since:
                break
            _remove([entry])
            too_many -= entry.bytes
        _remove_leftovers()


@contextmanager
def changing() -> Iterator[bool]:
    """Lock the cache to change what others read; yield whether that is possible now."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_guarded(0))
        except (OSError, Timeout):
            yield False
            return
        yield True


_marks: set[Path] = set()  # of the work of this process


@contextmanager
def working() -> Iterator[None]:
    """Mark this process as using the cache; at the end, remove what exceeds the limit.

    Works may overlap. Raises `UsageError` where the limit is not a size.
    """
    cache_limit()  # an invalid one is reported before any work
    mark = _new_mark()
    try:
        yield
    finally:
        if mark:
            _drop(mark)
        tidy()


def _new_mark() -> FileLock | None:
    """Lock a file whose time is the start of this work; None in a read-only cache."""
    try:
        with _guarded(_PATIENCE):
            folder = cache_folder() / _USERS
            folder.mkdir(parents=True, exist_ok=True)
            mark = FileLock(folder / f"{os.getpid()}-{secrets.token_hex(4)}", timeout=0, thread_local=False)
            mark.acquire()
            _marks.add(Path(mark.lock_file))
            os.utime(mark.lock_file)
            return mark
    except (OSError, Timeout):
        return None


def _drop(mark: FileLock) -> None:
    mark.release(force=True)
    _marks.discard(Path(mark.lock_file))
    with contextlib.suppress(OSError):
        Path(mark.lock_file).unlink(missing_ok=True)


def _oldest_work() -> float:
    """Return when the oldest work of any process began; infinity without any.

    Marks of dead processes are removed.
    """
    since = float("inf")
    with contextlib.suppress(OSError):
        for path in (cache_folder() / _USERS).iterdir():
            with contextlib.suppress(OSError):
                began = path.stat().st_mtime
                if path in _marks or not _is_dead(path):
                    since = min(since, began)
    return since


def _is_dead(path: Path) -> bool:
    """Return whether the process of a mark has ended; its mark is removed then."""
    mark = FileLock(path, timeout=0, thread_local=False)
    try:
        mark.acquire()
    except (Timeout, OSError):
        return False
    _drop(mark)
    return True


def _guarded(patience: float) -> FileLock:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / _GUARD, timeout=patience, thread_local=False)


def _entries(kind: str) -> Iterator[Entry]:
    """Yield the entries of a kind; links in its folder are not followed."""
    for folder, _, names in os.walk(cache_folder() / kind):
        sets: dict[str, list[Path]] = {}
        for name in sorted(names):
            if not name.startswith("."):
                sets.setdefault(name.split(".")[0], []).append(Path(folder, name))
        for files in sets.values():
            with contextlib.suppress(OSError):  # another process has just removed it
                infos = [path.lstat() for path in files]
                size, used = sum(info.st_size for info in infos), max(info.st_mtime for info in infos)
                yield Entry(tuple(files), size, used)


def _total(entries: Iterable[Entry]) -> tuple[int, int]:
    entries = list(entries)
    return sum(len(entry.files) for entry in entries), sum(entry.bytes for entry in entries)


def _remove(entries: Iterable[Entry]) -> None:
    for entry in entries:
        for path in entry.files:  # `digests` and `json` come first: without them an entry is incomplete, and not read
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                path.unlink()


def _remove_leftovers() -> None:
    """Remove what killed processes left half-written, and empty folders."""
    for kind in KINDS:
        for folder, _, names in os.walk(cache_folder() / kind, topdown=False):
            for path in (Path(folder, name) for name in names if name.startswith(".") and name.endswith(".part")):
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime < time.time() - _ABANDONED:
                        path.unlink()
            with contextlib.suppress(OSError):  # it is not empty
                Path(folder).rmdir()


def _usual_cache() -> Path | None:
    from platformdirs import user_cache_path

    try:
        usual = user_cache_path("whatsit", appauthor=False)
    except (OSError, RuntimeError):  # nobody knows this user's home
        return None
    return usual if usual.is_absolute() else None


def _can_be_written(folder: Path) -> bool:
    """Return whether a folder can be written, or made."""
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), None)
    return there is not None and os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)  # noqa: PTH112 - never raises


@functools.cache
def _temporary_cache(instead_of: Path | None) -> Path:
    """Return a temporary folder of this user, with one warning in a process."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    try:
        folder = Path(tempfile.gettempdir(), f"whatsit-{user}")
        if not _is_own(folder):
            folder = Path(tempfile.mkdtemp(prefix="whatsit-"))
    except OSError:  # there is no place for temporary files either: nothing is kept
        return instead_of or Path(os.devnull, "whatsit")
    why = f"{instead_of} cannot be written" if instead_of else "this user has no home folder"
    logging.getLogger("whatsit").warning(
        "Note: %s, so downloads and computed features are kept in %s; set WHATSIT_CACHE to choose another place",
        why,
        folder,
    )
    return folder


def _is_own(folder: Path) -> bool:
    """Make a folder, or return whether only this user can write into it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        info = folder.lstat()
    except OSError:
        return False
    mine = not hasattr(os, "getuid") or (info.st_uid == os.getuid() and not info.st_mode & 0o022)
    return stat.S_ISDIR(info.st_mode) and mine
