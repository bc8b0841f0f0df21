"""A data set on the desk: what `whatsit explore` found in it, and what people decided. Knows nothing of Streamlit."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.errors import DataError, WhatsitError
from whatsit.evaluation.exploration import GROUPS, SINGLE
from whatsit.images.edits import Edit, Key, add_edits, in_force, key_of, read_edits
from whatsit.images.scan import Dataset, Picture
from whatsit.progress import SILENT
from whatsit.verbs.data import scan_data
from whatsit.verbs.explore import explore_folder

KINDS = ("label", *reversed(GROUPS), *SINGLE)  # of findings, in the order in which they are worth a look


@dataclass(frozen=True)
class Item:
    """Pictures that belong together, or one alone, and what was found about them."""

    pictures: tuple[Picture, ...]
    suggested: str = ""  # the label that it likely has
    confidence: float | None = None  # of that
    reason: str = ""  # in English, for files that cannot be read
    name: str = ""  # of such a file


@dataclass(frozen=True)
class Found:
    """What `explore` wrote."""

    items: dict[str, list[Item]]  # by kind
    stale: bool  # DATA has changed since


class Desk:
    """Thread-safe: several people may look through one data set."""

    def __init__(self, data: str | Path) -> None:
        """Read DATA. Raises `UsageError` or `DataError`."""
        self.data = str(data)
        self.dataset: Dataset = scan_data(data, SILENT)
        self.folder = explore_folder(data).resolve()
        self._by_key = {key_of(picture): picture for picture in self.dataset.pictures}
        self._named: dict[str, list[Picture]] = {}
        for picture in self.dataset.pictures:
            self._named.setdefault(picture.name, []).append(picture)
        self._files = {*self._named, *(name for name, _ in self.dataset.unreadable)}
        self._fingerprint = self.dataset.fingerprint()
        self._looking, self._writing = threading.Lock(), threading.Lock()
        self._edits = read_edits(data)
        self._decided = in_force(self._edits)
        self._found: tuple[float, Found] | None = None

    @property
    def edits(self) -> list[Edit]:
        """All decisions, in order."""
        return list(self._edits)

    def decided(self) -> dict[Key, Edit]:
        """The decisions in force."""
        return self._decided

    def label_of(self, picture: Picture) -> str:
        """As decided; empty for a picture that is left out."""
        edit = self.decided().get(key_of(picture))
        if edit is None or edit.action == "confirm":
            return picture.label
        return edit.label if edit.action == "label" else ""

    def counts(self) -> dict[str, int]:
        """How many pictures each class has, as decided."""
        decided, found = self.decided(), self.found()
        unreadable = {item.name for item in found.items.get("unreadable", ())} if found else set()
        counts = Counter(picture.label for picture in self.dataset.pictures if picture.name not in unreadable)
        for key, edit in decided.items():
            if key in self._by_key and edit.image not in unreadable and edit.action in ("label", "exclude"):
                counts[self._by_key[key].label] -= 1
                counts[edit.label] += edit.action == "label"
        return {label: counts[label] for label in self.dataset.classes}

    def of(self, label: str) -> list[Picture]:
        """The pictures of a class, as decided."""
        decided = self.decided()
        moved = {key: edit.label for key, edit in decided.items() if edit.action in ("label", "exclude")}
        return [picture for picture in self.dataset.pictures if moved.get(key_of(picture), picture.label) == label]

    def decide(self, keys: Iterable[Key], action: str, label: str = "") -> None:
        """Write a decision, or that it is taken back, about each of these pictures.

        Raises `DataError` where the label is none of the classes, and `DiskError`.
        """
        if action == "label" and label not in self.dataset.classes:
            raise DataError(f"'{label[:50]}' is none of the classes")
        with self._writing:
            add_edits(self.data, [Edit(*key, action, label if action == "label" else "") for key in keys])
            self._edits = read_edits(self.data)
            self._decided = in_force(self._edits)

    def found(self) -> Found | None:
        """What was found; None where nobody has looked yet."""
        path = self.folder / "explore.json"
        try:
            written = path.stat().st_mtime
            if self._found is None or self._found[0] != written:
                self._found = written, self._read(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return self._found[1]

    def _read(self, document: dict[str, Any]) -> Found:
        items: dict[str, list[Item]] = {}
        for finding in document["findings"]:
            names, labels = finding["images"], finding.get("labels", ())
            pictures = [self._picture(name, label) for name, label in zip(names, labels, strict=False)]
            there = tuple(dict.fromkeys(picture for picture in pictures if picture))
            if there or (
                finding["kind"] == "unreadable" and names[0] in self._files
            ):  # what has left DATA is no matter
                item = Item(there, finding.get("suggested", ""), finding.get("confidence"), finding["reason"], names[0])
                items.setdefault(finding["kind"], []).append(item)
        kinds = [kind for kind in KINDS if kind in items]
        stale = document.get("fingerprint") != self._fingerprint
        return Found({kind: items[kind] for kind in kinds}, stale)

    def _picture(self, name: str, label: str) -> Picture | None:
        named = self._named.get(name, [])
        of_label = (picture for picture in named if label in (self.label_of(picture), picture.label))
        return next(of_label, named[0] if named else None)

    def open_items(self, kind: str) -> list[Item]:
        """What was found of a kind and nobody has decided about."""
        found, decided = self.found(), self.decided()
        return [one for one in (found.items.get(kind, ()) if found else ()) if _is_open(one, decided)]

    def look(self) -> None:
        """Look through all pictures, as `whatsit explore` does, in a process of its own: it needs what the app does not load.

        Raises `WhatsitError` with its words where it fails.
        """
        command = [
            sys.executable,
            "-P",
            "-m",
            "whatsit.apps.cli",
            "explore",
            "--out",
            str(self.folder),
            "--",
            self.data,
        ]
        with self._looking:
            done = subprocess.run(  # noqa: S603 - our own
                command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
            )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise WhatsitError(lines[-1].removeprefix("whatsit: ") if lines else "whatsit explore ended without a word")


def _is_open(item: Item, decided: dict[Key, Edit]) -> bool:
    """Whether it needs a look still: of a group at least two must be left, one of them undecided."""
    edits = [decided.get(key_of(picture)) for picture in item.pictures]
    if len(edits) > 1:
        edits = [edit for edit in edits if edit is None or edit.action != "exclude"]
        return len(edits) > 1 and None in edits
    return not edits or None in edits


_offered: list[str] = []
_opened: dict[str, Desk] = {}
_opening = threading.Lock()


def offer_data(data: str | None) -> None:
    """Put DATA on the desk, or nothing. Raises `UsageError` where there is no such data."""
    _offered[:] = [] if data is None else [data]
    open_desk()


def has_data() -> bool:
    """Whether there is anything on the desk."""
    return bool(_offered)


def open_desk() -> Desk | None:
    """The desk, opened once for all visitors; None where no data were offered. Raises `UsageError` or `DataError`."""
    if not _offered:
        return None
    with _opening:
        if _offered[0] not in _opened:
            _opened[_offered[0]] = Desk(_offered[0])
        return _opened[_offered[0]]


def renew_desk() -> None:
    """Read DATA anew the next time: pictures have come or gone."""
    with _opening:
        _opened.clear()
