"""A source of trials of a small head, which does something in the middle."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

from whatsit.events import SILENT
from whatsit.images.data import open_split
from whatsit.scale import trial_worker
from whatsit.scale.pipe import ChildProcess
from whatsit.scale.ray_trials import TrialActor
from whatsit.scale.trial_worker import TrialData
from whatsit.training.recipe import Recipe, change
from whatsit.tuning.trial import Job, Outcome

SMALL = {"size": 32, "features": "last", "views": ["original"], "test_time_flip": False, "epochs": 3}


QUICK_TRIALS = str(Path(__file__).with_name("quick_trials.py"))


def with_quick_trials() -> AbstractContextManager[object]:
    """Have `TrialWorker` start `quick_trials.py`."""
    command = (sys.executable, "-P", QUICK_TRIALS)

    def start(_: object) -> ChildProcess:
        return ChildProcess(command)

    return mock.patch.object(trial_worker, "ChildProcess", start)


class QuickActor(TrialActor):
    """A `TrialActor` of such trials."""

    def __init__(self, *given: object) -> None:
        with_quick_trials().__enter__()  # for as long as the actor's process is there
        super().__init__(*given)  # type: ignore[arg-type]


def trial_recipe() -> Recipe:
    return change(Recipe(), SMALL, "test")


def trial_data(images: Path, **other: object) -> TrialData:
    fingerprint = open_split(images, SILENT, None, trial_recipe().seed).fingerprint()
    about = {"data": str(images), "limit": None, "fingerprint": fingerprint, "recipe": vars(trial_recipe())}
    return TrialData(**(about | other))


class Scripted:
    """Gives out trials, and keeps what comes of them."""

    def __init__(self, count: int, judge: Callable[[int, int], bool] = lambda number, epoch: False) -> None:
        """`judge` takes a trial and its epoch."""
        self.todo = [Job(number, trial_recipe(), limit=600.0) for number in range(count)]
        self.done: dict[int, Outcome] = {}
        self.lost: list[tuple[int, str]] = []  # numbers, and why the trial may be to blame
        self.judged: list[tuple[int, int]] = []
        self._judge = judge
        self.running = 0

    def next(self) -> Job | None:
        self.running += bool(self.todo)
        return self.todo.pop(0) if self.todo else None

    def judge(self, number: int, epoch: int, loss: float) -> bool:
        assert loss > 0
        self.judged.append((number, epoch))
        return self._judge(number, epoch)

    def finish(self, job: Job, outcome: Outcome) -> None:
        self.running -= 1
        self.done[job.number] = outcome

    def lose(self, job: Job, why: str = "") -> None:
        self.running -= 1
        self.lost.append((job.number, why))
        self.todo.append(job)


def once(do: Callable[[], None]) -> Callable[[int, int], bool]:
    """Return a judge that does something at the first epoch that it hears of."""
    left = [do]

    def judge(number: int, epoch: int) -> bool:
        if left:
            left.pop()()
        return False

    return judge
