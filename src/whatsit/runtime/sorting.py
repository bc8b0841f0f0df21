"""Files sorted into folders by their predictions, and put back by a log.

`sorted.jsonl` in the folder has a line for each file, written before the file is touched. What a line says is done where its
target is there; so an interrupted sorting continues, and nothing is lost at any moment.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from whatsit.errors import DataError, ImageError, UsageError
from whatsit.files import disk_error
from whatsit.runtime.predictor import Prediction

LOG = "sorted.jsonl"
UNKNOWN, UNSURE, UNREADABLE = "unknown", "unsure", "unreadable"
WAYS = ("copy", "move", "link")
MOST = 200  # bytes of a folder's name, of which systems take 255
_LOCK = ".sorting.lock"
_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f]')  # in names of folders, by one system or another
_PART = re.compile(r"\.[0-9a-f]{16}\.part")  # of a copy that is being written
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Rules:
    """How files are sorted; the first line of the log."""

    model: str  # what tells it from others
    way: str = "copy"  # of WAYS
    sure: float = 0.0  # less probable answers go to `unsure`

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise UsageError(f"files are sorted by {', '.join(WAYS)}; received {self.way!r}")
        if not 0 <= self.sure <= 1:
            raise UsageError(f"--sure is a probability from 0 to 1, such as 0.9; received {self.sure:g}")

    def folder_of(self, found: Prediction | ImageError, names: Mapping[str, str]) -> str:
        """Return the folder that an answer sends its file to.

        `names` is as `folder_names` has them.
        """
        if isinstance(found, ImageError):
            return names[UNREADABLE]
        if found.unknown:
            return names[UNKNOWN]
        return names[UNSURE] if found.probability < self.sure else names[f"={found.label}"]


def folder_names(classes: Sequence[str]) -> dict[str, str]:
    """Return the folder for each class, under `=LABEL`, and those for the rest.

    What no system takes in a name becomes `_`; names that would be the same folder on some system are kept apart.
    """
    taken, names = set(), {}
    for key in (*(f"={label}" for label in classes), UNKNOWN, UNSURE, UNREADABLE):
        name = _REFUSED.sub("_", key.removeprefix("=")).encode()[:MOST].decode(errors="ignore").rstrip(". ") or "_"
        name = f"_{name}" if _DEVICES.fullmatch(name) or name.startswith(".") else name
        base, number = name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.casefold())
        names[key] = name
    return names


@dataclass
class Sorted:
    """What was sorted."""

    files: int = 0
    earlier: int = 0  # files that an earlier run had sorted
    folders: Counter[str] = field(default_factory=Counter)
    missing: int = 0  # files that are gone, or may not be read or moved, and links that were to be moved


class Sorter:
    """Sorts files into a folder; a context manager, for one thread."""

    def __init__(self, folder: str | Path, rules: Rules, classes: Sequence[str]) -> None:
        """Open the folder, or make it.

        Raises `UsageError` where it was sorted by other rules or is being sorted, `DiskError` where it cannot be written.
        """
        self.folder, self._rules = Path(folder).absolute(), rules
        self._names = folder_names(classes)
        self._taken: dict[str, set[str]] = {}
        self.done = Sorted()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock, self._place = _locked(self.folder), self.folder.resolve()
            with _released_on_error(self._lock):
                head, entries = read_log(self.folder)
                if head is not None and head != asdict(rules):
                    raise UsageError(
                        f"{self.folder}: it was sorted by {_said(head)}, now {_said(asdict(rules))} is asked for; choose another "
                        f"folder, or undo it first with --undo"
                    )
                self._remove_parts()
                self._seen: set[str] = set()
                # What an interrupted run planned and did not do may be another file's by now: the last one holds.
                sources = {entry["to"]: entry["from"] for entry in entries}
                self._earlier = {source for target, source in sources.items() if os.path.lexists(self.folder / target)}
                self._log = (self.folder / LOG).open("ab")
                if head is None:
                    self._note([asdict(rules)])
        except OSError as error:
            raise disk_error(self.folder, error) from None

    def __enter__(self) -> Sorter:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self._lock.release()

    def wants(self, name: str) -> bool:
        """Return whether a file is to be sorted.

        Not what lies in the folder already, what an earlier run has sorted, or what was asked for already.
        """
        path = _resolved(name)
        if path.is_relative_to(self._place) or str(path) in self._seen:
            return False
        self._seen.add(str(path))
        earlier = str(path) in self._earlier
        self.done.earlier += earlier
        return not earlier

    def _remove_parts(self) -> None:
        """Remove half-written copies, of a run that was killed."""
        for name in self._names.values():
            for path in (self.folder / name).glob(".*.part"):
                if _PART.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def sort(self, found: Sequence[tuple[str, Prediction | ImageError]]) -> None:
        """Sort some files. Raises `DiskError`."""
        entries = []
        for name, answer in found:
            source = _resolved(name)
            if not source.is_file():
                self.done.missing += 1
                continue
            folder = self._rules.folder_of(answer, self._names)
            entry: dict[str, Any] = {
                "from": str(source),
                "to": f"{folder}/{self._free_name(folder, source)}",
                "way": self._rules.way,
            }
            if isinstance(answer, Prediction):
                entry |= {"label": answer.label, "probability": round(answer.probability, 6)}
            entries.append(entry)
        try:
            self._note(entries)
            for entry in entries:
                if _put(Path(entry["from"]), self.folder / entry["to"], self._rules.way):
                    self.done.files += 1
                    self.done.folders[entry["to"].split("/")[0]] += 1
                else:
                    self.done.missing += 1
        except OSError as error:
            raise disk_error(Path(error.filename or self.folder), error) from None

    def _free_name(self, folder: str, source: Path) -> str:
        """Return a name that no file in the folder has, on any system."""
        if folder not in self._taken:
            there = (self.folder / folder).iterdir() if (self.folder / folder).is_dir() else ()
            self._taken[folder] = {path.name.casefold() for path in there}
        taken, name, number = self._taken[folder], source.name, 1
        while name.casefold() in taken:
            number += 1
            name = f"{source.stem}-{number}{source.suffix}"
        taken.add(name.casefold())
        return name

    def _note(self, entries: Sequence[Mapping[str, Any]]) -> None:
        lines = "".join(json.dumps(entry, ensure_ascii=True) + "\n" for entry in entries)
        self._log.write(lines.encode())
        self._log.flush()
        os.fsync(self._log.fileno())


def read_log(folder: Path) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the rules and the entries of a folder's log; a torn last line is dropped.

    Raises `DataError` where it is damaged.
    """
    path = folder / LOG
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None, []
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        os.truncate(path, len(whole))
    try:
        rows = [json.loads(line) for line in whole.splitlines()]
        if rows and not rows[0].keys() >= {"model", "way"}:
            raise ValueError
        for row in rows[1:]:
            if not all(isinstance(row[key], str) for key in ("from", "to", "way")) or not _is_inside(row["to"]):
                raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise DataError(
            f"{path}: this log of sorted files is damaged, or not whatsit's; mend it, or move it away"
        ) from None
    return (rows[0] if rows else None), rows[1:]


