"""Files sorted into folders by their predictions, by a log of it.

What a line of the log says is done where its target is there; so an interrupted sorting continues, and nothing is lost at any
moment.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from whatsit.errors import ImageError, UsageError
from whatsit.files import copy_file, disk_error, move_file
from whatsit.images.arrivals import ABSENT, Signature, signature_of
from whatsit.runtime.predictor import Prediction
from whatsit.runtime.sorted_log import LOG, Entry, LogWriter, is_copy, locked, read_log, signature_in

UNKNOWN, UNSURE, UNREADABLE = "unknown", "unsure", "unreadable"
WAYS = ("copy", "move", "link")
MOST = 200  # bytes of a folder's name, of which systems take 255
_MOST_NAME = 255  # bytes of a file's name
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
    taken, names = {_alike(LOG)}, dict[str, str]()
    for key in (*(f"={label}" for label in classes), UNKNOWN, UNSURE, UNREADABLE):
        name = _REFUSED.sub("_", key.removeprefix("=")).encode()[:MOST].decode(errors="ignore").rstrip(". ") or "_"
        name = f"_{name}" if _DEVICES.fullmatch(name) or name.startswith(".") else name
        base, number = name, 1
        while _alike(name) in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(_alike(name))
        names[key] = name
    return names


@dataclass
class Sorted:
    """What was sorted."""

    files: int = 0
    earlier: int = 0  # files that an earlier run had sorted
    folders: Counter[str] = field(default_factory=Counter)
    missing: int = (
        0  # files that are gone, have changed meanwhile, or may not be read or moved, and links that were to be moved
    )


class Sorter:
    """Sorts files into a folder; a context manager, for one thread."""

    def __init__(self, folder: str | Path, rules: Rules, classes: Sequence[str]) -> None:
        """Open the folder, or make it.

        Raises `UsageError` where it was sorted by other rules or is being sorted, `DiskError` where it cannot be written.
        """
        self.folder, self._rules = Path(folder).absolute(), rules
        self._names = folder_names(classes)
        self._taken: dict[str, set[str]] = {}
        self._asked: dict[str, Signature] = {}  # files, as they were when `wants` was asked
        self.done = Sorted()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock, self._place = locked(self.folder), self.folder.resolve()
            with _released_on_error(self._lock):
                head, entries = read_log(self.folder)
                if head is not None and head != asdict(rules):
                    raise UsageError(
                        f"{self.folder}: it was sorted by {_said(head)}, now {_said(asdict(rules))} is asked for; choose another "
                        f"folder, or undo it first with --undo"
                    )
                self._prepare()
                self._earlier = {one["from"]: one for one in entries if os.path.lexists(self.folder / one["to"])}
                self._log = LogWriter(self.folder)
                if head is None:
                    self._log.write([asdict(rules)])
        except OSError as error:
            raise disk_error(self.folder, error) from None

    def __enter__(self) -> Sorter:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self._lock.release()

    def wants(self, name: str) -> bool:
        """Return whether a file is to be sorted, as it is now.

        Not what lies in the folder already, what an earlier run has sorted, or what was asked for already.
        """
        path = _resolved(name)
        if path.is_relative_to(self._place) or str(path) in self._asked:
            return False
        self._asked[str(path)] = signature_of(path)
        earlier = self.holds(name)
        self.done.earlier += earlier
        return not earlier

    def holds(self, name: str) -> bool:
        """Return whether this very file, with these contents, was sorted.

        What a killed process has moved to another disk, but not removed here, is removed.
        """
        source = _resolved(name)
        entry, now = self._earlier.get(str(source)), signature_of(source)
        if entry is None:
            return False
        target, recorded, way = self.folder / entry["to"], signature_in(entry), self._rules.way
        if way == "move":
            if now == ABSENT:
                return True
            if source.is_symlink() or recorded not in (None, now) or not is_copy(source, target):
                return False
            source.unlink()
            return True
        return recorded in (None, now) or (way == "copy" and is_copy(source, target))

    def _prepare(self) -> None:
        """Remove half-written copies, of a run that was killed.

        Raises `UsageError` for folders that are elsewhere, where nothing could be undone.
        """
        for name in self._names.values():
            if (self.folder / name).is_symlink():
                raise UsageError(
                    f"{self.folder / name}: this is a link; sort into a folder without links, or remove it"
                )
            for path in (self.folder / name).glob(".*.part"):
                if _PART.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def sort(self, found: Sequence[tuple[str, Prediction | ImageError]]) -> None:
        """Sort some files, unless they are other ones since `wants`. Raises `DiskError`."""
        entries = list[Entry]()
        for name, answer in found:
            source = _resolved(name)
            now = signature_of(source)
            if not source.is_file() or self._asked.get(str(source), now) != now:
                self.done.missing += 1
                continue
            entries.append(self._entry(source, now, answer))
        try:
            self._log.write(entries)
            for entry in entries:
                self._do(entry)
        except OSError as error:
            raise disk_error(Path(error.filename2 or error.filename or self.folder), error) from None

    def _entry(self, source: Path, now: Signature, answer: Prediction | ImageError) -> Entry:
        """Return the line of the log about a file."""
        folder, way = self._rules.folder_of(answer, self._names), self._rules.way
        linked = self._earlier.get(str(source)) if way == "link" else None
        is_there = linked is not None and linked["to"].split("/")[0] == folder
        to = linked["to"] if linked and is_there else f"{folder}/{self._free_name(folder, source)}"
        entry: Entry = {"from": str(source), "to": to, "way": way, "bytes": now[0], "changed": now[1]}
        if isinstance(answer, Prediction):
            entry |= {"label": answer.label, "probability": round(answer.probability, 6)}
        return entry

    def _do(self, entry: Entry) -> None:
        """Do what a line of the log says. Raises `OSError`."""
        source, target, way = Path(entry["from"]), self.folder / entry["to"], self._rules.way
        before = self._earlier.get(entry["from"]) if way == "link" else None
        if (before is None or before["to"] != entry["to"]) and not _put(source, target, way):
            self.done.missing += 1
            return
        self.done.files += 1
        self.done.folders[entry["to"].split("/")[0]] += 1
        if way == "link":  # which shows what is there now, also where the earlier answer was about something else
            if before and before["to"] != entry["to"] and (self.folder / before["to"]).is_symlink():
                (self.folder / before["to"]).unlink()
            self._earlier[entry["from"]] = entry

    def _free_name(self, folder: str, source: Path) -> str:
        """Return a name that no file in the folder has, on any system."""
        if folder not in self._taken:
            there = (self.folder / folder).iterdir() if (self.folder / folder).is_dir() else ()
            self._taken[folder] = {_alike(path.name) for path in there}
        taken, name, number = self._taken[folder], source.name, 1
        while _alike(name) in taken or os.path.lexists(self.folder / folder / name):
            number += 1
            name = _numbered(source, number)
        taken.add(_alike(name))
        return name


def _put(source: Path, target: Path, way: str) -> bool:
    """Sort one file; return False where it is gone, or may not be read or moved.

    Links are not moved.
    """
    target.parent.mkdir(exist_ok=True)
    try:
        if way == "link":
            target.symlink_to(source)
        elif way == "copy":
            copy_file(source, target)
        elif source.is_symlink():
            return False  # it may lead nowhere from another folder
        else:
            move_file(source, target)
    except OSError:
        there = os.access(source, os.R_OK) and (way != "move" or os.access(source.parent, os.W_OK))
        if there or os.path.lexists(target):
            raise
        return False
    return True


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


def _alike(name: str) -> str:
    """Return what is the same for names that are one file on some system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _numbered(source: Path, number: int) -> str:
    """Return a file's name with a number, no longer than names may be."""
    stem, end = source.stem, f"-{number}{source.suffix}"
    while stem and len(os.fsencode(stem + end)) > _MOST_NAME:
        stem = stem[:-1]
    return stem + end


def _said(rules: Mapping[str, Any]) -> str:
    return f"the model {rules.get('model')} with --{rules.get('way')} and --sure {rules.get('sure')}"
