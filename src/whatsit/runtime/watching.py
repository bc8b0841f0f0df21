"""A watched folder: what arrives is predicted, recorded, written and sent."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from whatsit.errors import ImageError, UsageError
from whatsit.events import Reporter
from whatsit.images.arrivals import Arrivals, Arrived, FolderGoneError, signature_of
from whatsit.images.crop import Crop
from whatsit.images.decode import Source, decode
from whatsit.images.stores import read_linked
from whatsit.runtime.predictor import Overruled, Prediction, Predictor
from whatsit.runtime.sorting import Sorter
from whatsit.runtime.table import Table, as_json
from whatsit.runtime.watch_state import Handled, Message, Run, WatchState

COLUMNS = ("time", "crop")  # of a table, beside those of every table
# Reasons of an `ImageError` that a file that is being written may have.
_PASSING = frozenset(["damaged", "empty", "format", "unreadable"])
_LOT = 32  # files that are recorded at once
_TAIL = 512  # zero bytes at the end of a file whose space was taken before it was written
_NEVER_ZEROS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")  # how files begin that do not end in zeros
_UNKNOWN = ""
_HOUR = 3600 * 10**9  # nanoseconds
EVERY = 0.5  # seconds between two looks at a small folder
_SHARE = 20  # looks at a large one take at most one part in this many of a processor's time,
_MOST_PAUSE = 30.0  # unless the pause would be longer than this


@dataclass(frozen=True)
class Told:
    """An answer, as it is written, posted and printed."""

    id: str
    file: str  # below the folder
    crop: str  # as the user gave it; empty for the whole picture
    time: str  # in UTC
    found: Prediction | ImageError
    is_new: bool = True  # else it is one of a steady source, which was reported before, or is not yet

    def body(self) -> str:
        """Return it as the JSON that is posted."""
        about: dict[str, Any] = {"id": self.id, "file": self.file, "time": self.time}
        if self.crop:
            about["crop"] = self.crop
        reason = {"reason": self.found.reason} if isinstance(self.found, ImageError) else {}
        return json.dumps({**about, **as_json(self.found), **reason})

    @classmethod
    def of(cls, message: Message) -> Told:
        """Return what a recorded message says."""
        about = json.loads(message.body)
        found: Prediction | ImageError
        if "error" in about:
            found = ImageError(about["error"], about["reason"])
        else:
            top = tuple((one["label"], one["probability"]) for one in about["top"])
            overruled = Overruled(**about["overruled"]) if "overruled" in about else None
            found = Prediction(about["label"], about["probability"], about["unknown"], top, overruled=overruled)
        return cls(about["id"], message.name, about.get("crop", ""), about["time"], found)


@dataclass
class Watched:
    """What was answered since the start."""

    images: int = 0
    errors: int = 0
    unknown: int = 0
    labels: Counter[str] = field(default_factory=Counter)  # of the known ones
    undelivered: int = 0  # messages that are kept for the next start


@dataclass(frozen=True)
class Outputs:
    """Where answers go."""

    rows: Table | None = None
    sorter: Sorter | None = None
    is_sent: bool = False  # to a webhook


@dataclass(frozen=True)
class Manner:
    """How files are looked at, and what is reported of them."""

    crops: tuple[Crop, ...] = ()  # each is answered; the whole picture by default
    steady: int = 1  # answers of a source, in a row and the same, before it is reported
    top: int = 5

    def __post_init__(self) -> None:
        if self.steady < 1:
            raise UsageError(f"--steady is a number of answers, 1 or more; received {self.steady}")


@dataclass(frozen=True, eq=False)
class _Part:
    """A file, or a crop of it, that is to be predicted."""

    arrived: Arrived
    digest: bytes
    data: bytes | ImageError
    crop: Crop | None

    def read(self) -> Source:
        """Return what is decoded. Raises `ImageError`."""
        if isinstance(self.data, ImageError):
            raise self.data
        return self.data if self.crop is None else np.ascontiguousarray(self.crop.cut(decode(self.data)))


class Watcher:
    """Answers what arrives in one folder. For one thread."""

    def __init__(
        self,
        predictor: Predictor,
        arrivals: Arrivals,
        state: WatchState,
        outputs: Outputs,
        manner: Manner,
        told: Callable[[Told], None] = lambda one: None,
    ) -> None:
        """Do what an earlier process has recorded and not done; `told` gets every answer."""
        self._predictor, self._arrivals, self._state = predictor, arrivals, state
        self._outputs, self._manner, self._told = outputs, manner, told
        self._runs: dict[str, Run] = {}
        self._files: list[tuple[Arrived, bytes]] = []
        self._answers: list[Told] = []
        self.done = Watched()
        self._write([Told.of(message) for message in state.unwritten()], again=True)
        if outputs.rows:
            outputs.rows.rows.clear()

    def run(
        self,
        pause: Callable[[float], None],
        clock: Callable[[], float],
        answered: Callable[[int], None] | None,
        reporter: Reporter,
    ) -> None:
        """Look again and again, until an exception ends it.

        `pause` waits some seconds, `clock` never jumps, and `answered` gets the number of files of each look.
        """
        is_there, troubles = True, list[str]()
        while True:
            started, worked, count = clock(), time.process_time(), 0
            try:
                count = self.step(started)
                if not is_there:
                    reporter.say(f"{self._arrivals.folder} is there again")
                is_there = True
            except FolderGoneError as error:
                if is_there:
                    reporter.warn(f"{error}; waiting until it comes back")
                is_there = False
            for sentence in self._arrivals.troubles:
                if sentence not in troubles:
                    reporter.warn(f"{self._arrivals.folder}: {sentence}")
            troubles = self._arrivals.troubles
            if answered:
                answered(count)
            # By what it works, as a busy machine or a slow network share takes its time now and then.
            rest = max(clock() - started, (_SHARE - 1) * (time.process_time() - worked))
            pause(EVERY if count else min(max(EVERY, rest), _MOST_PAUSE))

    def step(self, now: float) -> int:
        """Look once; return the number of files that were answered.

        `now` is in seconds, of a clock that never jumps. Raises `FolderGoneError`, and `DiskError` where something
        cannot be written.
        """
        before = self.done.images
        group: list[tuple[_Part, Prediction | ImageError]] = []
        parts = self._parts(self._arrivals.look(now))
        for one in self._predictor.predict_each(parts, _Part.read, top=self._manner.top):
            group.append(one)
            if len(group) == max(1, len(self._manner.crops)):
                self._take(group)
                group = []
        self._flush()
        return self.done.images - before

    def _parts(self, ready: Sequence[Arrived]) -> Iterator[_Part]:
        for arrived in ready:
            path = self._arrivals.folder / arrived.name
            data: bytes | ImageError
            try:
                data = read_linked(path)
            except ImageError as error:
                data = error
            if signature_of(path) != arrived.signature:
                continue  # it changed, or went, meanwhile: the next look sees it
            digest = hashlib.sha256(data).digest() if isinstance(data, bytes) else b""
            if digest and self._is_same(arrived, digest):
                self._state.record([Handled(arrived.name, arrived.signature, digest)])
                self._arrivals.settle(arrived)
            elif not arrived.is_last and isinstance(data, bytes) and _is_unfilled(data):
                self._arrivals.retry(arrived)
            else:
                for crop in self._manner.crops or (None,):
                    yield _Part(arrived, digest, data, crop)

    def _is_same(self, arrived: Arrived, digest: bytes) -> bool:
        """Return whether only the time of a file has changed."""
        if before := self._state.digest(arrived.name):
            return before == digest
        known = self._state.known(arrived.name)  # of a file that was there before all, and was never read
        if known is None or known[0] != arrived.signature[0]:
            return False
        # Disks that keep local times, such as USB sticks, show others in summer, and in another place.
        moved = abs(known[1] - arrived.signature[1])
        return moved % _HOUR == 0 and moved <= 26 * _HOUR

    def _take(self, group: Sequence[tuple[_Part, Prediction | ImageError]]) -> None:
        """Take the answers for a file."""
        arrived, digest = group[0][0].arrived, group[0][0].digest
        passing = any(isinstance(found, ImageError) and found.reason in _PASSING for _, found in group)
        if passing and not arrived.is_last:
            self._arrivals.retry(arrived)
            return
        when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for part, found in group:
            crop = part.crop.text if part.crop else ""
            is_new = self._is_new(arrived.name, crop, found)
            self._answers.append(Told(secrets.token_hex(16), arrived.name, crop, when, found, is_new))
        self._files.append((arrived, digest))
        if len(self._files) >= _LOT:
            self._flush()

    def _is_new(self, name: str, crop: str, found: Prediction | ImageError) -> bool:
        """Count an answer of a source; return whether it is to be told."""
        steady = self._manner.steady
        if steady == 1:
            return True
        if isinstance(found, ImageError):
            return False
        source = f"{name.partition('/')[0] if '/' in name else ''}/{crop}"
        label = _UNKNOWN if found.unknown else found.label
        last = self._runs.get(source) or self._state.run_of(source) or Run(label, 0, None)
        times = last.times + 1 if last.label == label else 1
        is_new = times >= steady and label != last.told
        self._runs[source] = Run(label, min(times, steady), label if is_new else last.told)
        return is_new

    def _flush(self) -> None:
        """Record what was answered, then do what is to be done with it."""
        files, answers = self._files, self._answers
        if not files:
            return
        self._files, self._answers = [], []
        sends = self._outputs.is_sent
        messages = [Message(one.id, one.file, one.body(), sends and one.is_new) for one in answers]
        handled = [Handled(arrived.name, arrived.signature, digest) for arrived, digest in files]
        self._state.record(handled, messages, self._runs)
        for arrived, _ in files:
            self._arrivals.settle(arrived)
        self._write(answers)
        self._state.prune(self._arrivals.holds)
        self.done.images += len(files)
        for one in answers:
            self.done.errors += isinstance(one.found, ImageError)
            if isinstance(one.found, Prediction):
                self.done.unknown += one.found.unknown
                self.done.labels[one.found.label] += not one.found.unknown
            self._told(one)

    def _write(self, answers: Sequence[Told], *, again: bool = False) -> None:
        """Write answers into the table and sort their files; `again` where some may be."""
        rows, sorter = self._outputs.rows, self._outputs.sorter
        to_sort: list[tuple[str, Prediction | ImageError]] = []
        for one in answers:
            if rows and (one.file, one.time, one.crop) not in rows.rows:
                rows.add(one.file, one.found, one.time, one.crop)
            path = str(self._arrivals.folder / one.file)
            if not sorter or (again and sorter.holds(path)):
                continue
            if signature_of(self._arrivals.folder / one.file) == self._state.known(one.file):
                to_sort.append((path, one.found))
            else:  # another file by now, or gone, with the folder perhaps: where it comes back it is sorted
                self._state.forget(one.file)
        if sorter and to_sort:
            sorter.sort(to_sort)
        if answers:
            self._state.written([one.id for one in answers])


def _is_unfilled(data: bytes) -> bool:
    """Return whether a file's space was taken and its end not written yet."""
    return data.startswith(_NEVER_ZEROS) and data.endswith(bytes(_TAIL))
