"""The log of edits of a data set: images excluded, relabelled or moved aside.

The log is `DATA.edits.jsonl` beside DATA, a JSON object a line; the last line about an image holds. A decision is about
a file's contents: where the file was replaced since, nothing was decided about the new one. Files that are moved aside lie
in the folder `DATA.quarantine`; they are never deleted, and go back exactly where they were.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whatsit.errors import DataError, UsageError, suggest
from whatsit.files import disk_error, move
from whatsit.images.pictures import Picture, Pictures
from whatsit.images.scan import Dataset

ENDING, ASIDE = ".edits.jsonl", ".quarantine"  # of the log and of the folder, both beside DATA
OLD_LOG = "log.jsonl"  # in that folder: what whatsit 0.1.0 moved aside
DECISIONS = ("label", "confirm", "exclude", "undo")  # another label, right as it is, leave it out, forget the last
MOVES = ("quarantine", "restore")  # the file was moved aside, or back
ACTIONS = (*DECISIONS, *MOVES)

Key = tuple[str, str, str]  # of an image: its name, its label in DATA, the SHA-256 of its file in hex


@dataclass(frozen=True)
class Edit:
    """An edit of one image."""

    image: str  # its name in the data set
    given: str  # its label in DATA; empty for a move
    sha256: str  # of its file, in hex; empty for a move
    action: str  # of ACTIONS
    label: str = ""  # the right one, where the action is `label`
    time: str = ""  # when, in UTC
    reason: str = ""  # of a move

    @property
    def key(self) -> Key:
        """Return the key of the image that it is about."""
        return self.image, self.given, self.sha256


@dataclass(frozen=True)
class Moved:
    """A file that was moved aside."""

    name: str  # below DATA
    reason: str
    time: str


def key_of(picture: Picture) -> Key:
    """Return the key of an image, as DATA has it."""
    return picture.name, picture.label, picture.digest.hex()


def edits_path(data: str | Path) -> Path:
    """Return the path of the log beside DATA."""
    whole = Path(data).resolve()
    return whole.parent / f"{whole.name}{ENDING}"  # the root of a disk has no name


def add_edits(data: str | Path, edits: Iterable[Edit]) -> None:
    """Append edits to the log, with the time. Raises `DiskError`."""
    path = edits_path(data)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    lines = ""
    for edit in edits:
        fields = {name: value for name, value in vars(edit).items() if value or name != "reason"}
        lines += json.dumps(fields | {"time": edit.time or now}, ensure_ascii=False) + "\n"
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
    """Return all decisions, in order. Raises `DataError` where the log is damaged."""
    return [edit for edit in _read_log(data) if edit.action in DECISIONS]


def _read_log(data: str | Path) -> list[Edit]:
    """Return every line of the log but a torn one.

    That was cut short when the computer stopped, and never confirmed to its author. Raises `DataError` where the log is damaged.
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
    """Return whether a line begins as ours do, or is the zeros of lost data."""
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
    """Return the last decision about each image, less those that were undone."""
    last = {edit.key: edit for edit in edits if edit.action in DECISIONS}
    return {key: edit for key, edit in last.items() if edit.action != "undo"}


def apply_edits(dataset: Dataset, edits: Iterable[Edit]) -> Dataset:
    """Return the data set with labels corrected and images excluded, and a note.

    Raises `DataError` where a decision names a class that the data set does not have.
    """
    decided = in_force(edits)
    if not decided:
        return dataset
    path = edits_path(dataset.source)
    wrong = [one for one in decided.values() if one.action == "label" and one.label not in dataset.classes]
    if wrong:
        raise DataError(
            f"{path}: '{wrong[0].label[:50]}', the label of {wrong[0].image}, is none of the classes"
            f"{suggest(wrong[0].label, dataset.classes)}"
        )
    found: list[Edit] = []
    pictures = Pictures.of(_edited(dataset.pictures, decided, found))
    relabelled, excluded = (sum(edit.action == action for edit in found) for action in ("label", "exclude"))
    notes = []
    if relabelled or excluded:
        notes.append(f"labels corrected: {relabelled:,}; pictures left out: {excluded:,}; as {path} says")
    if gone := len(decided) - len({edit.key for edit in found}):
        notes.append(f"decisions about files that have changed or gone, ignored in {path}: {gone:,}")
    return replace(dataset, pictures=pictures, notes=(*dataset.notes, *notes))


