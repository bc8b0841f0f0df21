"""Workers on the machines of a Ray cluster, which is joined and never started.

Each actor has one shard at a time and a supervised
process of its own; what an actor was at when it was lost is given to another. At the end idle actors also take what others are
still at, so that one slow machine does not hold up all.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

from whatsit.images.manifest import ImageRow, Manifest
from whatsit.images.places import Place, absolute, open_place
from whatsit.scale.ray_cluster import (
    Actors,
    Slot,
    cause_of,
    joined,
    raise_if_refused,
    require_cluster,
    require_version,
    short,
)
from whatsit.scale.schedulers import Made, Report, write_part
from whatsit.scale.supervise import Answered, Supervisor, Task, WorkerError
from whatsit.version import __version__

LOSSES = 5  # of actors with the same shard, before it is given up


class Worker:
    """What an actor is: a supervised process, on any machine."""

    def __init__(self, version: str, task: dict[str, Any], model: bytes) -> None:
        """Keep the model's file; `task` is that of `Supervisor`.

        Raises `WorkerError` for another version of whatsit.
        """
        require_version(version)
        self._folder = tempfile.TemporaryDirectory(prefix="whatsit-")
        settings = dict(task["settings"])
        if model:
            path = Path(self._folder.name, "model")
            path.write_bytes(model)
            settings["model"] = str(path)
        self._supervisor = Supervisor(Task(**{**task, "settings": settings}))

    def ready(self) -> None:
        """Return once the actor is there."""

    def close(self) -> None:
        """End the process and remove the model's file.

        Nobody does that for an actor that is killed.
        """
        self._supervisor.close()
        self._folder.cleanup()

    def write_part(self, manifest: str, place: str, shard: int) -> tuple[int, int]:
        """Answer a shard and write its part; return the number of images and of errors."""
        opened = Manifest(open_place(manifest))
        return opened.counts[shard], write_part(opened, open_place(place), shard, self._supervisor, lambda count: None)

    def answer(self, rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        """Answer images."""
        return [asdict(one) for one in self._supervisor.answer([ImageRow(*row) for row in rows])]


class RayActors:
    """See the module, and `Scheduler`."""

    def __init__(self, address: str, task: Task, model: bytes) -> None:
        """Name the cluster; it is joined when there is work.

        Raises `MissingExtraError`, `WorkerError`.
        """
        require_cluster(address)
        self._address, self._task, self._model = address, task, model

    def write_parts(self, manifest: Manifest, place: Place, shards: Iterable[int], report: Report) -> None:
        """See `Scheduler`.

        The actors read the manifest and write the parts, so both must be where all machines see them.
        """
        source, target = absolute(manifest.address.rpartition("/")[0]), absolute(place.address)
        for _, (images, errors) in self._run(
            shards, lambda actor, shard: actor.write_part.remote(source, target, shard)
        ):
            report(Made(images, errors))

    def answer(self, lots: Sequence[Sequence[ImageRow]], take: Callable[[int, list[Answered]], None]) -> None:
        """See `Scheduler`."""
        for number, answers in self._run(
            range(len(lots)), lambda actor, number: actor.answer.remote([astuple(row) for row in lots[number]])
        ):
            take(number, [Answered(**one) for one in answers])

    def _run(self, items: Iterable[int], ask: Callable[[Any, int], Any]) -> Iterator[tuple[int, Any]]:
        """Yield the result for each item once, in any order."""
        with joined(self._address) as ray:
            task = asdict(replace(self._task, settings=dict(self._task.settings)))
            actors = Actors(ray, self._address, Worker, (__version__, task, ray.put(self._model)))
            try:
                todo = _Items(items)
                while True:
                    actors.look()
                    _give(actors, todo, ask)
                    if all(slot.item is None or todo.is_done(slot.item) for slot in actors.slots) and todo.is_empty():
                        return  # though a machine may be frozen with one
                    for slot in actors.wait():
                        yield from self._finish(ray, actors, todo, slot)
            finally:
                actors.end()

    def _finish(self, ray: Any, actors: Actors, todo: _Items, slot: Slot) -> Iterator[tuple[int, Any]]:
        """Take what an actor has done, or replace one that was lost."""
        item, reference = slot.item, slot.reference
        slot.item = slot.reference = None
        try:
            result = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise cause_of(error) from None
        except ray.exceptions.RayError as error:
            actors.replace(slot)
            if item is not None:
                todo.lost(item, error)
            else:
                raise_if_refused(error)
            return
        slot.is_there = True
        if item is not None and todo.finish(item):
            yield item, result


def _give(actors: Actors, todo: _Items, ask: Callable[[Any, int], Any]) -> None:
    """Give every idle actor work, as far as there is any."""
    for slot in actors.slots:
        if slot.reference is None:
            item = todo.next([other.item for other in actors.slots if other.item is not None])
            if item is None:
                return
            slot.item, slot.reference = item, ask(slot.actor, item)


class _Items:
    """The items to do, what was lost, and what is done of those in work."""

    def __init__(self, items: Iterable[int]) -> None:
        self._items, self._again = iter(items), deque[int]()
        self._losses: dict[int, int] = {}
        self._twice: set[int] = set()  # given to two actors, at the end
        self._done: set[int] = set()  # of those
        self._ended = False

    def is_empty(self) -> bool:
        """Return whether there is nothing left to give."""
        return self._ended and not self._again

    def next(self, at: Sequence[int]) -> int | None:
        """Return what was lost, what is next, or one that another is `at` alone."""
        item = self._again.popleft() if self._again else next(self._items, None)
        self._ended = item is None
        if item is None:
            item = next((one for one in at if one not in self._twice), None)
            if item is not None:
                self._twice.add(item)
        return item

    def finish(self, item: int) -> bool:
        """Return whether an item is done for the first time."""
        if item in self._done:
            return False
        if item in self._twice:
            self._done.add(item)
        return True

    def is_done(self, item: int | None) -> bool:
        """Return whether an item that an actor is still at is done, by another."""
        return item in self._done

    def lost(self, item: int, error: Exception) -> None:
        """Do an item again whose actor was lost.

        Raises `WorkerError` where that has happened often.
        """
        if item in self._done:
            return
        self._losses[item] = self._losses.get(item, 0) + 1
        if self._losses[item] >= LOSSES:
            raise WorkerError(f"shard {item}: {LOSSES} workers were lost with it: {short(error)}")
        self._again.append(item)
