"""Schedulers of shards: processes of this machine.

`ray_actors.py` has the machines of a cluster.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from whatsit.images.manifest import ImageRow, Manifest
from whatsit.images.places import Place
from whatsit.scale.answers import encode
from whatsit.scale.job import part_name
from whatsit.scale.supervise import STALL, Answered, Supervisor, Task

Item = TypeVar("Item")


@dataclass(frozen=True)
class Made:
    """Images that were answered."""

    images: int
    errors: int = 0


Report = Callable[[Made], None]


class Scheduler(Protocol):
    """Does all of some work; what a lost worker was at is done again by another."""

    def write_parts(self, manifest: Manifest, place: Place, shards: Iterable[int], report: Report) -> None:
        """Answer these shards and write their parts.

        `report` is called by one thread at a time. Raises the first error that is not an image's own.
        """
        ...

    def answer(self, lots: Sequence[Sequence[ImageRow]], take: Callable[[int, list[Answered]], None]) -> None:
        """Answer lots of images.

        `take` gets each lot's number and answers, in any order, by one thread at a time.
        """
        ...


def write_part(
    manifest: Manifest, place: Place, shard: int, supervisor: Supervisor, progress: Callable[[int], None]
) -> int:
    """Answer the images of a shard and write its part; return the number of errors."""
    rows = manifest.shard(shard)
    answers = supervisor.answer(rows, progress)
    place.write(part_name(shard), encode(rows, answers))
    return sum(bool(one.error) for one in answers)


class LocalPool:
    """A supervised process for each worker, on this machine; it opens no port."""

    def __init__(self, task: Task, workers: int) -> None:
        self._task, self._workers = task, workers

    def write_parts(self, manifest: Manifest, place: Place, shards: Iterable[int], report: Report) -> None:
        """See `Scheduler`."""
        lock = threading.Lock()

        def tell(made: Made) -> None:
            with lock:
                report(made)

        def make(shard: int, supervisor: Supervisor) -> None:
            tell(Made(0, write_part(manifest, place, shard, supervisor, lambda count: tell(Made(count)))))

        self._run(shards, make)

    def answer(self, lots: Sequence[Sequence[ImageRow]], take: Callable[[int, list[Answered]], None]) -> None:
        """See `Scheduler`."""
        lock = threading.Lock()

        def make(number: int, supervisor: Supervisor) -> None:
            answers = supervisor.answer(lots[number])
            with lock:
                take(number, answers)

        self._run(range(len(lots)), make)

    def _run(self, items: Iterable[Item], make: Callable[[Item, Supervisor], None]) -> None:
        todo = _Todo(items)
        supervisors = [Supervisor(self._task, stall=STALL) for _ in range(self._workers)]
        threads = [threading.Thread(target=todo.do, args=(make, one), daemon=True) for one in supervisors]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # Ctrl-C is heard between
        finally:
            todo.stop.set()
            for supervisor in supervisors:
                supervisor.close()
            for thread in threads:
                if thread.ident:
                    thread.join()
        if todo.error:
            raise todo.error


class _Todo(Generic[Item]):
    """Items that threads share, until one of them fails."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._items, self._lock = iter(items), threading.Lock()

    def do(self, make: Callable[[Item, Supervisor], None], supervisor: Supervisor) -> None:
        """Make one item after another."""
        try:
            while not self.stop.is_set():
                with self._lock:
                    item = next(self._items)
                make(item, supervisor)
        except StopIteration:
            pass
        except BaseException as error:
            with self._lock:
                if not self.stop.is_set():
                    self.error = error
            self.stop.set()
