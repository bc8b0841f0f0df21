"""The trials of a study, one after another within its time."""

from __future__ import annotations

import gc
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.errors import UsageError, WhatsitError
from whatsit.events import EpochDone, Event, Progress, Reporter, StageStarted, Work
from whatsit.files import replacing
from whatsit.images.scan import Dataset
from whatsit.images.split import limit as limit_pictures
from whatsit.models.cnn import SCRATCH_MODELS
from whatsit.training.checked import changed
from whatsit.training.clock import AIM, Afterwards, Clock
from whatsit.training.history import CHOSEN_BY
from whatsit.training.knobs import written
from whatsit.training.recipe import Recipe
from whatsit.tuning import space as spaces
from whatsit.tuning.folder import StudyFolder
from whatsit.tuning.study import Asked, Row, Study, write_trials

if TYPE_CHECKING:
    from whatsit.training.trained import Trained

TRIALS = 50  # of heads, where nothing else is said
LIVE_TRIALS = 20  # of networks that are trained live
ENOUGH = 10_000  # training pictures for a trial of a pretrained network
FIRST = 0.35  # of the time, at most, for the first trial, which shows how long the best run will take
MOST_REPEATS = 20  # trials in a row with values that were tried before, after which nothing new is expected
MOST_FAILURES = 3  # after which none is expected to succeed
OVERHEAD = 3.0  # seconds of a trial beside its training
JUDGED_FROM = 0.25  # of a trial's epochs, from which on it may be stopped


class _FellBehindError(Exception):
    """Stop a trial in the middle of its training."""


class _Watching(Reporter):
    """Judge a trial by its epochs, time its work, and pass on the progress of reading and features only."""

    def __init__(self, reporter: Reporter, asked: Asked, judged: str) -> None:
        self._reporter, self._asked, self._judged = reporter, asked, judged
        self._first: dict[StageStarted, tuple[float, int]] = {}  # the time and the count of the first progress
        self._looking: dict[StageStarted, float] = {}
        self._since = 0.0
        self.training = 0.0  # seconds

    @property
    def looking(self) -> float:
        """Return the seconds that features take a training image, of all networks; 0 where none were computed."""
        return sum(self._looking.values())

    def emit(self, event: Event) -> None:
        """Handle an event of the trial. Raises `_FellBehindError` where it is worse than others were."""
        match event:
            case StageStarted(work=Work.TRAINING):
                self._since = time.perf_counter()
            case Progress(stage, done) if stage.work in (Work.READING, Work.FEATURES):
                if stage not in self._first:  # it is shown only where there is something to do
                    self._reporter.emit(stage)
                    self._first[stage] = time.perf_counter(), done
                began, count = self._first[stage]
                if stage.work == Work.FEATURES and stage.split == "train" and done > count:
                    self._looking[stage] = (time.perf_counter() - began) / (done - count)
                self._reporter.emit(event)
            case EpochDone(entry):
                now = time.perf_counter()
                self.training, self._since = self.training + now - self._since, now
                judged = str(entry["stage"]).startswith(self._judged)
                if judged and self._asked.falls_behind(entry["epoch"], entry[CHOSEN_BY]):
                    raise _FellBehindError