def _edited(pictures: Pictures, decided: Mapping[Key, Edit], found: list[Edit]) -> Iterator[Picture]:
    """Yield images as the decisions have them, each once.

    Decisions that were met are added to `found`.
    """
    decided_names = {name for name, _, _ in decided}
    seen: set[tuple[str, str]] = set()
    for picture in pictures:
        if picture.name in decided_names:
            if edit := decided.get(key_of(picture)):
                found.append(edit)
                if edit.action == "exclude":
                    continue
                picture = replace(picture, label=edit.label) if edit.action == "label" else picture
            if (picture.name, picture.label) in seen:
                continue
            seen.add((picture.name, picture.label))
        yield picture


def quarantine_folder(data: str | Path) -> Path:
    """Return the folder of moved files. Raises `UsageError` where DATA is no folder."""
    if not Path(data).is_dir():
        raise UsageError(f"{data}: only files in a folder can be moved aside, and this is not a folder")
    whole = Path(data).resolve()
    return whole.parent / f"{whole.name}{ASIDE}"


def move_aside(data: str | Path, files: Iterable[tuple[str, str]]) -> list[Moved]:
    """Move files, given as (name below DATA, reason), into the folder beside it.

    All are logged before the first is moved, so that an interruption leaves nothing that the log does not know.
    Raises `UsageError`, `DiskError`, and `DataError` where a file was moved aside under that name before; nothing is moved
    then.
    """
    aside, root = quarantine_folder(data), Path(data).resolve()
    moved_aside(data)  # a damaged log is reported before anything is moved
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = [Moved(name, why, now) for name, why in files if _is_below(aside, name) and (root / name).is_file()]
    for one in new:
        if (aside / one.name).exists():
            raise DataError(
                f"{aside / one.name} is there already; put back what was moved aside with --undo, or move it elsewhere"
            )
    if new:
        add_edits(data, [Edit(one.name, "", "", "quarantine", time=now, reason=one.reason) for one in new])
    for one in new:
        move(root / one.name, aside / one.name)
    return new


def put_back(data: str | Path) -> list[Moved]:
    """Move every file back.

    Raises `UsageError` where none was moved aside, `DataError` where an old path is taken.
    """
    aside, root = quarantine_folder(data), Path(data).resolve()
    moved = moved_aside(data)
    if not moved:
        raise UsageError(f"{data}: nothing was moved aside, so there is nothing to put back")
    for one in reversed(moved):
        source, target = aside / one.name, root / one.name
        if not _is_below(root, one.name):
            raise DataError(f"{aside}: '{one.name}' leads out of the folder; its log is not to be trusted")
        if not source.exists():
            continue  # logged, but not moved before an interruption, or put back before one
        if target.exists():
            raise DataError(f"{target} is there already, so {source} was left where it is; move one of them elsewhere")
        move(source, target)
    add_edits(data, [Edit(one.name, "", "", "restore") for one in moved])
    (aside / OLD_LOG).unlink(missing_ok=True)
    for folder in sorted((path for path in (aside, *aside.rglob("*")) if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return moved


def moved_aside(data: str | Path) -> list[Moved]:
    """Return the moved files, in order. Raises `DataError` where a log is damaged."""
    path = quarantine_folder(data) / OLD_LOG
    found: dict[str, Moved] = {}
    try:
        for line in path.read_text(encoding="utf-8").split("\n") if path.exists() else []:
            if line:
                fields = json.loads(line)
                found[str(fields["name"])] = Moved(*(str(fields[name]) for name in ("name", "reason", "time")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: this log is damaged, so files cannot be put back by it: {error}") from None
    for edit in _read_log(data):
        if edit.action == "quarantine":
            found[edit.image] = Moved(edit.image, edit.reason, edit.time)
        elif edit.action == "restore":
            found.pop(edit.image, None)
    return list(found.values())


def _is_below(folder: Path, name: str) -> bool:
    return (folder / name).resolve().is_relative_to(folder)
