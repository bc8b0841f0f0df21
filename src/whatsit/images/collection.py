"""Collections: folders of classes that grow image by image, by Teach or feedback.

It is DATA as `scan` reads it. Removed images, and those that wait for a label, lie in hidden folders, which `scan` skips.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.errors import DataError, UsageError, WhatsitError
from whatsit.files import disk_error, move, write_bytes, write_text
from whatsit.images.decode import decode, ending_of
from whatsit.images.layout import SPLIT_NAMES
from whatsit.images.names import MAX_LABEL, is_plain
from whatsit.images.walk import DANGLING, HIDDEN_FOLDERS, LeftOut, has_picture_ending, list_folder, pictures_below

REMOVED = ".put-away"
WAITING = ".waiting"
MOST_WAITING = 500  # images; no more are stored until some of them have labels
MOST_LABELS = 1000  # that visitors may add
_OURS = re.compile(r"[0-9a-f]{24}\.[a-z0-9]+")  # names of files that `Collection` wrote


class CollectionFullError(WhatsitError):
    """The limit of files or bytes is reached."""


@dataclass(frozen=True)
class Waiting:
    """An image that waits for its label."""

    path: Path
    answer: str  # the model's prediction
    probability: float
    unknown: bool
    kept: str = ""  # the label under which it is stored, where somebody suggested another


class Collection:
    """A collection of images, thread-safe within one process, with atomic writes."""

    def __init__(self, folder: str | Path, *, most_files: int | None = None, most_bytes: int | None = None) -> None:
        """Name the folder, which is made for the first image.

        At most `most_files` and `most_bytes` of ours lie in it; then, `CollectionFullError` is raised. Raises `UsageError` for an
        empty name, and where the path is no folder.
        """
        if not str(folder).strip():  # `Path` would take it for the current folder
            raise UsageError("DIR is empty; give a folder to keep pictures in")
        self.folder = Path(folder).resolve()
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{folder}: this is not a folder; choose another place")
        self._writing = threading.Lock()
        self._most_files, self._most_bytes = most_files, most_bytes
        self._held: tuple[int, int] | None = None  # files and bytes of ours; counted when first needed

    def labels(self) -> list[str]:
        """Return the classes, sorted, also empty ones."""
        if not self.folder.is_dir():
            return []
        return list_folder(self.folder)[0]

    def left_out(self) -> LeftOut:
        """Return what is no image of a class, or cannot be read. Raises `DataError`."""
        found = LeftOut()
        if self.folder.is_dir():
            for name in pictures_below(self.folder, found):
                if not (self.folder / name).is_file():
                    found.troubles.append((name, DANGLING))
            own = sum((self.folder / name).is_dir() for name in (REMOVED, WAITING))
            found.kinds[HIDDEN_FOLDERS] -= own
            found.kinds = +found.kinds
        return found

    def add_label(self, label: str) -> str:
        """Make a class, return its folder's name. Raises `DataError` for an invalid name."""
        label = self._name(label)
        try:
            (self.folder / label).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(self.folder / label, error) from None
        return label

    def add(self, label: str, data: bytes, *, alone: bool = False) -> Path:
        """Store an image file under a label, once.

        With `alone` it is removed from other labels and from those that wait: the last label holds.

        Raises `ImageError` where it cannot be read, `DataError` for an invalid label, `CollectionFullError`, and `DiskError`.
        """
        decode(data, (32, 32))
        with self._writing:
            path = self.folder / self._name(label) / _file_name(data)
            if not path.exists():
                moves = alone and (self.folder / WAITING / path.name).exists()
                self._take_room(0 if moves else 1, 0 if moves else len(data))
                self.add_label(label)
                write_bytes(path, data)
        if alone:
            for other in self.labels():
                if other != path.parent.name and (self.folder / other / path.name).exists():
                    self.put_away(other, path.name)
            self.settle(path.name, None)
        return path

    def suggest(self, label: str, data: bytes) -> bool:
        """Store an image under a visitor's label; False where it has another.

        It keeps that one, and the suggestion waits for the owner. Raises as `add`.
        """
        decode(data, (32, 32))
        labels = self.labels()
        label = self._name(label)
        if label not in labels and len(labels) >= MOST_LABELS:
            raise CollectionFullError(f"there are {len(labels):,} classes already, which is the most")
        name = _file_name(data)
        kept = next((one for one in labels if one != label and (self.folder / one / name).exists()), None)
        if kept is None:
            self.add(label, data, alone=True)
            return True
        self._wait(data, {"answer": label, "probability": 0.0, "unknown": False, "kept": kept})
        return False

    def _name(self, label: str) -> str:
        """Return the folder of a label; an existing class may have any name."""
        there = label in self.labels() if label and not label.startswith(".") else False
        return label if there else name_of_class(label)

    def pictures(self, label: str) -> list[Path]:
        """Return the images of a class, the newest last."""
        try:
            return _pictures_in(self.folder / self._name(label))
        except OSError:
            return []

    def put_away(self, label: str, name: str = "") -> None:
        """Move an image, or a whole class, into a hidden folder.

        Raises `DataError` or `DiskError`.
        """
        place = self.folder / self._name(label)
        source = place / _plain_name(name) if name else place
        with self._writing:
            target = self.folder / REMOVED / source.relative_to(self.folder)
            number = 1
            while target.exists():
                number += 1
                target = target.with_name(f"{number}-{source.name}")
            if os.path.lexists(source):  # else somebody else was quicker
                move(source, target)

    def let_wait(self, data: bytes, answer: str, probability: float, unknown: bool) -> None:
        """Store an image without a label, with the prediction, for the owner to label.

        It never replaces another. Raises `ImageError`, `CollectionFullError` or `DiskError`.
        """
        name = _file_name(data)
        if any((self.folder / label / name).exists() for label in self.labels()):
            return
        self._wait(data, {"answer": answer, "probability": probability, "unknown": unknown})

    def _wait(self, data: bytes, said: dict[str, Any]) -> None:
        path = self.folder / WAITING / _file_name(data)
        with self._writing:
            if path.exists():
                return
            if len(self._waiting_files()) >= MOST_WAITING:
                raise CollectionFullError(f"{MOST_WAITING:,} pictures wait for their labels already")
            text = json.dumps(said, ensure_ascii=False)
            self._take_room(2, len(data) + len(text.encode()))
            write_text(path.with_suffix(".json"), text)
            write_bytes(path, data)

    def _take_room(self, files: int, size: int) -> None:
        """Count what will be written. Raises `CollectionFullError`."""
        if self._most_files is None or self._most_bytes is None:
            return
        for fresh in (False, True):  # the owner may have made room
            held = self._count() if fresh or self._held is None else self._held
            self._held = held[0] + files, held[1] + size
            if self._held[0] <= self._most_files and self._held[1] <= self._most_bytes:
                return
            self._held = held
        most = f"{self._most_files:,} and {self._most_bytes // 1_000_000:,} MB"
        holds = f"{held[0]:,} files and {held[1] // 1_000_000:,} MB"
        raise CollectionFullError(f"{self.folder.name} holds {holds} already, of at most {most}")

    def _count(self) -> tuple[int, int]:
        """Return the files and bytes of ours, also those removed and those that wait."""
        count = size = 0
        for place, _, names in os.walk(self.folder):
            for name in filter(_OURS.fullmatch, names):
                with contextlib.suppress(OSError):
                    size += Path(place, name).stat().st_size
                    count += 1
        return count, size

    def waiting(self) -> list[Waiting]:
        """Return the images without a label, the least certain predictions first."""
        found = [_read_waiting(path) for path in self._waiting_files()]
        return sorted((one for one in found if one), key=lambda one: (not one.unknown, one.probability))

    def settle(self, name: str, label: str | None) -> None:
        """Label a waiting image, or remove it (None). Raises `DataError` or `DiskError`."""
        path = self.folder / WAITING / _plain_name(name)
        if not path.is_file():
            return
        if label is not None:
            self.add(label, path.read_bytes(), alone=True)
        with self._writing:
            self._held = None
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)

    def _waiting_files(self) -> list[Path]:
        folder = self.folder / WAITING
        return _pictures_in(folder) if folder.is_dir() else []


def name_of_class(label: str) -> str:
    """Return a label as the name of a folder. Raises `DataError` if it cannot be one."""
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
    """Return the images in a folder, the newest last, without links to nothing."""
    found = []
    for name in filter(has_picture_ending, list_folder(folder)[1]):
        with contextlib.suppress(OSError):
            found.append(((folder / name).stat().st_mtime_ns, name))
    return [folder / name for _, name in sorted(found)]


def _plain_name(name: str) -> str:
    if Path(name).name != name or name.startswith("."):
        raise DataError(f"'{name[:80]}' is no picture of this folder")
    return name


def _file_name(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()[:24]}{ending_of(data)}"


def _read_waiting(path: Path) -> Waiting | None:
    try:
        said: Any = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        values = str(said["answer"]), float(said["probability"]), bool(said["unknown"])
        return Waiting(path, *values, kept=str(said.get("kept", "")))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
