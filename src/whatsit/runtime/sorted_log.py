"""The log of a folder that files are sorted into, `sorted.jsonl`.

Its first line has the rules. It has a line for each file, written before the file is touched: where the file is from, where it
goes, and its bytes and time of change then.
"""

from __future__ import annotations

import filecmp
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from whatsit.errors import DataError, UsageError
from whatsit.files import write_bytes
from whatsit.images.arrivals import Signature

LOG = "sorted.jsonl"
LOCK = ".sorting.lock"
_HEAD = b'{"model": '  # how every log begins

Entry = dict[str, Any]  # `from`, `to`, `way`; since they are recorded `bytes` and `changed`; and the answer


def read_log(folder: Path) -> tuple[dict[str, Any] | None, list[Entry]]:
    """Return the rules and the entries of a folder's log, if it has one.

    A last line that was not written whole is dropped. What an interrupted run planned and did not do may be another file's by
    now, so of several entries with one target the last one holds.

    Raises `DataError` where the log is damaged, or not whatsit's: it is not touched then.
    """
    path = folder / LOG
    if not os.path.lexists(path):
        return None, []
    damaged = DataError(f"{path}: this log of sorted files is damaged, or not whatsit's; mend it, or move it away")
    if not path.is_file() or path.is_symlink():
        raise damaged
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    try:
        if not (text.startswith(_HEAD) or _HEAD.startswith(text)):
            raise ValueError
        rows = [json.loads(line) for line in whole.splitlines()]
        if rows and not rows[0].keys() >= {"model", "way"}:
            raise ValueError
        if not all(_is_entry(row) for row in rows[1:]):
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise damaged from None
    if whole != text:
        os.truncate(path, len(whole))
    by_target = {row["to"]: row for row in rows[1:]}
    return (rows[0] if rows else None), [row for row in rows[1:] if by_target[row["to"]] is row]


class LogWriter:
    """Appends lines to a log, each lot whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Open the log, or make it. Raises `OSError`."""
        self._file = (folder / LOG).open("ab", buffering=0)
        self._size = self._file.seek(0, os.SEEK_END)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write some lines, and have them on the disk. Raises `OSError`."""
        left = data = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows).encode()
        try:
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def rewrite_log(folder: Path, head: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """Replace a log. Raises `DiskError`."""
    write_bytes(folder / LOG, "".join(json.dumps(row) + "\n" for row in (head, *entries)).encode())


def signature_in(entry: Entry) -> Signature | None:
    """Return the size and time of a file when it was sorted, where recorded."""
    try:
        return int(entry["bytes"]), int(entry["changed"])
    except (LookupError, TypeError, ValueError):
        return None


def is_copy(source: Path, target: Path) -> bool:
    """Return whether two files, and not one under two paths, are the same."""
    if target.is_symlink() or not (source.is_file() and target.is_file()):
        return False
    if source.samefile(target) and source.parent.samefile(target.parent):  # or by a folder that is a link
        return False
    return filecmp.cmp(source, target, shallow=False)


def locked(folder: Path) -> FileLock:
    """Lock a folder for this process. Raises `UsageError` where another one has it."""
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"{folder}: another whatsit is sorting into it; wait until it is done") from None
    return lock


def _is_entry(row: Any) -> bool:
    """Return whether a row says where a file is from and where it goes.

    That is a folder below and a name in it.
    """
    source, target, way = (row[key] for key in ("from", "to", "way"))
    if not all(isinstance(text, str) and "\x00" not in text for text in (source, target, way)):
        return False
    parts = target.split("/")
    elsewhere = {"", ".", ".."} & set(parts) or (os.sep != "/" and {os.sep, ":"} & set(target))
    return Path(source).is_absolute() and len(parts) == 2 and not elsewhere