class Trials:
    """The trials that this process makes for a study."""

    def __init__(
        self, folder: StudyFolder, dataset: Dataset, after: Afterwards, started: float, reporter: Reporter
    ) -> None:
        """Open the study.

        Args:
            folder: of the study.
            dataset: is split.
            after: what follows the training of the best run.
            started: when the study would have begun without interruptions (`time.perf_counter`).
            reporter: takes events.
        """
        self._folder, self._base, self._reporter = folder, folder.recipe, reporter
        self._whole, self._part = dataset, _for_trials(dataset, folder.recipe)
        self._after, self._started = after, started
        space = spaces.space_from_json(folder.space)
        self._study = Study(
            folder.folder,
            space,
            seed=self._base.seed,
            warmup=round(JUDGED_FROM * spaces.for_trial(self._base).epochs),
            first=spaces.starting_points(self._base, space),
        )
        self._paces: dict[tuple[Any, ...], float] = {}  # seconds that a shipped network takes an image
        self._looking: dict[tuple[Any, ...], float] = {}  # seconds that features take a training image
        self._longest = 0.0  # seconds of a trial, without computing features for the first time
        self._repeats = 0  # trials in a row with values that were tried before
        self._reserved = 0.0  # seconds for the best run

    def recipe_of(self, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe with these values."""
        tuned = changed(self._base, spaces.settings_of(self._base, values), "tuned")
        return replace(tuned, name=f"{self._base.name}-tuned")

    def importance(self) -> dict[str, float]:
        """Return the importance of each key; see `Study.importance`."""
        return self._study.importance()

    def make(self) -> tuple[list[Row], int]:
        """Make trials; return all finished ones, and the number of those that other processes are working on."""
        with self._study.working():
            if not self._folder.is_ending():
                self._make_all()
            others = self._study.requeue_dead()
        return self._study.rows(), others

    def _make_all(self) -> None:
        """Make trials until there are as many as wanted, or there is no time for another."""
        wanted = self._folder.trials or (None if self._folder.seconds else self._enough())
        some, all_ = (len(part.of("train")) for part in (self._part, self._whole))
        if some < all_:
            self._reporter.say(
                f"Trials learn from {some:,} of the {all_:,} training pictures, the chosen recipe from all"
            )
        advance = self._reporter.stage("Trials", Work.TRIALS)
        while True:
            busy = self._study.requeue_dead()
            rows = self._study.rows()
            advance(len(rows), wanted or 0)
            enough = (wanted is not None and len(rows) + busy >= wanted) or self._repeats >= MOST_REPEATS
            if enough or self._study.has_all(rows) or _all_fail(rows) or not self._time_for_another(rows):
                return
            self._make_one(rows, wanted)
            write_trials(self._study.rows(), self._folder.folder / "trials.csv")
            self._folder.note_used(time.perf_counter() - self._started)

    def left(self) -> float:
        """Return the seconds left for trials, without those for the best run; infinite without a time limit."""
        return self._all_left() - self._reserved

    def left_for_best(self) -> float | None:
        """Return the seconds left for the best run; None without a time limit."""
        return None if self._folder.seconds is None else max(self.left() + self._reserved, 1.0)

    def _all_left(self) -> float:
        if self._folder.seconds is None:
            return float("inf")
        return AIM * self._folder.seconds - (time.perf_counter() - self._started)

    def _enough(self) -> int:
        return TRIALS if spaces.longer(self._base) == 1.0 else LIVE_TRIALS

    def _time_for_another(self, rows: Sequence[Row]) -> bool:
        return self.left() > (self._longest if any(row.loss is not None for row in rows) else 0.0)

    def _make_one(self, rows: Sequence[Row], wanted: int | None) -> None:
        from whatsit.models.backend import load_keras

        load_keras()
        import tensorflow as tf

        from whatsit.training.loop import TrainingError

        asked = self._study.ask()
        same = next((row for row in rows if row.values == asked.values), None)
        self._repeats = self._repeats + 1 if same else 0
        if same:
            self._study.tell(asked, same.loss, 0.0, accuracy=same.accuracy, error=same.error)
            return
        started = time.perf_counter()
        try:
            trained, training = self._train(asked, first=not any(row.loss is not None for row in rows))
        except _FellBehindError:
            self._study.tell(asked, None, time.perf_counter() - started)
        except (TrainingError, UsageError, MemoryError, tf.errors.ResourceExhaustedError) as error:
            reason = str(error) if isinstance(error, WhatsitError) else "there is too little memory for it"
            self._study.tell(asked, None, time.perf_counter() - started, error=reason)
            self._reporter.warn(f"trial {asked.number + 1} failed: {reason}")
        else:
            self._learn_pace(asked, trained, training, rows)
            with replacing(self._folder.folder / "trials" / f"{asked.number:04d}.npy") as file:
                np.save(file, trained.losses.astype(np.float32))
            loss, accuracy = float(trained.losses.mean()), float(trained.best["val_accuracy"])
            self._study.tell(asked, loss, time.perf_counter() - started, accuracy=accuracy)
            self._report(asked, loss, accuracy, rows, wanted)
            del trained
        self._tidy(asked)
        if asked.number % 8 == 7:
            gc.collect()  # a model and its graph hold each other

    def _train(self, asked: Asked, *, first: bool) -> tuple[Trained, float]:
        """Return the trained model, and the seconds of training without reading images and computing features."""
        from whatsit.training.context import Context
        from whatsit.training.train import train_by_recipe

        plan = spaces.for_trial(self.recipe_of(asked.values))
        limit = None if self._folder.seconds is None else max((FIRST if first else 1.0) * self.left(), 1.0)
        watching = _Watching(self._reporter, asked, "finetune" if plan.finetune_layers else "")
        folder = self._folder.trial_folder(asked.number)
        folder.mkdir(parents=True, exist_ok=True)
        clock = Clock(limit, lambda text: None)
        trained = train_by_recipe(Context(self._part, plan, folder, clock, watching, brief=True, complete=True))
        if watching.looking:
            self._looking[_network_of(trained.recipe)] = watching.looking
        return trained, watching.training

    def _learn_pace(self, asked: Asked, trained: Trained, spent: float, rows: Sequence[Row]) -> None:
        """Note how long training took; of the best trial also what its whole run will take."""
        from whatsit.training.context import seconds_per_picture

        self._longest = max(self._longest, spent + OVERHEAD)
        losses = [row.loss for row in rows if row.loss is not None]
        worse = losses and float(trained.losses.mean()) > min(losses)
        if self._folder.seconds is None or (worse and self._reserved):
            return
        network = _network_of(trained.recipe)
        if network not in self._paces:
            self._paces[network] = seconds_per_picture(trained.features, trained.dataset)
        all_, some = len(self._whole.of("train")), len(self._part.of("train"))
        training = 1.15 * spent * spaces.longer(self.recipe_of(asked.values)) * all_ / some
        looking = self._looking[network] * (all_ - some) if network in self._looking else self._unseen(trained)
        after = self._after.seconds(len(trained.test_views) * self._paces[network])
        self._reserved = looking + training + after + 6.0

    def _unseen(self, trained: Trained) -> float:
        """Return the seconds for the features that no trial computed, where the trial's own came from the cache."""
        if trained.frozen is None:
            return 0.0
        seen = {picture.name for picture in self._part.of("train")}
        others = [picture for picture in self._whole.of("train") if picture.name not in seen]
        return trained.frozen.missing(others, trained.recipe.views) * self._paces[_network_of(trained.recipe)]

    def _report(self, asked: Asked, loss: float, accuracy: float, rows: Sequence[Row], wanted: int | None) -> None:
        losses = [row.loss for row in rows if row.loss is not None]
        if not losses or loss < min(losses):
            of = f" of {wanted}" if wanted else ""
            self._reporter.say(
                f"Trial {asked.number + 1}{of}: validation loss {loss:.4f}, accuracy {accuracy:.1%}, the best so far: "
                f"{in_words(asked.values)}"
            )

    def _tidy(self, asked: Asked) -> None:
        """Keep only the history of a trial."""
        folder = self._folder.trial_folder(asked.number)
        if (folder / "history.csv").is_file():
            (folder / "history.csv").replace(self._folder.folder / "trials" / f"{asked.number:04d}.csv")
        shutil.rmtree(folder, ignore_errors=True)


def _all_fail(rows: Sequence[Row]) -> bool:
    return len(rows) >= MOST_FAILURES and all(row.state == "failed" for row in rows)


def in_words(values: Mapping[str, Any]) -> str:
    """Return `hidden 256, dropout 0.5`."""
    return ", ".join(f"{key} {written(value)}" for key, value in values.items())


def _for_trials(dataset: Dataset, recipe: Recipe) -> Dataset:
    """Return the data set without test images; for a pretrained network with at most `ENOUGH` training images."""
    train = dataset.of("train")
    if recipe.model not in SCRATCH_MODELS and len(train) > ENOUGH:
        part = replace(dataset, pictures=tuple(train))
        train = list(limit_pictures(part, math.ceil(ENOUGH / len(dataset.classes)), recipe.seed).pictures)
    kept = {picture.name for picture in (*train, *dataset.of("validation"))}
    return replace(dataset, pictures=tuple(picture for picture in dataset.pictures if picture.name in kept))


def _network_of(plan: Recipe) -> tuple[Any, ...]:
    return plan.model, plan.size, plan.features, plan.filters, plan.views
