"""Schedulers of shards: processes of this machine.

`ray_actors.py` has the machines of a cluster.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from whatsit.images.manifest import ImageRow, Manifest
from whatsit.images.places import Place
from whatsit.scale.answers import encode
from whatsit.scale.job import part_name
from whatsit.scale.supervise import STALL, Answered, Supervisor, Task
from whatsit.scale.threads import Stop, run_in_threads

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
        todo, lock, stop = iter(items), threading.Lock(), Stop()

        def work(supervisor: Supervisor) -> None:
            while not stop:
                with lock:
                    item = next(todo, _END)
                if isinstance(item, _End):
                    return
                make(item, supervisor)

        run_in_threads([Supervisor(self._task, stall=STALL) for _ in range(self._workers)], work, stop)


class _End:
    """What comes behind the last item."""


_END = _End()
