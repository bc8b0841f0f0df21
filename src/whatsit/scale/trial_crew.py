"""Processes of this machine that run the trials of a study."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from whatsit.process import processors
from whatsit.scale.pipe import ChildEnded
from whatsit.scale.threads import Stop, run_in_threads
from whatsit.scale.trial_worker import TrialData, TrialWorker
from whatsit.tuning.trial import Job, Outcome, TrialSource

ASK = 10.0  # seconds, after which the source is asked again: other processes may work on the study


class LocalCrew:
    """See `Crew`; no port is opened."""

    shares_features = True

    def __init__(self, data: TrialData, size: int, folder: Callable[[int], Path]) -> None:
        """Take the number of processes, and what names the folder of a trial."""
        self._size, self._folder = size, folder
        self._data = replace(data, processors=max(1, processors() // size))
        self._turn = threading.Condition()  # of the source
        self._stop = Stop()
        self._running = 0
        self._changes = 0  # trials that are finished or lost

    def work(self, source: TrialSource) -> None:
        """See `Crew`. Raises `WorkerError`."""
        workers = [TrialWorker(self._data) for _ in range(self._size)]
        run_in_threads(workers, lambda worker: self._work(source, worker), self._stop)

    def _work(self, source: TrialSource, worker: TrialWorker) -> None:
        while (job := self._next(source)) is not None:
            outcome = self._run(source, worker, job)
            with self._turn:
                self._running -= 1
                self._changes += 1
                if self._stop:
                    return  # the study puts back what was at work
                if isinstance(outcome, Outcome):
                    source.finish(job, outcome)
                else:
                    source.lose(job, outcome)
                self._turn.notify_all()

    def _next(self, source: TrialSource) -> Job | None:
        """Return the next trial, or None where there is none and none can come."""
        with self._turn:
            while not self._stop:
                job = source.next()
                if job is not None:
                    self._running += 1
                    return job
                if not self._running:
                    return None
                self._wait_for_change()
        return None

    def _wait_for_change(self) -> None:
        """Wait until a trial is over; asking the source takes it a while."""
        changes, until = self._changes, time.monotonic() + ASK
        while changes == self._changes and not self._stop and time.monotonic() < until:
            self._turn.wait(1.0)

    def _run(self, source: TrialSource, worker: TrialWorker, job: Job) -> Outcome | str:
        """Return what came of a trial, or how its process died."""
        try:
            worker.begin(job, self._folder(job.number))
            while True:
                said = worker.hear(3600.0)
                if said and said.outcome:
                    return said.outcome
                if said:
                    with self._turn:
                        stop = source.judge(job.number, said.epoch, said.loss)
                    worker.answer(stop=stop)
        except ChildEnded as ended:
            return str(ended)
