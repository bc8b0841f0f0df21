"""The trials of a study, one after another within its time."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whatsit.events import Reporter, Work
from whatsit.files import replacing
from whatsit.images.scan import Dataset
from whatsit.run_files import HISTORY, TRIAL_FILES
from whatsit.training.clock import Afterwards
from whatsit.training.recipe import Recipe
from whatsit.training.recipe_checks import changed
from whatsit.tuning import space as spaces
from whatsit.tuning.budget import Budget
from whatsit.tuning.folder import StudyFolder
from whatsit.tuning.study import Asked, Row, Study, in_words, write_trials
from whatsit.tuning.trial import FailedError, FellBehindError, run_trial

TRIALS = 50  # of heads, by default
LIVE_TRIALS = 20  # of networks that are trained live
MOST_REPEATS = 20  # trials in a row with values that were tried before, after which nothing new is expected
MOST_FAILURES = 3  # after which no trial is expected to succeed
JUDGED_FROM = 0.25  # of a trial's epochs, from which on it may be stopped


class Trials:
    """The trials that this process makes for a study."""

    def __init__(
        self, folder: StudyFolder, dataset: Dataset, after: Afterwards, started: float, reporter: Reporter
    ) -> None:
        """Open the study in its folder.

        `dataset` is split; `after` and `started` are as `Budget` has them.
        """
        self._folder, self._base, self._reporter = folder, folder.recipe, reporter
        self._whole, self._part = dataset, spaces.images_for_trials(dataset, folder.recipe)
        self.budget = Budget(folder.seconds, started, after, self._whole, self._part)
        space = spaces.space_from_json(folder.space)
        self._study = Study(
            folder.folder,
            space,
            seed=self._base.seed,
            warmup=round(JUDGED_FROM * spaces.for_trial(self._base).epochs),
            first=spaces.starting_points(self._base, space),
        )
        self._repeats = 0  # trials in a row with values that were tried before

    def recipe_of(self, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe with these values."""
        tuned = changed(self._base, spaces.settings_of(self._base, values), "tuned")
        return replace(tuned, name=f"{self._base.name}-tuned")

    def importance(self) -> dict[str, float]:
        """Return the importance of each key; see `Study.importance`."""
        return self._study.importance()

    def make(self) -> tuple[list[Row], int]:
        """Make trials; return the finished ones, and how many others are working on."""
        with self._study.working():
            if not self._folder.is_ending():
                self._make_all()
            others = self._study.requeue_dead()
        return self._study.rows(), others

    def _make_all(self) -> None:
        """Make trials until there are enough, or there is no time for another."""
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
            all_fail = len(rows) >= MOST_FAILURES and all(row.state == "failed" for row in rows)
            if enough or all_fail or self._study.has_all(rows) or not self.budget.has_time(first=not _losses(rows)):
                return
            self._make_one(rows, wanted)
            write_trials(self._study.rows(), self._folder.folder / "trials.csv")
            self._folder.note_used(self.budget.used())

    def _enough(self) -> int:
        return TRIALS if spaces.longer(self._base) == 1.0 else LIVE_TRIALS

    def _make_one(self, rows: Sequence[Row], wanted: int | None) -> None:
        asked = self._study.ask()
        same = next((row for row in rows if row.values == asked.values), None)
        self._repeats = self._repeats + 1 if same else 0
        if same:
            self._study.tell(asked, same.loss, 0.0, accuracy=same.accuracy, error=same.error)
            return
        started, losses = time.perf_counter(), _losses(rows)
        recipe, limit = self.recipe_of(asked.values), self.budget.of_trial(first=not losses)
        folder = self._folder.trial_folder(asked.number)
        try:
            trial = run_trial(asked, self._part, spaces.for_trial(recipe), folder, limit, self._reporter)
        except FellBehindError:
            self._study.tell(asked, None, time.perf_counter() - started)
        except FailedError as error:
            self._study.tell(asked, None, time.perf_counter() - started, error=str(error))
            self._reporter.warn(f"trial {asked.number + 1} failed: {error}")
        else:
            loss, accuracy = float(trial.trained.losses.mean()), float(trial.trained.best["val_accuracy"])
            is_best = not losses or loss <= min(losses)
            self.budget.learn(trial, recipe, is_best=is_best)
            with replacing(self._folder.folder / TRIAL_FILES / f"{asked.number:04d}.npy") as file:
                np.save(file, trial.trained.losses.astype(np.float32))
            self._study.tell(asked, loss, time.perf_counter() - started, accuracy=accuracy)
            if not losses or loss < min(losses):
                of = f" of {wanted}" if wanted else ""
                self._reporter.say(
                    f"Trial {asked.number + 1}{of}: validation loss {loss:.4f}, accuracy {accuracy:.1%}, the best so far: "
                    f"{in_words(asked.values)}"
                )
            del trial
        self._tidy(asked)
        if asked.number % 8 == 7:
            gc.collect()  # a model and its graph hold each other

    def _tidy(self, asked: Asked) -> None:
        """Keep only the history of a trial."""
        folder = self._folder.trial_folder(asked.number)
        if (folder / HISTORY).is_file():
            (folder / HISTORY).replace(self._folder.folder / TRIAL_FILES / f"{asked.number:04d}.csv")
        shutil.rmtree(folder, ignore_errors=True)


def _losses(rows: Sequence[Row]) -> list[float]:
    return [row.loss for row in rows if row.loss is not None]
