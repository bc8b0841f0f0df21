"""The trials of a tuning, made one after another within the time that there is."""

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
from whatsit.run.report import afterwards
from whatsit.training.checked import changed
from whatsit.training.clock import Clock
from whatsit.training.history import CHOSEN_BY
from whatsit.training.knobs import written
from whatsit.training.recipe import Recipe
from whatsit.tuning import space as spaces
from whatsit.verbs.study import Asked, Row, Study, write_trials
from whatsit.verbs.study_place import StudyPlace

if TYPE_CHECKING:
    from whatsit.training.trained import Trained

TRIALS = 50  # of heads, where nothing else is said
LIVE_TRIALS = 20  # of networks that are trained live
ENOUGH = 10_000  # training pictures for a trial of a pretrained network
FIRST = 0.35  # of the time, at most, for the first trial, which shows what the best run will take
MOST_REPEATS = 20  # trials in a row that were made before, after which nothing new is expected
MOST_FAILURES = 3  # after which none is expected to succeed
OVERHEAD = 3.0  # seconds of a trial beside its training


class _FellBehindError(Exception):
    """Stops a trial in the middle of its training."""


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
        """Seconds that features take a training picture, of all networks; 0 where none were computed."""
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
    """What this process does for a study."""

    def __init__(
        self,
        place: StudyPlace,
        study: Study,
        base: Recipe,
        dataset: Dataset,
        *,
        report: bool,
        started: float,
        reporter: Reporter,
    ) -> None:
        """Of a data set that is split; `started` is when the study would have begun, had it never been interrupted."""
        self._place, self._study, self._base, self._reporter = place, study, base, reporter
        self._whole, self._seen = dataset, _for_trials(dataset, base)
        self._report, self._started = report, started
        self._paces: dict[tuple[Any, ...], float] = {}  # seconds that a shipped network takes a picture
        self._looking: dict[tuple[Any, ...], float] = {}  # seconds that features take a training picture
        self._longest = 0.0  # what a trial took, without looking at pictures for the first time
        self._repeats = 0  # trials in a row that were made before
        self.reserved = 0.0  # seconds for the best run

    def recipe_of(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with these values."""
        tuned = changed(self._base, spaces.settings_of(self._base, dict(values)), "tuned")
        return replace(tuned, name=f"{self._base.name}-tuned")

    def make(self) -> None:
        """Make trials until there are as many as wanted, or there is no time for another; none once the best run is begun."""
        if self._place.is_ending():
            return
        wanted = self._place.trials or (None if self._place.seconds else self._enough())
        some, all_ = (len(part.of("train")) for part in (self._seen, self._whole))
        if some < all_:
            self._reporter.say(
                f"Trials learn from {some:,} of the {all_:,} training pictures, the chosen recipe from all"
            )
        told = self._reporter.stage("Trials", Work.TRIALS)
        while True:
            busy = self._study.give_back()
            rows = self._study.rows()
            told(len(rows), wanted or 0)
            enough = (wanted is not None and len(rows) + busy >= wanted) or self._repeats >= MOST_REPEATS
            if enough or self._study.has_all(rows) or _all_fail(rows) or not self._time_for_another(rows):
                return
            self._make_one(rows, wanted)
            write_trials(self._study.rows(), self._place.folder / "trials.csv")
            self._place.note_used(time.perf_counter() - self._started)

    def left(self) -> float:
        """Seconds for trials: what the best run needs is put aside; infinite without a time limit."""
        if self._place.seconds is None:
            return float("inf")
        return 0.97 * self._place.seconds - (time.perf_counter() - self._started) - self.reserved

    def _enough(self) -> int:
        return TRIALS if spaces.longer(self._base) == 1.0 else LIVE_TRIALS

    def _time_for_another(self, rows: Sequence[Row]) -> bool:
        if self._place.seconds is None:
            return True
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
            self._keep_losses(asked, trained)
            loss, accuracy = float(trained.losses.mean()), float(trained.best["val_accuracy"])
            self._study.tell(asked, loss, time.perf_counter() - started, accuracy=accuracy)
            self._say(asked, loss, accuracy, rows, wanted)
            del trained
        self._tidy(asked)
        if asked.number % 8 == 7:
            gc.collect()  # a model and its graph hold each other

    def _train(self, asked: Asked, *, first: bool) -> tuple[Trained, float]:
        """The trained model, and the seconds that training took, without looking at pictures."""
        from whatsit.training.train import train_by_recipe

        plan = spaces.for_trial(self.recipe_of(asked.values))
        limit = None if self._place.seconds is None else max((FIRST if first else 1.0) * self.left(), 1.0)
        watching = _Watching(self._reporter, asked, "finetune" if plan.finetune_layers else "")
        folder = self._place.trial_folder(asked.number)
        folder.mkdir(parents=True, exist_ok=True)
        clock = Clock(limit, lambda text: None)
        trained = train_by_recipe(self._seen, plan, folder, clock, time.perf_counter(), watching, trial=True)
        if watching.looking:
            self._looking[_network_of(trained.recipe)] = watching.looking
        return trained, watching.training

    def _learn_pace(self, asked: Asked, trained: Trained, spent: float, rows: Sequence[Row]) -> None:
        """Note how long training took, and of the best trial what its whole run will take."""
        self._longest = max(self._longest, spent + OVERHEAD)
        losses = [row.loss for row in rows if row.loss is not None]
        worse = losses and float(trained.losses.mean()) > min(losses)
        if self._place.seconds is None or (worse and self.reserved):
            return
        plan = trained.recipe
        network = _network_of(plan)
        if network not in self._paces:
            self._paces[network] = _pace(trained)
        all_, some = len(self._whole.of("train")), len(self._seen.of("train"))
        training = 1.15 * spent * spaces.longer(self.recipe_of(asked.values)) * all_ / some
        looking = self._looking[network] * (all_ - some) if network in self._looking else self._unseen(trained)
        views = len(trained.test_views)
        after = afterwards(self._whole, report=self._report).seconds(views * self._paces[network])
        self.reserved = looking + training + after + 6.0

    def _unseen(self, trained: Trained) -> float:
        """Seconds to look at what no trial looked at, where the trial's own features had been kept."""
        if trained.frozen is None:
            return 0.0
        seen = {picture.name for picture in self._seen.of("train")}
        others = [picture for picture in self._whole.of("train") if picture.name not in seen]
        return trained.frozen.missing(others, trained.recipe.views) * self._paces[_network_of(trained.recipe)]

    def _say(self, asked: Asked, loss: float, accuracy: float, rows: Sequence[Row], wanted: int | None) -> None:
        losses = [row.loss for row in rows if row.loss is not None]
        if not losses or loss < min(losses):
            of = f" of {wanted}" if wanted else ""
            self._reporter.say(
                f"Trial {asked.number + 1}{of}: validation loss {loss:.4f}, accuracy {accuracy:.1%}, the best so far: "
                f"{in_words(asked.values)}"
            )

    def _keep_losses(self, asked: Asked, trained: Trained) -> None:
        with replacing(self._place.folder / "trials" / f"{asked.number:04d}.npy") as file:
            np.save(file, trained.losses.astype(np.float32))

    def _tidy(self, asked: Asked) -> None:
        """Keep of a trial what `history.csv` tells."""
        folder = self._place.trial_folder(asked.number)
        if (folder / "history.csv").is_file():
            (folder / "history.csv").replace(self._place.folder / "trials" / f"{asked.number:04d}.csv")
        shutil.rmtree(folder, ignore_errors=True)


def _all_fail(rows: Sequence[Row]) -> bool:
    return len(rows) >= MOST_FAILURES and all(row.state == "failed" for row in rows)


def in_words(values: Mapping[str, Any]) -> str:
    """`hidden 256, dropout 0.5`."""
    return ", ".join(f"{key} {written(value)}" for key, value in values.items())


def _for_trials(dataset: Dataset, recipe: Recipe) -> Dataset:
    """Without the test pictures; of a pretrained network, which needs few, at most `ENOUGH` of those for training."""
    train = dataset.of("train")
    if recipe.model not in SCRATCH_MODELS and len(train) > ENOUGH:
        part = replace(dataset, pictures=tuple(train))
        train = list(limit_pictures(part, math.ceil(ENOUGH / len(dataset.classes)), recipe.seed).pictures)
    kept = {picture.name for picture in (*train, *dataset.of("validation"))}
    return replace(dataset, pictures=tuple(picture for picture in dataset.pictures if picture.name in kept))


def _network_of(plan: Recipe) -> tuple[Any, ...]:
    return plan.model, plan.size, plan.features, plan.filters, plan.views


def _pace(trained: Trained) -> float:
    from whatsit.training.trained import seconds_per_picture

    return seconds_per_picture(trained.features, trained.dataset)
