"""A folder of class folders that grows by single pictures: brought by a teacher, or by people who say what an answer should be.

It is DATA as `scan` reads it. What is put away, and what waits for a label, lies in hidden folders, which `scan` passes over.
"""

from __future__ import annotations

import hashlib
import json
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.errors import DataError, UsageError
from whatsit.files import disk_error, write_bytes, write_text
from whatsit.images.decode import decode, ending_of
from whatsit.images.layout import SPLIT_NAMES
from whatsit.images.names import MAX_LABEL, is_plain
from whatsit.images.walk import has_picture_ending, list_folder

PUT_AWAY = ".put-away"
WAITING = ".waiting"
MOST_WAITING = 500  # pictures; the oldest make room


@dataclass(frozen=True)
class Waiting:
    """A picture that waits for its label."""

    path: Path
    answer: str  # the model's
    probability: float
    unknown: bool


class Collection:
    """Thread-safe within one process. Every file is written whole or not at all."""

    def __init__(self, folder: str | Path) -> None:
        """The folder is made when the first picture comes. Raises `UsageError` for an empty name, and where something else is."""
        if not str(folder).strip():  # `Path` would take it for the current folder
            raise UsageError("DIR is empty; give a folder to keep pictures in")
        self.folder = Path(folder).resolve()
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{folder}: this is not a folder; choose another place")
        self._writing = threading.Lock()

    def labels(self) -> list[str]:
        """The classes, sorted, also those without pictures yet."""
        if not self.folder.is_dir():
            return []
        return list_folder(self.folder)[0]

    def add_label(self, label: str) -> str:
        """Make a class, and give its name as it is kept. Raises `DataError` where the name will not do."""
        label = self._name(label)
        try:
            (self.folder / label).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(self.folder / label, error) from None
        return label

    def add(self, label: str, data: bytes, *, alone: bool = False) -> Path:
        """Keep a picture, as it is, under a label; one that is there already is kept once.

        With `alone` it is put away where it lies under another label, or waits for one: the last word holds.

        Raises `ImageError` where it cannot be read, `DataError` where the label will not do, and `DiskError`.
        """
        decode(data, (32, 32))
        with self._writing:
            path = self.folder / self.add_label(label) / _file_name(data)
            if not path.exists():
                write_bytes(path, data)
        if alone:
            for other in self.labels():
                if other != path.parent.name and (self.folder / other / path.name).exists():
                    self.put_away(other, path.name)
            self.settle(path.name, None)
        return path

    def _name(self, label: str) -> str:
        """A class that is there already may have any name."""
        there = label in self.labels() if label and not label.startswith(".") else False
        return label if there else name_of_class(label)

    def pictures(self, label: str) -> list[Path]:
        """Of a class, the newest last."""
        try:
            found = _pictures_in(self.folder / self._name(label))
            return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
        except OSError:
            return []

    def put_away(self, label: str, name: str = "") -> None:
        """Take a picture, or a whole class, out; it is kept in a hidden folder. Raises `DataError` or `DiskError`."""
        place = self.folder / self._name(label)
        source = place / _plain_name(name) if name else place
        with self._writing:
            target = self.folder / PUT_AWAY / source.relative_to(self.folder)
            number = 1
            while target.exists():
                number += 1
                target = target.with_name(f"{number}-{source.name}")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)
            except FileNotFoundError:
                return  # somebody else was quicker
            except OSError as error:
                raise disk_error(target, error) from None

    def let_wait(self, data: bytes, answer: str, probability: float, unknown: bool) -> None:
        """Keep a picture that has no label yet for whoever labels it later, with what the model said.

        Raises `ImageError` or `DiskError`.
        """
        path = self.folder / WAITING / _file_name(data)
        said = {"answer": answer, "probability": probability, "unknown": unknown}
        with self._writing:
            if path.exists() or any((self.folder / label / path.name).exists() for label in self.labels()):
                return
            write_text(path.with_suffix(".json"), json.dumps(said, ensure_ascii=False))
            write_bytes(path, data)
            for old in self._waiting_files()[:-MOST_WAITING]:
                old.unlink(missing_ok=True)
                old.with_suffix(".json").unlink(missing_ok=True)

    def waiting(self) -> list[Waiting]:
        """The pictures without a label, those that the model was least sure of first."""
        found = [_read_waiting(path) for path in self._waiting_files()]
        return sorted((one for one in found if one), key=lambda one: (not one.unknown, one.probability))

    def settle(self, name: str, label: str | None) -> None:
        """Give a waiting picture its label, or None to forget it. Raises `DataError` or `DiskError`."""
        path = self.folder / WAITING / _plain_name(name)
        if not path.is_file():
            return
        if label is not None:
            self.add(label, path.read_bytes(), alone=True)
        with self._writing:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)

    def _waiting_files(self) -> list[Path]:
        folder = self.folder / WAITING
        found = _pictures_in(folder) if folder.is_dir() else []
        return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def name_of_class(label: str) -> str:
    """A label as the name of a folder. Raises `DataError` where it cannot be one."""
    label = unicodedata.normalize("NFC", " ".join(label.split()))
    if not label:
        raise DataError("the name of a class is empty")
    if len(label) > MAX_LABEL or len(label.encode()) > 250:
        raise DataError(f"the name '{label[:40]}...' is too long for a folder")
    if not is_plain(label) or any(character in label for character in '/\\:*?"<>|') or label.startswith((".", "-")):
        raise DataError(
            f"the name '{label}' cannot be that of a folder; leave out / \\ : * ? \" < > | and a dot at the start"
        )
    if label.lower() in SPLIT_NAMES:
        raise DataError(f"'{label}' is the name of a part of a data set; call the class otherwise")
    return label


def _pictures_in(folder: Path) -> list[Path]:
    return [folder / name for name in list_folder(folder)[1] if has_picture_ending(name)]


def _plain_name(name: str) -> str:
    if Path(name).name != name or name.startswith("."):
        raise DataError(f"'{name[:80]}' is no picture of this folder")
    return name


def _file_name(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:24]}{ending_of(data)}"


def _read_waiting(path: Path) -> Waiting | None:
    try:
        said: Any = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return Waiting(path, str(said["answer"]), float(said["probability"]), bool(said["unknown"]))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
