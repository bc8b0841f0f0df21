"""Workers on the machines of a Ray cluster that run the trials of a study.

The study stays with the process that joined the cluster. It asks each actor again and again what its trial says, so that a
machine that froze is noticed by its silence.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from whatsit.scale.pipe import ChildEnded
from whatsit.scale.ray_cluster import (
    LOOK,
    Actors,
    Slot,
    cause_of,
    joined,
    raise_if_refused,
    require_cluster,
    require_version,
)
from whatsit.scale.trial_worker import Said, TrialData, TrialWorker
from whatsit.tuning.trial import Job, TrialSource
from whatsit.version import __version__

PROCESSORS = 2  # of an actor; more hardly make a trial faster
SILENCE = 90.0  # seconds, after which an actor is given up
TURN = 2.0  # seconds that an actor waits for its trial to say something
LOSSES = 3  # of actors with the same trial, after which it may be to blame


class TrialActor:
    """What an actor is: a process that runs trials, on any machine."""

    def __init__(self, version: str, data: dict[str, Any], processors: int) -> None:
        """Take what trials train on. Raises `WorkerError` for another version of whatsit."""
        require_version(version)
        self._worker = TrialWorker(replace(TrialData(**data), processors=processors))
        self._folder = tempfile.TemporaryDirectory(prefix="whatsit-")

    def ready(self) -> None:
        """Return once the actor is there."""

    def close(self) -> None:
        """End the process and remove its folder."""
        self._worker.close()
        self._folder.cleanup()

    def begin(self, job: Job) -> Said | str | None:
        """Begin a trial; return how its process died, where it did."""
        try:
            self._worker.begin(job, Path(self._folder.name, f"{job.number:04d}"))
        except ChildEnded as ended:
            return str(ended)
        return None

    def hear(self, stop: bool | None) -> Said | str | None:
        """Return what the trial says next, or that its process died.

        `stop` answers the epoch that it said last; None where it said none.
        """
        try:
            if stop is not None:
                self._worker.answer(stop=stop)
            return self._worker.hear(TURN)
        except ChildEnded as ended:
            return str(ended)


class RayCrew:
    """See `Crew`."""

    shares_features = False  # each machine has its own

    def __init__(self, address: str, data: TrialData) -> None:
        """Name the cluster; it is joined when there are trials.

        Raises `MissingExtraError`, `WorkerError`.
        """
        require_cluster(address)
        self._address, self._data = address, data
        self._jobs: dict[int, Job] = {}  # that actors are at, by their numbers
        self._asked: dict[Any, float] = {}  # when an actor was asked, by the reference of the answer
        self._losses: Counter[int] = Counter()
        self._changed, self._given = True, 0.0  # since there was no trial to give; when that was

    def work(self, source: TrialSource) -> None:
        """See `Crew`. Raises `WorkerError`."""
        with joined(self._address) as ray:
            actors = Actors(ray, self._address, TrialActor, (__version__, asdict(self._data), PROCESSORS), PROCESSORS)
            try:
                while True:
                    actors.look()
                    if self._may_give():
                        self._give(source, actors.slots)
                    if not self._jobs and not self._changed and any(slot.is_there for slot in actors.slots):
                        return
                    for slot in actors.wait():
                        self._hear(ray, actors, source, slot)
                    for slot in [one for one in actors.slots if self._is_silent(one)]:
                        self._replace(actors, source, slot)
            finally:
                actors.end()

    def _may_give(self) -> bool:
        """Return whether there may be another trial.

        Asking takes a while, which others wait for.
        """
        return self._changed or time.monotonic() - self._given >= LOOK

    def _give(self, source: TrialSource, slots: Iterable[Slot]) -> None:
        """Give every idle actor a trial, as far as there are any."""
        for slot in slots:
            if slot.reference is None and slot.item is None:
                job = source.next()
                if job is None:
                    self._changed, self._given = False, time.monotonic()
                    return
                self._jobs[job.number], slot.item = job, job.number
                self._ask(slot, slot.actor.begin.remote(job))

    def _ask(self, slot: Slot, reference: Any) -> None:
        slot.reference = reference
        self._asked[reference] = time.monotonic()

    def _is_silent(self, slot: Slot) -> bool:
        asked = self._asked.get(slot.reference)
        return asked is not None and time.monotonic() - asked > SILENCE

    def _hear(self, ray: Any, actors: Actors, source: TrialSource, slot: Slot) -> None:
        """Take what an actor answers, and ask it again; replace one that was lost."""
        reference, slot.reference = slot.reference, None
        self._asked.pop(reference, None)
        try:
            said = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise cause_of(error) from None
        except ray.exceptions.RayError as error:
            if slot.item is None:
                raise_if_refused(error)
            self._replace(actors, source, slot)
            return
        slot.is_there = True
        if slot.item is None:
            return
        if isinstance(said, Said) and said.outcome:
            source.finish(self._jobs.pop(slot.item), said.outcome)
            slot.item, self._changed = None, True
        elif isinstance(said, str):
            source.lose(self._jobs.pop(slot.item), said)
            slot.item, self._changed = None, True
        else:
            stop = source.judge(slot.item, said.epoch, said.loss) if isinstance(said, Said) else None
            self._ask(slot, slot.actor.hear.remote(stop))

    def _replace(self, actors: Actors, source: TrialSource, slot: Slot) -> None:
        """Put back the trial of an actor that was lost, and replace it."""
        self._asked.pop(slot.reference, None)
        if slot.item is not None:
            self._losses[slot.item] += 1
            often = f"{LOSSES} machines were lost with it" if self._losses[slot.item] >= LOSSES else ""
            source.lose(self._jobs.pop(slot.item), often)
            self._changed = True
        actors.replace(slot)
