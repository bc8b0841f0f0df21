"""What a watched folder's answers became, kept in a SQLite file.

An answer is recorded before anything is done with it, and each thing that was done is recorded after it. So whatever ends the
process, no file is answered twice and no answer is lost: what was recorded and not done is done at the next start.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from whatsit.errors import DataError, UsageError
from whatsit.files import DiskError, disk_error
from whatsit.images.arrivals import Signature

REMEMBERED = 1_000_000  # files, of which the ones that are gone are forgotten first
KEPT, SENT, REFUSED = 1, 0, 2  # what became of a message

_VERSION = 1
_FORGOTTEN = 10_000  # files that are looked at, to be forgotten, at once
_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE files (name BLOB PRIMARY KEY, bytes INTEGER, changed INTEGER, digest BLOB);
CREATE TABLE answers (id TEXT PRIMARY KEY, name BLOB, body TEXT, is_written INTEGER, to_send INTEGER, tries INTEGER DEFAULT 0);
CREATE TABLE steady (source BLOB PRIMARY KEY, label TEXT, times INTEGER, told TEXT);
"""


@dataclass(frozen=True)
class Message:
    """An answer as it is recorded."""

    id: str
    name: str  # of the file
    body: str  # JSON, as it is posted
    is_sent: bool = True  # to the webhook
    tries: int = 0


@dataclass(frozen=True)
class Handled:
    """A file that was dealt with."""

    name: str
    signature: Signature
    digest: bytes  # SHA-256 of its contents; empty where they could not be read


@dataclass(frozen=True)
class Run:
    """The last answers of one source, such as a camera."""

    label: str  # of the last answer
    times: int  # it came in a row
    told: str | None  # the label that was reported last


