"""Bad files moved aside, never deleted, with a log that says why; and put back exactly where they were."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from whatsit.errors import DataError, UsageError
from whatsit.files import disk_error, write_text

ENDING = ".quarantine"  # of the folder beside DATA
LOG = "log.jsonl"


@dataclass(frozen=True)
class Moved:
    """A file that was moved aside."""

    name: str  # below DATA
    reason: str
    time: str


def quarantine_folder(data: str | Path) -> Path:
    """The folder beside DATA. Raises `UsageError` where DATA is no folder: files in an archive cannot be moved."""
    folder = Path(data)
    if not folder.is_dir():
        raise UsageError(f"{data}: only files in a folder can be moved aside, this is none")
    whole = folder.resolve()
    return whole.with_name(whole.name + ENDING)


def move_aside(data: str | Path, files: Iterable[tuple[str, str]]) -> list[Moved]:
    """Move files, given as (name below DATA, reason), into the folder beside it, and log them.

    All are logged before the first is moved, so that an interruption leaves nothing that the log does not know.
    Raises `UsageError`, `DiskError`, and `DataError` where a file was moved aside under that name before; nothing is moved then.
    """
    place, root = quarantine_folder(data), Path(data).resolve()
    moved = read_log(data)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = [Moved(name, reason, now) for name, reason in files if _is_below(place, name) and (root / name).is_file()]
    for one in new:
        if (place / one.name).exists():
            raise DataError(
                f"{place / one.name} is there already; put back what was moved aside with --undo, or move it elsewhere"
            )
    if new:
        write_text(place / LOG, "".join(json.dumps(vars(one), ensure_ascii=False) + "\n" for one in [*moved, *new]))
    for one in new:
        _move(root / one.name, place / one.name)
    return new


def put_back(data: str | Path) -> list[Moved]:
    """Move every file of the log back. Raises `UsageError` where nothing was moved, `DataError` where a place is taken."""
    place, root = quarantine_folder(data), Path(data).resolve()
    moved = read_log(data)
    if not moved:
        raise UsageError(f"{data}: nothing was moved aside, so there is nothing to put back")
    for one in reversed(moved):
        source, target = place / one.name, root / one.name
        if not _is_below(root, one.name):
            raise DataError(f"{place / LOG}: '{one.name}' leads out of the folder; this log is not to be trusted")
        if not source.exists():
            continue  # logged, but not moved before an interruption, or put back before one
        if target.exists():
            raise DataError(f"{target} is there already, so {source} was left where it is; move one of them elsewhere")
        _move(source, target)
    (place / LOG).unlink()
    for folder in sorted((path for path in place.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    if not any(place.iterdir()):
        place.rmdir()
    return moved


def read_log(data: str | Path) -> list[Moved]:
    """What was moved aside, in order. Raises `DataError` where the log is damaged."""
    path = quarantine_folder(data) / LOG
    if not path.exists():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return [Moved(str(line["name"]), str(line["reason"]), str(line["time"])) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: this log is damaged, so files cannot be put back by it: {error}") from None


def _is_below(folder: Path, name: str) -> bool:
    return (folder / name).resolve().is_relative_to(folder)


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    except OSError as error:
        raise disk_error(target, error) from None
