"""Workers on the machines of a Ray cluster, which is joined and never started.

Actors and not tasks: a plain task on a machine that froze stays pending for ever. Each has one shard at a time and a supervised
process of its own; what an actor was at when it was lost is given to another. At the end idle actors also take what others are
still at, so that one slow machine does not hold up all.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.errors import MissingExtraError, WhatsitError
from whatsit.images.manifest import ImageRow, Manifest
from whatsit.images.places import Place, absolute, open_place
from whatsit.process import environment, silent_descriptor
from whatsit.scale.schedulers import Made, Report, write_part
from whatsit.scale.supervise import Answered, Supervisor, Task, WorkerError
from whatsit.version import __version__

LOSSES = 5  # of actors with the same shard, before it is given up
START = 300.0  # seconds without any worker
LOOK = 10.0  # seconds between two looks at the size of the cluster
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class Worker:
    """What an actor is: a supervised process, on any machine."""

    def __init__(self, version: str, task: dict[str, Any], model: bytes) -> None:
        """Keep the model's file; `task` is that of `Supervisor`.

        Raises `WorkerError` for another version of whatsit.
        """
        if version != __version__:
            raise WorkerError(
                f"a machine of the cluster has whatsit {__version__}, this one {version}; install the same everywhere"
            )
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


@dataclass
class _Slot:
    """An actor, and what it is at."""

    actor: Any
    reference: Any  # of what it is asked; at first whether it is there
    item: int | None = None
    is_there: bool = False


class RayActors:
    """See the module, and `Scheduler`."""

    def __init__(self, address: str, task: Task, model: bytes) -> None:
        """Name the cluster; it is joined when there is work.

        Raises `MissingExtraError`, `WorkerError`.
        """
        try:
            with environment(_QUIET):
                import ray
        except ImportError:
            raise MissingExtraError("work on a Ray cluster", "ray", "ray") from None
        if address == "local":
            raise WorkerError(
                "whatsit joins a Ray cluster and starts none; leave out --ray to work on this machine alone"
            )
        self._ray: Any = ray
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
        with self._joined() as ray:
            crew = _Crew(ray, self._task, self._model)
            try:
                todo, looked, heard = _Items(items), -LOOK, time.monotonic()
                while True:
                    if time.monotonic() - looked >= LOOK:
                        looked = time.monotonic()
                        crew.grow()
                    crew.give(todo, ask)
                    if all(slot.item is None or todo.is_done(slot.item) for slot in crew.slots) and todo.is_empty():
                        return  # though a machine may be frozen with one
                    waiting = {slot.reference: slot for slot in crew.slots if slot.reference is not None}
                    ready = ray.wait(list(waiting), timeout=1.0, fetch_local=False)[0]
                    heard = time.monotonic() if ready else heard
                    if time.monotonic() - heard > START and not any(slot.is_there for slot in crew.slots):
                        raise WorkerError(f"{self._address}: no worker of the cluster started within {START:.0f} s")
                    for reference in ready:
                        yield from self._finish(ray, crew, todo, waiting[reference])
            finally:
                crew.end()

    def _finish(self, ray: Any, crew: _Crew, todo: _Items, slot: _Slot) -> Iterator[tuple[int, Any]]:
        """Take what an actor has done, or replace one that was lost."""
        item, reference = slot.item, slot.reference
        slot.item = slot.reference = None
        try:
            result = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None
        except ray.exceptions.RayError as error:
            crew.replace(slot)
            if item is not None:
                todo.lost(item, error)
            else:
                _raise_if_refused(error)
            return
        slot.is_there = True
        if item is not None and todo.finish(item):
            yield item, result

    @contextmanager
    def _joined(self) -> Iterator[Any]:
        """Join the cluster, unless this process has. Raises `WorkerError`."""
        ray = self._ray
        with silent_descriptor(1), environment(_QUIET):  # Ray prints on stdout in any case
            mine = not ray.is_initialized()
            try:
                if mine:
                    _require_answer(self._address)
                    ray.init(address=self._address, log_to_driver=False, configure_logging=False)
            except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
                raise WorkerError(f"{self._address}: no Ray cluster can be joined there: {_short(error)}") from None
            try:
                yield ray
            finally:
                if mine:
                    ray.shutdown()


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
            raise WorkerError(f"shard {item}: {LOSSES} workers were lost with it: {_short(error)}")
        self._again.append(item)


class _Crew:
    """The actors."""

    def __init__(self, ray: Any, task: Task, model: bytes) -> None:
        self.slots: list[_Slot] = []
        self._ray, self._model = ray, ray.put(model)
        self._task = asdict(replace(task, settings=dict(task.settings)))

    def grow(self) -> None:
        """Have an actor for every processor of the cluster."""
        wanted = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "enable_task_events": False}
        for _ in range(wanted - len(self.slots)):
            actor = self._ray.remote(Worker).options(**options).remote(__version__, self._task, self._model)
            self.slots.append(_Slot(actor, actor.ready.remote()))

    def give(self, todo: _Items, ask: Callable[[Any, int], Any]) -> None:
        """Give every idle actor work, as far as there is any."""
        for slot in self.slots:
            if slot.reference is None:
                item = todo.next([other.item for other in self.slots if other.item is not None])
                if item is None:
                    return
                slot.item, slot.reference = item, ask(slot.actor, item)

    def replace(self, slot: _Slot) -> None:
        """Replace an actor that was lost, where the cluster is still as large."""
        self._ray.kill(slot.actor, no_restart=True)
        self.slots.remove(slot)
        self.grow()

    def end(self) -> None:
        """End all actors, after a moment to tidy up for those that are idle."""
        closing = [slot.actor.close.remote() for slot in self.slots if slot.is_there and slot.item is None]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=3.0, fetch_local=False)
        for slot in self.slots:
            self._ray.kill(slot.actor, no_restart=True)


def _require_answer(address: str) -> None:
    """Raise `OSError` where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _raise_if_refused(error: Any) -> None:
    """Raise what an actor refused to start with, such as another version of whatsit."""
    cause = getattr(error, "cause", None) or error
    if "WorkerError" in str(cause) or "ModuleNotFoundError" in str(cause):
        raise WorkerError(f"a worker of the cluster cannot start: {_short(cause)}")


def _cause(error: Any) -> Exception:
    """Return what was raised in an actor."""
    cause = error.cause
    return cause if isinstance(cause, WhatsitError) else WorkerError(f"a worker failed: {_short(error)}")


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
