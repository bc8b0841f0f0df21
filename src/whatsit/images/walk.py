"""The one walk, which lists the files of a folder for every verb and every app.

1. Links are followed. A link that leads back to a folder on the way is skipped.
2. Hidden files and folders (a dot at the start), and what a NAS, an operating system or an archiver keeps for itself
   (`@eaDir`, `#recycle`, `lost+found`, `__MACOSX`, `Thumbs.db` ...), are counted and never entered. The folder that the
   walk begins in may have any name.
3. What cannot be read (a folder without permission, a link whose target is missing) is named, and the walk continues.
4. The order is that of the names as text, on every machine.

Everything left out is noted in the caller's `LeftOut`.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from whatsit.errors import DataError
from whatsit.images.formats import EXTENSIONS, OUTSIDE_ENDINGS

Identity = tuple[int, int]  # of a folder: its device and its number there

_SYSTEM_FOLDERS = {
    name.casefold(): name
    for name in (
        "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "@tmp", "@__thumb", "@sharebin", "~snapshot",
        "lost+found", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "Network Trash Folder", "Temporary Items",
        "__pycache__",
    )
}  # fmt: skip
_SYSTEM_FILES = {
    name.casefold(): name
    for name in ("Thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "Picasa.ini", "Icon\r")
}
BACK = "links that lead back to a folder above"
SPECIAL = "pipes or devices"
DANGLING = "the link leads to nothing, its target is missing"
UNREADABLE = "the folder cannot be read"
HIDDEN_FOLDERS = "hidden folders"
LINK = "links in the archive"
NO_ENDING = "files without an ending"
NAMED = 5  # names in a message, of many


@dataclass
class LeftOut:
    """The files and folders that a walk left out and why, and the folders it entered."""

    kinds: Counter[str] = field(default_factory=Counter)  # such as `.txt files`
    troubles: list[tuple[str, str]] = field(default_factory=list)  # (name, reason) of folders and links
    folders: list[str] = field(default_factory=list)  # that were entered, below the first
    by_folder: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def count(self, folder: str, kind: str) -> None:
        """Count one file or folder of a kind in a folder."""
        self.kinds[kind] += 1
        self.by_folder[folder][kind] += 1

    def below(self, folder: str) -> Counter[str]:
        """Return what was left out in a folder and below it, by kind."""
        total: Counter[str] = Counter()
        for name, kinds in self.by_folder.items():
            if name == folder or name.startswith(f"{folder}/"):
                total.update(kinds)
        return total

    def sentences(self) -> list[str]:
        """Return a sentence for each of the first troubles, and one for the others."""
        sentences = [f"{name} was skipped: {reason}" for name, reason in self.troubles[:NAMED]]
        if (more := len(self.troubles) - NAMED) > 0:
            sentences.append(f"{more:,} more folders or links that cannot be read were skipped")
        return sentences


def walk(root: str | Path, left_out: LeftOut) -> Iterator[str]:
    """Yield the names of all files below a folder, relative and with `/`, in order.

    A link whose target is missing counts as a file where it has a picture's ending: whoever reads it gets the reason.
    A folder is read when its first file is asked for, so at most the names of the folders on the way are in memory.

    Raises:
        OSError: the folder itself cannot be read.
    """
    start = os.fspath(root)
    todo = [("", _identity(start), iter(_entries(start, "", left_out)))]
    while todo:
        prefix, _, entries = todo[-1]
        name = next(entries, None)
        if name is None:
            todo.pop()
        elif not name.endswith("/"):
            yield prefix + name
        else:
            path = os.path.join(start, prefix + name[:-1])  # noqa: PTH118 - pathlib is ten times as slow
            try:
                identity = _identity(path)
                if any(identity == above for _, above, _ in todo):
                    left_out.count(prefix[:-1], BACK)
                    continue
                inside = _entries(path, prefix + name, left_out)
            except OSError as error:
                left_out.troubles.append((prefix + name[:-1], f"{UNREADABLE}: {error.strerror or error}"))
                continue
            left_out.folders.append(prefix + name[:-1])
            todo.append((prefix + name, identity, iter(inside)))


def pictures_below(root: str | Path, left_out: LeftOut) -> Iterator[str]:
    """Yield the names of `walk` with an image's ending; others are counted by theirs.

    Raises `DataError`.
    """
    try:
        for name in walk(root, left_out):
            if has_picture_ending(name):
                yield name
            else:
                folder, _, last = name.rpartition("/")
                left_out.count(folder, _kind_of(last))
    except OSError as error:
        raise DataError(f"{root}: the folder cannot be read: {error.strerror or error}") from None


def pictures_among(
    names: Iterable[str], left_out: LeftOut, others: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """Yield the images among the names of an archive, by the rules for folders.

    A folder's own name ends in `/`. `others` are names of what is no file, such as links, with their kinds.
    """
    known: dict[str, bool] = {"": True}  # of each folder, whether it would be entered
    met: set[str] = set()  # folders that are not entered

    def is_entered(folder: str) -> bool:
        parts = folder.split("/")
        for place, part in enumerate(parts):
            if kind := _reserved(part, is_folder=True):
                path = "/".join(parts[: place + 1])
                if path not in met:
                    met.add(path)
                    left_out.count("/".join(parts[:place]), kind)
                return False
        left_out.folders.append(folder)
        return True

    for name in names:
        folder, _, last = name.rpartition("/")
        if folder not in known:
            known[folder] = is_entered(folder)
        if not known[folder] or not last:
            continue
        is_picture = has_picture_ending(last)
        kind = others.get(name) or _reserved(last, is_folder=False) or ("" if is_picture else _kind_of(last))
        if not kind:
            yield name
            continue
        left_out.count(folder, kind)
        if kind == LINK and not is_picture:  # it may replace a whole folder
            left_out.troubles.append((name, "it is a link, which is not followed in an archive"))


def list_folder(folder: str | Path) -> tuple[list[str], list[str]]:
    """List the folders and files in one folder, by the same rules. Raises `OSError`."""
    entries = _entries(os.fspath(folder), "", LeftOut())
    folders = sorted(name[:-1] for name in entries if name.endswith("/"))
    return folders, [name for name in entries if not name.endswith("/")]


def has_picture_ending(name: str) -> bool:
    """Return whether a file is an image by the ending of its name."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122 - as above


