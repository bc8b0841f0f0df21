"""One trial: a training that is timed, and stopped where others were better."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from whatsit.errors import UsageError, WhatsitError
from whatsit.events import EpochDone, Event, Progress, Reporter, StageStarted, Work
from whatsit.images.scan import Dataset
from whatsit.run_files import HISTORY
from whatsit.training.clock import Clock
from whatsit.training.history import CHOSEN_BY
from whatsit.training.recipe import Recipe

if TYPE_CHECKING:
    from whatsit.training.trained import Trained

Judge = Callable[[int, float], bool]  # takes an epoch and its loss; returns whether the trial has fallen behind


@dataclass(frozen=True)
class Job:
    """A trial to run."""

    number: int
    recipe: Recipe  # for this trial, not for the whole training
    limit: float | None = None  # seconds
    lowest: float | None = None  # loss so far; a trial that is no better need not say what its whole run would take


@dataclass(frozen=True)
class Costs:
    """What the whole training by a trial's recipe would take."""

    network: str  # that computes the features
    pace: float  # seconds that the shipped network takes an image
    views: int  # of an image that it looks at
    missing: int  # training images of the whole data set whose features no trial has computed


@dataclass(frozen=True)
class Outcome:
    """What came of a trial: losses, an error, or neither where it fell behind."""

    losses: npt.NDArray[np.float64] | None = None  # of each validation image, calibrated, in nats
    accuracy: float | None = None  # in validation
    error: str = ""
    history: str = ""  # the text of its `history.csv`
    seconds: float = 0.0  # in all
    training: float = 0.0  # seconds without reading images and computing features
    looking: float = 0.0  # seconds that features took a training image; 0 where none were computed
    network: str = ""  # that computed them
    costs: Costs | None = None  # where it was asked for

    @property
    def loss(self) -> float | None:
        """The mean of the losses."""
        return None if self.losses is None else float(self.losses.mean())


class TrialSource(Protocol):
    """Gives out trials; for one thread at a time."""

    def next(self) -> Job | None:
        """Return a trial to run.

        None where there is none, at least until another is finished.
        """
        ...

    def judge(self, number: int, epoch: int, loss: float) -> bool:
        """Record the loss of a trial after an epoch; return whether it has fallen behind."""
        ...

    def finish(self, job: Job, outcome: Outcome) -> None:
        """Take what came of a trial."""
        ...

    def lose(self, job: Job, why: str = "") -> None:
        """Put a trial back whose worker was lost.

        With a reason, how its process ended, the trial may be to blame; it is put back only once then.
        """
        ...


class Crew(Protocol):
    """Runs trials."""

    shares_features: bool  # whether all of them find the features that one has computed

    def work(self, source: TrialSource) -> None:
        """Run trials until the source has no more."""
        ...


class TrialRunner:
    """Runs trials on a data set in this process."""

    def __init__(self, whole: Dataset, part: Dataset, reporter: Reporter) -> None:
        """Take the data of the whole training and that of the trials."""
        self._whole, self._part, self._reporter = whole, part, reporter
        self._paces: dict[str, float] = {}

    def run(self, job: Job, folder: Path, judge: Judge) -> Outcome:
        """Train in a folder, which keeps nothing but checkpoints of what was interrupted.

        What fails in a way that other trials may not is an outcome, too.
        """
        from whatsit.models.backend import load_keras

        load_keras()
        from tensorflow.errors import ResourceExhaustedError

        from whatsit.training.context import Context
        from whatsit.training.loop import TrainingError
        from whatsit.training.train import train_by_recipe

        started, plan = time.perf_counter(), job.recipe
        watching = _Watching(self._reporter, judge, "finetune" if plan.finetune_layers else "")
        folder.mkdir(parents=True, exist_ok=True)
        clock = Clock(job.limit, lambda text: None)
        found: dict[str, Any] = {}
        try:
            trained = train_by_recipe(Context(self._part, plan, folder, clock, watching, brief=True, complete=True))
        except FellBehindError:
            pass
        except (TrainingError, UsageError, MemoryError, ResourceExhaustedError) as error:
            is_clear = isinstance(error, WhatsitError)
            found["error"] = str(error) if is_clear else "there is too little memory for it"
        else:
            found["losses"] = np.asarray(trained.losses, np.float64)
            found["accuracy"] = float(trained.best["val_accuracy"])
            found["looking"] = sum(watching.looking.values())
            found["network"] = network_of(trained.recipe)
            is_best = job.lowest is None or float(trained.losses.mean()) <= job.lowest
            if job.limit is not None and is_best:
                found["costs"] = self._costs(trained)
            del trained
        if (folder / HISTORY).is_file():
            found["history"] = (folder / HISTORY).read_text(encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        if job.number % 8 == 7:
            gc.collect()  # a model and its graph hold each other
        return Outcome(seconds=time.perf_counter() - started, training=watching.training, **found)

    def _costs(self, trained: Trained) -> Costs:
        from whatsit.training.context import seconds_per_picture

        network = network_of(trained.recipe)
        if network not in self._paces:
            self._paces[network] = seconds_per_picture(trained.features, trained.dataset, trained.recipe.seed)
        missing = 0
        if trained.frozen is not None:
            whole = self._whole.of("train")
            others = whole.take(~whole.named(self._part.of("train").names()))
            missing = trained.frozen.missing(others, trained.recipe.views)
        return Costs(network, self._paces[network], len(trained.test_views), missing)


def network_of(recipe: Recipe) -> str:
    """Return what names the network that computes a recipe's features."""
    return repr((recipe.model, recipe.size, recipe.features, recipe.filters, recipe.views))


class FellBehindError(Exception):
    """Stop a trial in the middle of its training."""


class _Watching(Reporter):
    """Judge a trial by its epochs, time its work, and pass on its first progress."""

    def __init__(self, reporter: Reporter, judge: Judge, judged: str) -> None:
        self._reporter, self._judge, self._judged = reporter, judge, judged
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
                if judged and self._judge(int(entry["epoch"]), float(entry[CHOSEN_BY])):
                    raise FellBehindError