@dataclass
class Undone:
    """What was undone."""

    files: int = 0
    kept: list[str] = field(default_factory=list)  # targets that stay, each with the reason


def undo(folder: str | Path) -> Undone:
    """Put moved files back exactly where they were, and remove copies and links.

    What has changed since stays, and its line in the log too.

    Raises:
        UsageError: the folder has no log. DataError: it is damaged. DiskError: a file cannot be moved or removed.
    """
    folder = Path(folder).absolute()
    if not (folder / LOG).is_file():
        raise UsageError(f"{folder}: nothing was sorted there (no {LOG})")
    result, left = Undone(), []
    try:
        lock = _locked(folder)
        with _released_on_error(lock):
            head, entries = read_log(folder)
            for entry in reversed(entries):
                reason = _take_back(Path(entry["from"]), folder / entry["to"], entry["way"])
                if reason:
                    result.kept.append(f"{entry['to']}: {reason}")
                    left.append(entry)
                else:
                    result.files += 1
            for name in {entry["to"].split("/")[0] for entry in entries}:
                with contextlib.suppress(OSError):  # it holds something else
                    (folder / name).rmdir()
            _rewrite(folder / LOG, head or {}, left[::-1])
        lock.release()
    except OSError as error:
        raise disk_error(Path(error.filename or folder), error) from None
    if not left:
        for name in (LOG, _LOCK):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
    return result


def _take_back(source: Path, target: Path, way: str) -> str:
    """Undo one file; return why it stays, or nothing."""
    if not os.path.lexists(target):
        return "" if way != "move" or source.exists() else f"it is no longer there, and neither is {source}"
    if way == "link":
        if not target.is_symlink():
            return "it is no link any more"
        target.unlink()
    elif way == "copy":
        if not source.is_file() or not filecmp.cmp(source, target, shallow=False):
            return f"it is no longer the same as {source}"
        target.unlink()
    elif os.path.lexists(source):
        return f"another file is at {source} now"
    else:
        source.parent.mkdir(parents=True, exist_ok=True)
        _move(target, source)
    return ""


def _put(source: Path, target: Path, way: str) -> bool:
    """Sort one file; return False where it is gone, or may not be read or moved.

    Links are not moved.
    """
    target.parent.mkdir(exist_ok=True)
    try:
        if way == "link":
            target.symlink_to(source)
        elif way == "copy":
            _copy(source, target)
        elif source.is_symlink():
            return False  # it may lead nowhere from another folder
        else:
            _move(source, target)
    except OSError:
        there = os.access(source, os.R_OK) and (way != "move" or os.access(source.parent, os.W_OK))
        if there or os.path.lexists(target):
            raise
        return False
    return True


def _move(source: Path, target: Path) -> None:
    """Move a file, also to another disk."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target, safely=True)
        source.unlink()


def _copy(source: Path, target: Path, *, safely: bool = False) -> None:
    """Copy a file with its times, whole or not at all.

    `safely`: it is on the disk at the end, so that the source may go.
    """
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        shutil.copy2(source, part)
        if safely:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)


def _rewrite(path: Path, head: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> None:
    part = path.with_name(f".{LOG}.part")
    part.write_text("".join(json.dumps(entry) + "\n" for entry in (head, *entries)), encoding="utf-8")
    part.replace(path)


def _locked(folder: Path) -> FileLock:
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UsageError(f"{folder}: another whatsit is sorting into it; wait until it is done") from None
    return lock


@contextmanager
def _released_on_error(lock: FileLock) -> Iterator[None]:
    try:
        yield
    except BaseException:
        lock.release()
        raise


def _resolved(name: str) -> Path:
    """Return the absolute path of a file; a link is not followed."""
    path = Path(name)
    return path.parent.resolve() / path.name


def _is_inside(target: str) -> bool:
    parts = target.split("/")
    return len(parts) == 2 and not {"", ".", ".."} & set(parts) and "\x00" not in target


def _said(rules: Mapping[str, Any]) -> str:
    return f"the model {rules.get('model')} with --{rules.get('way')} and --sure {rules.get('sure')}"
