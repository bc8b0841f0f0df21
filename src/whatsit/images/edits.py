"""What a person decided about single pictures: written into a log beside the data, which are left alone.

The log is `DATA.edits.jsonl`, a line a decision; the last one about a picture holds. A decision is about a file's contents:
where the file was replaced since, nothing was decided about the new one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whatsit.errors import DataError, suggest
from whatsit.files import disk_error
from whatsit.images.scan import Dataset, Picture

ENDING = ".edits.jsonl"
ACTIONS = ("label", "confirm", "exclude", "undo")

Key = tuple[str, str, str]  # of a picture: its name, its label in DATA, the SHA-256 of its file in hex


@dataclass(frozen=True)
class Edit:
    """A decision about one picture."""

    image: str  # its name in the data set
    given: str  # its label in DATA
    sha256: str  # of its file, in hex
    action: str  # of ACTIONS: another label, right as it is, leave it out, forget what was decided
    label: str = ""  # the right one, where the action is `label`
    time: str = ""  # when, in UTC

    @property
    def key(self) -> Key:
        """Which picture it is about."""
        return self.image, self.given, self.sha256


def key_of(picture: Picture) -> Key:
    """The key of a picture, as DATA has it."""
    return picture.name, picture.label, picture.digest.hex()


def edits_path(data: str | Path) -> Path:
    """The log beside DATA."""
    whole = Path(data).resolve()
    return whole.with_name(whole.name + ENDING)


def add_edits(data: str | Path, edits: Iterable[Edit]) -> None:
    """Write decisions at the end of the log, with the time. Raises `DiskError`."""
    path = edits_path(data)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = "".join(json.dumps(vars(replace(one, time=now)), ensure_ascii=False) + "\n" for one in edits)
    try:
        with path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            torn = file.read(1) not in (b"", b"\n")  # the computer stopped while a line was written
            try:
                file.write(("\n" * torn + lines).encode(errors="backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(path, size)  # all of them or none
                raise
    except OSError as error:
        raise disk_error(path, error) from None


def read_edits(data: str | Path) -> list[Edit]:
    """All decisions, in order. Raises `DataError` where the log is damaged.

    A line that was cut short when the computer stopped is passed over: its author was never told that it was kept.
    """
    path = edits_path(data)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(f"{path}: this log of decisions cannot be read: {error.strerror or error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line.decode(errors="replace")) if line.strip() else None
        except (ValueError, RecursionError):
            if _is_torn(line):
                continue
            raise DataError(f"{path}: line {number} is not valid JSON; mend it, or remove it") from None
        if fields is not None:
            found.append(_edit(fields, f"{path}: line {number}"))
    return found


def _is_torn(line: bytes) -> bool:
    """Whether this is the beginning of one of our lines, or what a file system puts where it lost something."""
    start = b'{"image": '
    return not line.strip(b"\0") or ((line.startswith(start) or start.startswith(line)) and not line.endswith(b'"}'))


def _edit(fields: Any, where: str) -> Edit:
    names = Edit.__dataclass_fields__
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise DataError(f"{where} must be a JSON object of texts, with {', '.join(names)}")
    missing = [name for name in ("image", "given", "sha256", "action") if name not in fields]
    if missing:
        raise DataError(f"{where} lacks '{missing[0]}'")
    edit = Edit(**{name: fields[name] for name in names if name in fields})
    if edit.action not in ACTIONS:
        raise DataError(f"{where}: '{edit.action[:50]}' is no action{suggest(edit.action, ACTIONS)}")
    return edit


def in_force(edits: Iterable[Edit]) -> dict[Key, Edit]:
    """The last decision about each picture, but for those that were taken back."""
    last = {edit.key: edit for edit in edits}
    return {key: edit for key, edit in last.items() if edit.action != "undo"}


def apply_edits(dataset: Dataset, edits: Iterable[Edit]) -> Dataset:
    """The data set as it was decided: other labels, and less what is to be left out. What was done is noted.

    Raises `DataError` where a decision names a class that is none of the data set's.
    """
    decided = in_force(edits)
    if not decided:
        return dataset
    wrong = [one for one in decided.values() if one.action == "label" and one.label not in dataset.classes]
    if wrong:
        raise DataError(
            f"{edits_path(dataset.source)}: '{wrong[0].label[:50]}', the label of {wrong[0].image}, is none of the classes"
            f"{suggest(wrong[0].label, dataset.classes)}"
        )
    kept: dict[tuple[str, str], Picture] = {}
    relabelled = left_out = 0
    found = set()
    for picture in dataset.pictures:
        edit = decided.get(key_of(picture))
        if edit:
            found.add(edit.key)
        if edit and edit.action == "exclude":
            left_out += 1
            continue
        if edit and edit.action == "label":
            relabelled += 1
            picture = replace(picture, label=edit.label)
        kept[picture.name, picture.label] = picture
    note = f"labels corrected: {relabelled:,}; pictures left out: {left_out:,}; as {edits_path(dataset.source)} says"
    notes = [note] if relabelled or left_out else []
    if gone := len(decided) - len(found):
        notes.append(
            f"decisions about files that have changed or gone, passed over in {edits_path(dataset.source)}: {gone:,}"
        )
    return replace(dataset, pictures=tuple(kept.values()), notes=(*dataset.notes, *notes))
