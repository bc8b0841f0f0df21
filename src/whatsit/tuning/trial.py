"""One trial: a training that is timed, and stopped where others were better."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from whatsit.errors import UsageError, WhatsitError
from whatsit.events import EpochDone, Event, Progress, Reporter, StageStarted, Work
from whatsit.images.scan import Dataset
from whatsit.training.clock import Clock
from whatsit.training.history import CHOSEN_BY
from whatsit.training.recipe import Recipe
from whatsit.tuning.study import Asked

if TYPE_CHECKING:
    from whatsit.training.trained import Trained


class FellBehindError(Exception):
    """Stop a trial in the middle of its training."""


class FailedError(Exception):
    """Say why a trial failed."""


@dataclass(frozen=True)
class Trial:
    """A finished trial."""

    trained: Trained
    seconds: float  # of its training, without reading images and computing features
    looking: float  # seconds that features took a training image; 0 where none were computed


def run_trial(
    asked: Asked, dataset: Dataset, plan: Recipe, folder: Path, limit: float | None, reporter: Reporter
) -> Trial:
    """Train by a plan within a limit in seconds.

    Raises `FellBehindError` where it is worse than others were, `FailedError` where it failed in a way that others may not.
    """
    from whatsit.models.backend import load_keras

    load_keras()
    import tensorflow as tf

    from whatsit.training.context import Context
    from whatsit.training.loop import TrainingError
    from whatsit.training.train import train_by_recipe

    watching = _Watching(reporter, asked, "finetune" if plan.finetune_layers else "")
    folder.mkdir(parents=True, exist_ok=True)
    clock = Clock(limit, lambda text: None)
    try:
        trained = train_by_recipe(Context(dataset, plan, folder, clock, watching, brief=True, complete=True))
    except (TrainingError, UsageError, MemoryError, tf.errors.ResourceExhaustedError) as error:
        reason = str(error) if isinstance(error, WhatsitError) else "there is too little memory for it"
        raise FailedError(reason) from error
    return Trial(trained, watching.training, sum(watching.looking.values()))


class _Watching(Reporter):
    """Judge a trial by its epochs, time its work, and pass on its first progress."""

    def __init__(self, reporter: Reporter, asked: Asked, judged: str) -> None:
        self._reporter, self._asked, self._judged = reporter, asked, judged
        self._first: dict[StageStarted, tuple[float, int]] = {}  # the time and the count of the first progress
        self._since = 0.0
        self.looking: dict[StageStarted, float] = {}  # seconds that features take a training image
        self.training = 0.0  # seconds

    def emit(self, event: Event) -> None:
        """Handle an event of the trial. Raises `FellBehindError`."""
        match event:
            case StageStarted(work=Work.TRAINING):
                self._since = time.perf_counter()
            case Progress(stage, done) if stage.work in (Work.READING, Work.FEATURES):
                if stage not in self._first:  # it is shown only where there is something to do
                    self._reporter.emit(stage)
                    self._first[stage] = time.perf_counter(), done
                began, count = self._first[stage]
                if stage.work == Work.FEATURES and stage.split == "train" and done > count:
                    self.looking[stage] = (time.perf_counter() - began) / (done - count)
                self._reporter.emit(event)
            case EpochDone(entry):
                now = time.perf_counter()
                self.training, self._since = self.training + now - self._since, now
                judged = str(entry["stage"]).startswith(self._judged)
                if judged and self._asked.falls_behind(entry["epoch"], entry[CHOSEN_BY]):
                    raise FellBehindError