class WatchState:
    """The record of one watched folder; a context manager, for several threads."""

    def __init__(self, path: str | Path, folder: str | Path) -> None:
        """Open the file, or make it.

        Raises `UsageError` where another process uses it or it belongs to another folder, `DataError` where it is damaged,
        `DiskError` where it cannot be written.
        """
        self.path, self._lock = Path(path), threading.RLock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file_lock = FileLock(f"{self.path}.lock", timeout=0, thread_local=False)
            self._file_lock.acquire()
        except Timeout:
            raise UsageError(
                f"{folder}: another whatsit watches it already; end that one first, or keep a record apart with --state FILE"
            ) from None
        except OSError as error:
            reason = error.strerror or error
            raise DiskError(
                f"{self.path}: cannot be written: {reason}; choose another place with --state FILE"
            ) from None
        try:
            self._open(str(Path(folder).resolve()))
        except BaseException:
            self._file_lock.release()
            raise

    def _open(self, folder: str) -> None:
        if self.path.exists() and not self.path.is_file():
            raise UsageError(f"{self.path}: this is no file; choose another with --state FILE")
        with self._said():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite would let others read it
            self._base = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            self._base.execute("PRAGMA synchronous=FULL")
        with self._change() as base:
            if not base.execute("PRAGMA user_version").fetchone()[0]:
                if base.execute("SELECT 1 FROM sqlite_master").fetchone():
                    raise sqlite3.DatabaseError("it is of another program")
                for statement in filter(str.strip, _TABLES.split(";")):
                    base.execute(statement)
                base.execute("INSERT INTO about VALUES ('folder', ?)", (os.fsencode(folder),))
                base.execute(f"PRAGMA user_version={_VERSION}")
            [whose] = base.execute("SELECT value FROM about WHERE key = 'folder'").fetchone()
            if os.fsdecode(whose) != folder:
                raise UsageError(
                    f"{self.path}: this is the record of {os.fsdecode(whose)}; choose another with --state FILE"
                )
            base.execute("UPDATE answers SET to_send = ? WHERE to_send = ?", (KEPT, REFUSED))
        with self._said():
            self._base.execute("PRAGMA journal_mode=WAL")

    def __enter__(self) -> WatchState:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._base.close()
        self._file_lock.release()

    @property
    def is_new(self) -> bool:
        """Return whether `begin` was never called."""
        return not self._rows("SELECT 1 FROM about WHERE key = 'begun'")

    def begin(self, there: Mapping[str, Signature]) -> None:
        """Record the files that were there before, which are not answered."""
        with self._change() as base:
            base.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, x'')",
                ((os.fsencode(name), *signature) for name, signature in there.items()),
            )
            base.execute("INSERT INTO about VALUES ('begun', '')")

    def known(self, name: str) -> Signature | None:
        """Return the signature under which a file was dealt with."""
        rows = self._rows("SELECT bytes, changed FROM files WHERE name = ?", os.fsencode(name))
        return (int(rows[0][0]), int(rows[0][1])) if rows else None

    def digest(self, name: str) -> bytes:
        """Return the SHA-256 of a file's contents when it was dealt with, or nothing."""
        rows = self._rows("SELECT digest FROM files WHERE name = ?", os.fsencode(name))
        return bytes(rows[0][0]) if rows else b""

    def record(
        self, files: Iterable[Handled], answers: Iterable[Message] = (), runs: Mapping[str, Run] | None = None
    ) -> None:
        """Record files with their answers and the runs of their sources, all or nothing."""
        with self._change() as base:
            base.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                ((os.fsencode(one.name), *one.signature, one.digest) for one in files),
            )
            base.executemany(
                "INSERT INTO answers VALUES (?, ?, ?, 0, ?, 0)",
                ((one.id, os.fsencode(one.name), one.body, KEPT if one.is_sent else SENT) for one in answers),
            )
            base.executemany(
                "INSERT OR REPLACE INTO steady VALUES (?, ?, ?, ?)",
                ((os.fsencode(source), run.label, run.times, run.told) for source, run in (runs or {}).items()),
            )

    def forget(self, name: str) -> None:
        """Forget a file, which is answered again where it comes back."""
        with self._change() as base:
            base.execute("DELETE FROM files WHERE name = ?", (os.fsencode(name),))

    def prune(self, is_there: Callable[[str], bool]) -> None:
        """Forget files that are gone, the longest ago dealt with first, of too many."""
        [[first, last]] = self._rows("SELECT min(rowid), max(rowid) FROM files")
        if (last or 0) - (first or 0) < REMEMBERED:
            return
        names = [os.fsdecode(row[0]) for row in self._rows("SELECT name FROM files ORDER BY rowid LIMIT ?", _FORGOTTEN)]
        with self._change() as base:
            for name in names:
                if not is_there(name):
                    base.execute("DELETE FROM files WHERE name = ?", (os.fsencode(name),))
                else:  # as if it were the newest
                    base.execute(
                        "UPDATE files SET rowid = (SELECT max(rowid) + 1 FROM files) WHERE name = ?",
                        (os.fsencode(name),),
                    )

    def run_of(self, source: str) -> Run | None:
        """Return the last answers of a source."""
        rows = self._rows("SELECT label, times, told FROM steady WHERE source = ?", os.fsencode(source))
        return Run(*rows[0]) if rows else None

    def unwritten(self) -> list[Message]:
        """Return the answers that an earlier process did not write or sort."""
        return [_message(row) for row in self._rows(f"{_SELECT} WHERE NOT is_written ORDER BY rowid")]

    def written(self, ids: Sequence[str]) -> None:
        """Record that answers were written and sorted."""
        with self._change() as base:
            base.executemany("UPDATE answers SET is_written = 1 WHERE id = ?", ((one,) for one in ids))
            base.execute("DELETE FROM answers WHERE is_written AND to_send = ?", (SENT,))

    def to_send(self, most: int) -> list[Message]:
        """Return messages for the webhook, those that were tried least first."""
        return [
            _message(row)
            for row in self._rows(f"{_SELECT} WHERE to_send = ? ORDER BY tries, rowid LIMIT ?", KEPT, most)
        ]

    def undelivered(self) -> int:
        """Return how many messages are kept for the webhook."""
        return int(self._rows("SELECT count(*) FROM answers WHERE to_send != ?", SENT)[0][0])

    def delivered(self, one: str, outcome: int) -> None:
        """Record that a message was sent or refused, or tried once more where it is kept."""
        with self._change() as base:
            base.execute("UPDATE answers SET to_send = ?, tries = tries + 1 WHERE id = ?", (outcome, one))
            base.execute("DELETE FROM answers WHERE is_written AND to_send = ?", (SENT,))

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._said():
            return self._base.execute(query, values).fetchall()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Change the file, all or nothing."""
        with self._lock, self._said():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield self._base
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn SQLite's errors into whatsit's."""
        try:
            yield
        except OSError as error:
            raise disk_error(self.path, error) from None
        except sqlite3.OperationalError as error:
            raise DiskError(f"{self.path}: the record of answers cannot be read or written: {error}") from None
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path}: this is no record of whatsit watch, or it is damaged: {error}; remove it, or choose another with "
                f"--state FILE"
            ) from None


_SELECT = "SELECT id, name, body, to_send, tries FROM answers"


def _message(row: Sequence[Any]) -> Message:
    return Message(str(row[0]), os.fsdecode(bytes(row[1])), str(row[2]), row[3] != SENT, int(row[4]))


def usual_state(folder: str | Path) -> Path:
    """Return where the record of a folder is kept: among this user's files.

    Raises `UsageError` for a user without a home.
    """
    variable, usual = (
        ("LOCALAPPDATA", "~/AppData/Local") if sys.platform == "win32" else ("XDG_STATE_HOME", "~/.local/state")
    )
    try:
        base = Path(os.environ.get(variable) or Path(usual).expanduser())
    except RuntimeError:
        raise UsageError(
            "this user has no home folder for the record of answers; say where it is kept with --state FILE"
        ) from None
    resolved = Path(folder).resolve()
    name = sha256(os.fsencode(str(resolved))).hexdigest()[:16]
    return base / "whatsit" / f"watch-{name}.sqlite"
