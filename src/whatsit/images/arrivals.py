"""New pictures in a folder, found by looking at it again and again.

Looking works on every file system, network shares included, where notices of the system do not. A file is new where its size or
its time of change is not what is known of it, so clocks that jump do not matter. It has arrived when it has rested, and its
reader finds it whole: until then it is tried again with growing pauses.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whatsit.errors import DataError, UsageError
from whatsit.images.walk import LeftOut, pictures_below

Signature = tuple[int, int]  # of a file: its bytes, and when it was changed, in nanoseconds
ABSENT: Signature = (-1, -1)  # of what cannot be looked at, such as a link to nothing


class FolderGoneError(DataError):
    """The folder that is looked at is not there, or cannot be read."""


@dataclass(frozen=True)
class Arrived:
    """A new or changed file that rests."""

    name: str  # below the folder, with `/`
    signature: Signature
    is_last: bool  # it has rested for so long that it is not waited for any more


@dataclass
class _Waiting:
    signature: Signature
    since: float  # when it was first seen like this, by a clock that never jumps
    tries: int = 0


class Arrivals:
    """Looks for new pictures below a folder."""

    def __init__(
        self,
        folder: str | Path,
        known: Callable[[str], Signature | None],
        *,
        settle: float = 0.5,
        patience: float = 60.0,
        without: str | Path | None = None,
    ) -> None:
        """Take the folder.

        Args:
            folder: is looked at by the rules of `walk`, which follows links.
            known: returns the signature under which a file was dealt with, in any earlier process too.
            settle: seconds for which a file must rest before it is tried.
            patience: seconds after which a file that rests and is not whole is tried for the last time.
            without: a folder whose files are not looked at.

        Raises `UsageError` for a folder or a time that is none.
        """
        if not str(folder).strip() or (Path(folder).exists() and not Path(folder).is_dir()):
            raise UsageError(f"'{folder}' is no folder; give the folder to watch")
        if without is not None and Path(without).resolve() == Path(folder).resolve():
            raise UsageError(f"{without} is the watched folder itself; sort into another folder")
        for name, seconds in (("--settle", settle), ("--give-up", patience)):
            if not 0 <= seconds < float("inf"):
                raise UsageError(f"{name} is a number of seconds, received {seconds:g}")
        self.folder, self._known = Path(folder), known
        self._settle, self._patience = settle, patience
        self._without = None if without is None else Path(without).resolve()
        self._done: dict[str, Signature] = {}  # of the files that are there
        self._waiting: dict[str, _Waiting] = {}
        self.troubles: list[str] = []  # sentences about what could not be read when it was looked last

    def there(self) -> dict[str, Signature]:
        """Return the pictures that are there. Raises `FolderGoneError`."""
        left_out = LeftOut()
        names = pictures_below(self.folder, left_out)
        if self._without is not None and self._without.is_relative_to(self.folder.resolve()):
            inside = f"{self._without.relative_to(self.folder.resolve()).as_posix()}/"
            names = (name for name in names if not name.startswith(inside))
        try:
            found = {name: signature_of(self.folder / name) for name in names}
        except DataError as error:
            raise FolderGoneError(str(error)) from None
        self.troubles = left_out.sentences()
        return found

    def look(self, now: float) -> list[Arrived]:
        """Return the files to try now, the oldest change first.

        `now` is in seconds, of a clock that never jumps. Raises `FolderGoneError`.
        """
        try:
            there = self.there()
        except FolderGoneError:
            self._done, self._waiting = {}, {}  # nothing is known of what comes back
            raise
        before, waiting = self._waiting, {}
        done: dict[str, Signature] = {}
        for name, signature in there.items():
            last = self._done.get(name) or (None if name in before else self._known(name))
            if last == signature:
                done[name] = signature
                continue
            one = before.get(name)
            waiting[name] = one if one and one.signature == signature else _Waiting(signature, now)
        self._done, self._waiting = done, waiting
        ready = [(name, one) for name, one in waiting.items() if self._rests(one, now)]
        ready.sort(key=lambda pair: (pair[1].signature[1], pair[0]))
        return [Arrived(name, one.signature, now - one.since >= self._patience) for name, one in ready]

    def holds(self, name: str) -> bool:
        """Return whether a file that was dealt with is there."""
        return name in self._done

    def settle(self, arrived: Arrived) -> None:
        """Record that a file was dealt with."""
        self._waiting.pop(arrived.name, None)
        self._done[arrived.name] = arrived.signature

    def retry(self, arrived: Arrived) -> None:
        """Try a file again later, as it is not whole."""
        if one := self._waiting.get(arrived.name):
            one.tries += 1

    def _rests(self, one: _Waiting, now: float) -> bool:
        rest: float = min(self._settle * 2 ** min(one.tries, 20), self._patience)
        return now - one.since >= rest


def signature_of(path: Path) -> Signature:
    """Return the signature of a file, or `ABSENT`."""
    try:
        info = os.stat(path)  # noqa: PTH116 - half the time, for thousands of files each second
    except (OSError, ValueError):
        return ABSENT
    return info.st_size, info.st_mtime_ns