def describe(kinds: Mapping[str, int]) -> str:
    """Describe counts, such as `3 .svg files (save as JPEG or PNG), 1 hidden file`."""
    ordered = Counter(kinds).most_common()
    words = [f"{count:,} {_one(kind) if count == 1 else kind}{_advice(kind)}" for kind, count in ordered[:6]]
    if others := sum(count for _, count in ordered[6:]):
        words.append(f"{others:,} {'other' if others == 1 else 'others'}")
    return ", ".join(words) or "nothing"


def holds_pictures(kinds: Iterable[str]) -> bool:
    """Return whether some kinds hold images that are not read, such as drawings."""
    return any(kind.removesuffix(" files") in OUTSIDE_ENDINGS for kind in kinds)


def _advice(kind: str) -> str:
    advice = OUTSIDE_ENDINGS.get(kind.removesuffix(" files"))
    return f" ({advice})" if advice else ""


def _one(kind: str) -> str:
    return re.sub(r"\b(file|folder|picture|link|pipe|device)s\b", r"\1", kind).replace(" lead ", " leads ")


def _identity(folder: str) -> Identity:
    info = os.stat(folder)  # noqa: PTH116 - as above
    return info.st_dev, info.st_ino


def _entries(folder: str, prefix: str, left_out: LeftOut) -> list[str]:
    """List a folder, sorted, without what is left out; names of folders end in `/`."""
    names = []
    place = prefix[:-1]
    with os.scandir(folder) as entries:
        while True:
            try:
                entry = next(entries, None)
            except OSError as error:  # of a network drive, halfway
                left_out.troubles.append((place or folder, f"the folder was read only in part: {error.strerror}"))
                break
            if entry is None:
                break
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
                reason = DANGLING
            except OSError as error:
                is_folder = is_file = False
                reason = f"it cannot be looked at: {error.strerror or error}"
            if kind := _reserved(entry.name, is_folder):
                left_out.count(place, kind)
            elif is_folder:
                names.append(f"{entry.name}/")
            elif is_file or (entry.is_symlink() and has_picture_ending(entry.name)):
                names.append(entry.name)
            elif entry.is_symlink():
                left_out.troubles.append((prefix + entry.name, reason))
            else:
                left_out.count(place, SPECIAL)
    names.sort()  # with the `/`, this is the order of the whole names
    return names


def _reserved(name: str, is_folder: bool) -> str | None:
    """Return what a hidden file or one of the system counts as; None for any other."""
    if name.startswith("."):
        return HIDDEN_FOLDERS if is_folder else "hidden files"
    known = (_SYSTEM_FOLDERS if is_folder else _SYSTEM_FILES).get(name.casefold())
    return known and f"{known.strip()} {'folders' if is_folder else 'files'}"


def _kind_of(name: str) -> str:
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 - as above
    return f"{ending} files" if ending else NO_ENDING
