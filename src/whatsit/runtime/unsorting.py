"""Sorted files put back where they were, by the log."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from whatsit.errors import UsageError
from whatsit.files import disk_error, move_file
from whatsit.images.walk import has_picture_ending
from whatsit.runtime.sorted_log import LOCK, LOG, Entry, is_copy, locked, read_log, rewrite_log


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
    if not os.path.lexists(folder / LOG):
        raise UsageError(f"{folder}: nothing was sorted there (no {LOG})")
    result, left = Undone(), list[Entry]()
    try:
        lock = locked(folder)
        try:
            head, entries = read_log(folder)
            for entry in reversed(entries):
                if reason := _take_back(Path(entry["from"]), folder / entry["to"], entry["way"]):
                    result.kept.append(f"{entry['to']}: {reason}")
                    left.append(entry)
                else:
                    result.files += 1
            for name in {entry["to"].split("/")[0] for entry in entries}:
                with contextlib.suppress(OSError):  # it holds something else
                    (folder / name).rmdir()
            rewrite_log(folder, head or {}, left[::-1])
        finally:
            lock.release()
    except OSError as error:
        raise disk_error(Path(error.filename or folder), error) from None
    if not left:
        for name in (LOG, LOCK):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
    return result


def _take_back(source: Path, target: Path, way: str) -> str:
    """Undo one file; return why it stays, or nothing."""
    if not os.path.lexists(target):
        return "" if way != "move" or source.exists() else f"it is no longer there, and neither is {source}"
    if target.parent.is_symlink():
        return f"{target.parent.name} is a link to elsewhere"
    if way == "link":
        if not target.is_symlink():
            return "it is no link any more"
        target.unlink()
    elif way == "copy":
        if not is_copy(source, target):
            return f"it is no longer the same as {source}"
        target.unlink()
    elif os.path.lexists(source):
        return f"another file is at {source} now"
    elif not has_picture_ending(source.name):  # a log from somebody else could put programs anywhere
        return f"{source} is not named like a picture; move it there yourself"
    else:
        source.parent.mkdir(parents=True, exist_ok=True)
        move_file(target, source)
    return ""
