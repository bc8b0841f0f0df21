"""A data set under review: what `whatsit explore` found, and what people decided.

Independent of Streamlit.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.apps.own_command import run_command
from whatsit.errors import DataError
from whatsit.evaluation.exploration import GROUPS, SINGLE
from whatsit.events import SILENT
from whatsit.images.data import scan_data
from whatsit.images.edits import Edit, Key, add_edits, in_force, key_of, read_edits
from whatsit.images.pictures import Picture
from whatsit.verbs.explore import explore_folder

KINDS = ("label", *reversed(GROUPS), *SINGLE)  # of findings, the most urgent first


@dataclass(frozen=True)
class Finding:
    """Pictures that belong together, or a single one, and what is wrong with them."""

    pictures: tuple[Picture, ...]
    suggested: str = ""  # the label that it likely has
    confidence: float | None = None  # of that
    reason: str = ""  # in English
    name: str = ""  # of a file that cannot be read


@dataclass(frozen=True)
class Findings:
    """All that `explore` wrote."""

    by_kind: dict[str, list[Finding]]
    is_stale: bool  # DATA has changed since


class DataReview:
    """The review of one data set. Thread-safe: several people may take part."""

    def __init__(self, data: str | Path) -> None:
        """Read DATA. Raises `UsageError` or `DataError`."""
        self.data = str(data)
        self.folder = explore_folder(data).resolve()
        self._exploring, self._writing = threading.Lock(), threading.Lock()
        self.reload()

    def reload(self) -> None:
        """Read DATA again: pictures have come or gone. Raises `UsageError` or `DataError`."""
        with self._writing:
            self.dataset = scan_data(self.data, SILENT)
            self._by_key = {key_of(picture): picture for picture in self.dataset.pictures}
            self._by_name: dict[str, list[Picture]] = {}
            for picture in self.dataset.pictures:
                self._by_name.setdefault(picture.name, []).append(picture)
            self._files = {*self._by_name, *(name for name, _ in self.dataset.unreadable)}
            self._fingerprint = self.dataset.fingerprint()
            self.edits = read_edits(self.data)  # all decisions, in order
            self.decided = in_force(self.edits)
            self._findings: tuple[float, Findings] | None = None  # with the time at which the file was written

    def label_of(self, picture: Picture) -> str:
        """Return the label as decided; empty for a picture that is left out."""
        edit = self.decided.get(key_of(picture))
        if edit is None or edit.action == "confirm":
            return picture.label
        return edit.label if edit.action == "label" else ""

    def counts(self) -> dict[str, int]:
        """Count the pictures of each class, as decided."""
        findings = self.findings()
        unreadable = {one.name for one in findings.by_kind.get("unreadable", ())} if findings else set()
        labels = (self.label_of(picture) for picture in self.dataset.pictures if picture.name not in unreadable)
        counts = Counter(labels)
        return {label: counts[label] for label in self.dataset.classes}

    def of(self, label: str) -> list[Picture]:
        """List the pictures of a class, as decided."""
        return [picture for picture in self.dataset.pictures if self.label_of(picture) == label]

    def decide(self, keys: Iterable[Key], action: str, label: str = "") -> None:
        """Write a decision about each of these pictures; `undo` takes the last one back.

        Raises `DataError` where the label is none of the classes, and `DiskError`.
        """
        if action == "label" and label not in self.dataset.classes:
            raise DataError(f"'{label[:50]}' is none of the classes")
        with self._writing:
            add_edits(self.data, [Edit(*key, action, label if action == "label" else "") for key in keys])
            self.edits = read_edits(self.data)
            self.decided = in_force(self.edits)

    def findings(self) -> Findings | None:
        """Return what `explore` found; None where it has not run yet."""
        path = self.folder / "explore.json"
        try:
            written = path.stat().st_mtime
            if self._findings is None or self._findings[0] != written:
                self._findings = written, self._read(json.loads(path.read_text(encoding="utf-8")))
            return self._findings[1]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None

    def _read(self, document: dict[str, Any]) -> Findings:
        found: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
        for row in document["findings"]:
            kind, names, labels = row["kind"], row["images"], row.get("labels", ())
            pictures = [self._picture(name, label) for name, label in zip(names, labels, strict=False)]
            present = tuple(dict.fromkeys(picture for picture in pictures if picture))
            if kind in found and (present or (kind == "unreadable" and names[0] in self._files)):
                finding = Finding(present, row.get("suggested", ""), row.get("confidence"), row["reason"], names[0])
                found[kind].append(finding)
        is_stale = document.get("fingerprint") != self._fingerprint
        return Findings({kind: findings for kind, findings in found.items() if findings}, is_stale)

    def _picture(self, name: str, label: str) -> Picture | None:
        pictures = self._by_name.get(name, [])
        with_label = (picture for picture in pictures if label in (self.label_of(picture), picture.label))
        return next(with_label, pictures[0] if pictures else None)

    def open_findings(self, kind: str) -> list[Finding]:
        """List the findings of a kind that nobody has decided about."""
        findings = self.findings()
        return [one for one in findings.by_kind.get(kind, ()) if self._is_open(one)] if findings else []

    def _is_open(self, finding: Finding) -> bool:
        """Return whether a finding needs a decision.

        Of a group at least two pictures must be left, one of them undecided.
        """
        edits = [self.decided.get(key_of(picture)) for picture in finding.pictures]
        if len(edits) > 1:
            edits = [edit for edit in edits if edit is None or edit.action != "exclude"]
            return len(edits) > 1 and None in edits
        return not edits or None in edits

    def explore(self) -> None:
        """Run `whatsit explore` in another process: it needs what the app does not load.

        Raises `CommandError` with its message where it fails.
        """
        with self._exploring:
            run_command("explore", "--out", str(self.folder), "--", self.data)
