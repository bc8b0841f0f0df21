"""A supervised child process: what kills it costs one image, never a shard."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from whatsit.errors import WhatsitError
from whatsit.images.locate import MISSING, UNREACHABLE
from whatsit.images.manifest import ImageRow
from whatsit.images.places import PlaceError
from whatsit.scale.child import BLOCK
from whatsit.scale.pipe import ChildEnded, ChildProcess

AHEAD = 4  # blocks that the child has at once, so that it never waits
STALL = 60.0  # seconds without an answer
START = 300.0  # seconds until the model is open
TRIES = 2  # deaths of an image that is run alone, before it is left out
STARTS = 3  # in a row without any answer


class WorkerError(WhatsitError):
    """The process that runs the model cannot be started."""


@dataclass(frozen=True)
class Answered:
    """What the child found for an image."""

    answer: Any = None  # of the work
    digest: str = ""  # SHA-256 of the file, in hex
    data: bytes = b""
    error: str = ""  # why there is no answer
    reason: str = ""  # the same in a word, see `ImageError`


@dataclass(frozen=True)
class Task:
    """What a child does: a name of `child.RUNNERS`, and its settings."""

    work: str
    settings: Mapping[str, Any]
    root: str  # of relative addresses
    width: int = 0  # raw bytes of an answer


class Supervisor:
    """A child process, started again where it dies or stalls. For one thread."""

    def __init__(self, task: Task, *, stall: float = STALL, command: Sequence[str] = ()) -> None:
        self._task, self._stall = task, stall
        self._command = tuple(command) or (sys.executable, "-P", "-m", "whatsit.scale.child")
        self._child: ChildProcess | None = None
        self._starting: ChildProcess | None = None  # that is waited for
        self._starts = 0  # that failed since the last answer
        self._why, self._stalled = "", False  # how the child ended last
        self._closed = False
        self._trouble = ""  # with a place, as the child had it last

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child for good, from any thread."""
        self._closed = True
        self._end_child()

    def _end_child(self) -> None:
        child, self._child, starting = self._child, None, self._starting
        for one in (child, starting):
            if one:
                one.end()

    def answer(self, rows: Sequence[ImageRow], progress: Callable[[int], None] = lambda count: None) -> list[Answered]:
        """Return what the child finds for each image.

        `progress` takes numbers of finished ones.

        Raises:
            WorkerError: the child cannot be started.
            PlaceError: eight images in a row cannot be reached, or there is none of a whole shard.
        """
        blocks = [list(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK)]
        found: list[Answered] = []
        while len(found) < len(rows):
            self._require_reachable(found, len(rows))
            number = len(found) // BLOCK
            for answers in self._stream(blocks[number:]):
                found += answers
                progress(len(answers))
                self._require_reachable(found, len(rows))
            if len(found) < len(rows):  # the child died on the next block
                answers = self._one_by_one(blocks[len(found) // BLOCK])
                found += answers
                progress(len(answers))
        if len(found) >= BLOCK and all(one.reason == MISSING for one in found):
            raise PlaceError(
                f"none of {len(found):,} pictures in a row is there, from {rows[0].name} on; put them back, or list them "
                f"again with: whatsit shard"
            )
        return found

    def _require_reachable(self, found: Sequence[Answered], total: int) -> None:
        """Raise `PlaceError` where a whole block could not be reached."""
        last = found[-BLOCK:]
        if last and len(last) >= min(BLOCK, total) and all(one.reason == UNREACHABLE for one in last):
            raise PlaceError(f"the pictures cannot be reached: {self._trouble or last[-1].error}")

    def _one_by_one(self, block: list[ImageRow]) -> list[Answered]:
        """Run each image of a block alone, in its place."""
        found = []
        for place in range(len(block)):
            alone = [row if other == place else None for other, row in enumerate(block)]
            answer: Answered | None = None
            why = ""
            for _ in range(TRIES):
                for answers in self._stream([alone]):
                    answer = answers[place]
                if answer:
                    break
                why = self._why
                if self._stalled:
                    break
            found.append(answer or Answered(error=f"the picture was left out: {why}", reason="model"))
        return found

    def _stream(self, blocks: Sequence[Sequence[ImageRow | None]]) -> Iterator[list[Answered]]:
        """Yield the answers of each block, until the child dies or stalls."""
        child = self._ready()
        waiting: deque[Sequence[ImageRow | None]] = deque()
        todo = iter(blocks)
        try:
            while True:
                while len(waiting) < AHEAD and (block := next(todo, None)) is not None:
                    child.send({"rows": [None if row is None else astuple(row) for row in block]})
                    waiting.append(block)
                if not waiting:
                    return
                answers = self._split(*self._hear(child, self._stall))
                waiting.popleft()
                self._starts = 0
                yield answers
        except ChildEnded as ended:
            self._why, self._stalled = str(ended), ended.stalled
            waiting.clear()
            self._end_child()
        finally:
            if waiting:  # nobody will hear these answers, so the next must not be taken for them
                self._end_child()

    @staticmethod
    def _hear(child: ChildProcess, seconds: float) -> tuple[Any, bytes]:
        """Return what the child says next. Raises `ChildEnded`."""
        heard = child.receive(seconds)
        if heard is None:
            raise ChildEnded(f"reading it and running the model took more than {seconds:g} seconds", stalled=True)
        return heard

    def _split(self, message: Mapping[str, Any], data: bytes) -> list[Answered]:
        self._trouble = message.get("trouble", "")
        found, start = [], 0
        for one in message["answers"]:
            if one is None or "error" in one:
                found.append(Answered(**(one or {})))
                continue
            found.append(Answered(one["answer"], one["digest"], data[start : start + self._task.width]))
            start += self._task.width
        return found

    def _ready(self) -> ChildProcess:
        """Return the child, started where there is none. Raises `WorkerError`."""
        while self._child is None:
            if self._closed:
                raise WorkerError("the work was ended")
            child = self._starting = ChildProcess(self._command)
            try:
                if self._closed:  # meanwhile
                    child.end()
                task = self._task
                child.send({"work": task.work, "settings": dict(task.settings), "root": task.root})
                message, _ = self._hear(child, START)
            except ChildEnded as ended:
                child.end()
                self._starts += 1
                if self._starts >= STARTS:
                    raise WorkerError(f"the process that runs the model cannot be started: {ended}") from None
                continue
            if "error" in message:
                child.end()
                raise WorkerError(message["error"])
            self._child, self._starting = child, None
            if self._closed:  # meanwhile
                self._end_child()
        return self._child
