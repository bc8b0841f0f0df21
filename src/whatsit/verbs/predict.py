"""`whatsit predict`: what is in these pictures."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from whatsit.errors import DataError, ImageError, UsageError
from whatsit.images.decode import Source
from whatsit.images.stores import read_linked
from whatsit.images.walk import LeftOut, describe, list_folder, pictures_below
from whatsit.progress import SILENT, Reporter
from whatsit.runtime.predictor import Prediction, Predictor


class Answering(Protocol):
    """A Predictor, or a service's model used like one."""

    def predict_each(
        self, items: Iterable[str], read: Callable[[str], Source], *, top: int = 5, coverage: float | None = None
    ) -> Iterator[tuple[str, Prediction | ImageError]]:
        """See `Predictor.predict_each`."""
        ...


def find_pictures(arguments: Iterable[str], left_out: LeftOut, reporter: Reporter = SILENT) -> Iterator[str]:
    """Yield every picture that the arguments name: files, the pictures in folders (by the one walk), and globs.

    What folders hold beside them is counted in `left_out`; what cannot be read in them is reported as a warning.

    Raises:
        UsageError: an argument is empty; at once.
    """
    arguments = list(arguments)
    if not all(argument.strip() for argument in arguments):  # `Path` would take it for the current folder
        raise UsageError("IMAGE is empty; give a picture, a folder or a glob")
    return _found(arguments, left_out, reporter)


def _found(arguments: Iterable[str], left_out: LeftOut, reporter: Reporter) -> Iterator[str]:
    for argument in arguments:
        if _is_folder(argument):
            yield from _in_folder(argument, (), left_out, reporter)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            yield from _by_pattern(argument, left_out, reporter)
        else:
            yield argument


def _by_pattern(pattern: str, left_out: LeftOut, reporter: Reporter) -> Iterator[str]:
    """The files that a pattern stands for, and the pictures in folders that it stands for; itself where it stands for nothing."""
    base, rest = _literal_part(pattern)
    found = 0
    if "**" in rest:
        for name in _in_folder(base, rest, left_out, reporter):
            found += 1
            yield name
    else:
        for name in sorted(glob.glob(os.path.join(glob.escape(base) if base != "." else "", *rest))):  # noqa: PTH118, PTH207 - Path.glob refuses absolute patterns
            found += 1
            if _is_folder(name):
                yield from _in_folder(name, (), left_out, reporter)
            else:
                yield name
    if not found:
        yield pattern


def _literal_part(pattern: str) -> tuple[str, tuple[str, ...]]:
    """The folder at the start of a pattern, whose name may have brackets itself, and the other parts."""
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
    """Whether a name below a folder is one that a pattern stands for, of which `**` is any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        rest = pattern[1:]
        return not rest or any(_matches(parts[place:], rest) for place in range(len(parts)))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _is_folder(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - which answers for any text


def predict(
    model: str | Path | Answering,
    pictures: Iterable[str],
    *,
    top: int = 5,
    coverage: float | None = None,
    runtime: str = "auto",
    reporter: Reporter = SILENT,
) -> Iterator[tuple[str, Prediction | ImageError]]:
    """Answer for each picture that `find_pictures` finds, in order; an unreadable one gets its own error.

    What was left out on the way is reported at the end.

    Raises:
        UsageError: an argument is empty, at once; or no picture was found, at the end. Else as the Predictor does.
    """
    pictures = list(pictures)
    left_out = LeftOut()
    names = find_pictures(pictures, left_out, reporter)
    predictor = Predictor(model, runtime=runtime) if isinstance(model, str | Path) else model
    return _answers(predictor.predict_each(names, _read, top=top, coverage=coverage), pictures, left_out, reporter)


def _answers(
    answers: Iterator[tuple[str, Prediction | ImageError]],
    pictures: list[str],
    left_out: LeftOut,
    reporter: Reporter,
) -> Iterator[tuple[str, Prediction | ImageError]]:
    count = 0
    for one in answers:
        count += 1
        yield one
    passed_over = f"passed over: {describe(left_out.kinds)}" if left_out.kinds else ""
    if not count:
        where = ", ".join(pictures)[:200]
        raise UsageError(f"no pictures that can be read in {where}{passed_over and '; '}{passed_over}")
    if passed_over:
        reporter.say(f"P{passed_over[1:]}")


def _read(name: str) -> bytes:
    if _is_folder(name):
        try:
            list_folder(name)
        except OSError as error:
            raise ImageError(f"the folder cannot be read: {error.strerror or error}") from None
    return read_linked(Path(name))
