"""The pictures that arguments name: files, folders and patterns."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from whatsit.errors import DataError, UsageError
from whatsit.events import SILENT, Reporter
from whatsit.images.walk import LeftOut, pictures_below


def find_pictures(arguments: Iterable[str], left_out: LeftOut, reporter: Reporter = SILENT) -> Iterator[str]:
    """Yield every picture that files, folders and globs name.

    Other files in folders are counted in `left_out`; what cannot be read in them is reported as a warning.

    Raises:
        UsageError: an argument is empty; at once.
    """
    arguments = list(arguments)
    if not all(argument.strip() for argument in arguments):  # `Path` would take it for the current folder
        raise UsageError("IMAGE is empty; give a picture, a folder or a glob")
    return (name for argument in arguments for name in _found(argument, left_out, reporter))


def is_folder(path: str) -> bool:
    """Return whether there is such a folder, for any text."""
    return os.path.isdir(path)  # noqa: PTH112 - which answers for any text


def _found(argument: str, left_out: LeftOut, reporter: Reporter) -> Iterator[str]:
    if is_folder(argument):
        yield from _in_folder(argument, (), left_out, reporter)
    elif not os.path.lexists(argument) and glob.has_magic(argument):
        found = False
        for name in _by_pattern(argument, left_out, reporter):
            found = True
            yield name
        if not found:
            yield argument
    else:
        yield argument


def _by_pattern(pattern: str, left_out: LeftOut, reporter: Reporter) -> Iterator[str]:
    """Yield what a pattern matches, and the pictures in folders that it matches."""
    base, rest = _literal_part(pattern)
    if "**" in rest:
        yield from _in_folder(base, rest, left_out, reporter)
        return
    for name in sorted(glob.glob(os.path.join(glob.escape(base) if base != "." else "", *rest))):  # noqa: PTH118, PTH207 - Path.glob refuses absolute patterns
        if is_folder(name):
            yield from _in_folder(name, (), left_out, reporter)
        else:
            yield name


def _literal_part(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Split a pattern into the existing folder at its start and the other parts."""
    parts = Path(pattern).parts
    count = 0
    while count < len(parts) and (not glob.has_magic(parts[count]) or os.path.lexists(Path(*parts[: count + 1]))):
        count += 1
    return str(Path(*parts[:count])), parts[count:]


def _in_folder(folder: str, pattern: tuple[str, ...], left_out: LeftOut, reporter: Reporter) -> Iterator[str]:
    here = LeftOut()
    try:
        for name in pictures_below(folder, here):
            if not pattern or _matches(tuple(name.split("/")), pattern):
                yield str(Path(folder, name))
    except DataError:
        yield folder  # opening it says what is wrong
    left_out.kinds.update(here.kinds)
    for sentence in here.sentences():
        reporter.warn(f"{folder}: {sentence}")


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether a name matches a pattern; `**` is any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        rest = pattern[1:]
        return not rest or any(_matches(parts[place:], rest) for place in range(len(parts)))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
