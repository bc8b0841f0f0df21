"""The trials of a study within its time: which is next, and what they found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whatsit.events import Reporter, Work
from whatsit.files import replacing, write_text
from whatsit.images.scan import Dataset
from whatsit.models.cnn import SCRATCH_MODELS
from whatsit.run_files import TRIAL_FILES
from whatsit.training.clock import Afterwards
from whatsit.training.recipe import Recipe
from whatsit.training.recipe_checks import changed
from whatsit.tuning import space as spaces
from whatsit.tuning.budget import Budget
from whatsit.tuning.folder import StudyFolder
from whatsit.tuning.study import Asked, Row, Study, in_words, write_trials
from whatsit.tuning.trial import Crew, Job, Outcome, TrialRunner, TrialSource

TRIALS = 50  # of heads, by default
LIVE_TRIALS = 20  # of networks that are trained live
MOST_REPEATS = 20  # trials in a row with values that were tried before, after which nothing new is expected
MOST_FAILURES = 3  # after which no trial is expected to succeed
JUDGED_FROM = 0.25  # of a trial's epochs, from which on it may be stopped


class Trials:
    """The trials that this process makes for a study."""

    def __init__(
        self,
        folder: StudyFolder,
        dataset: Dataset,
        after: Afterwards,
        started: float,
        reporter: Reporter,
        crew: Crew | None = None,
    ) -> None:
        """Open the study in its folder.

        `dataset` is split; `after` and `started` are as `Budget` has them; without a `crew` the trials run in this process.
        """
        self._folder, self._base, self._reporter = folder, folder.recipe, reporter
        self._whole, self._part = dataset, spaces.images_for_trials(dataset, folder.recipe)
        self.budget = Budget(folder.seconds, started, after, self._whole, self._part)
        space = spaces.space_from_json(folder.space)
        self._crew = crew or _Alone(folder, TrialRunner(self._whole, self._part, reporter))
        self._study = Study(
            folder.folder,
            space,
            seed=self._base.seed,
            warmup=round(JUDGED_FROM * spaces.for_trial(self._base).epochs),
            first=spaces.starting_points(self._base, space),
        )
        self._asked: dict[int, Asked] = {}  # the trials that run
        self._repeats = 0  # trials in a row with values that were tried before
        self._wanted = folder.trials or (None if folder.seconds else self._enough())
        self._advance: Callable[[int, int], None] | None = None

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
                some, all_ = (len(part.of("train")) for part in (self._part, self._whole))
                if some < all_:
                    self._reporter.say(
                        f"Trials learn from {some:,} of the {all_:,} training pictures, the chosen recipe from all"
                    )
                self._advance = self._reporter.stage("Trials", Work.TRIALS)
                self._work()
            others = self._study.requeue_dead()
        return self._study.rows(), others

    def _work(self) -> None:
        """Have the crew make trials; where it cannot work, its trials are not to blame."""
        try:
            self._crew.work(self)
        except Exception:
            if not isinstance(self._crew, _Alone):
                for asked in self._asked.values():
                    self._study.put_back(asked)
            raise

    def next(self) -> Job | None:
        """See `TrialSource`."""
        while True:
            busy = self._study.requeue_dead() + len(self._asked)
            rows = self._study.rows()
            if self._advance:
                self._advance(len(rows), self._wanted or 0)
            if self._has_enough(rows, busy) or self._must_wait(rows):
                return None
            asked, losses = self._study.ask(), _losses(rows)
            if any(other.values == asked.values for other in self._asked.values()):
                self._study.drop(asked)  # it runs already
                return None
            same = next((row for row in rows if row.values == asked.values), None)
            self._repeats = self._repeats + 1 if same else 0
            if same is None:
                self._asked[asked.number] = asked
                recipe = spaces.for_trial(self.recipe_of(asked.values))
                lowest = min(losses, default=None) if self.budget.knows_best else None
                return Job(asked.number, recipe, self.budget.of_trial(first=not losses), lowest)
            self._study.tell(asked, same.loss, 0.0, accuracy=same.accuracy, error=same.error)
            self._note()

    def _has_enough(self, rows: Sequence[Row], busy: int) -> bool:
        """Return whether no further trial is to begin while `busy` others run."""
        enough = (self._wanted is not None and len(rows) + busy >= self._wanted) or self._repeats >= MOST_REPEATS
        all_fail = len(rows) >= MOST_FAILURES and all(row.state == "failed" for row in rows)
        no_time = not self.budget.has_time(first=not _losses(rows))
        values = [*(row.values for row in rows), *(asked.values for asked in self._asked.values())]
        return enough or all_fail or no_time or self._study.has_all(values)

    def _must_wait(self, rows: Sequence[Row]) -> bool:
        """Return whether the first trial computes features that others need too."""
        return (
            bool(self._asked)
            and self._crew.shares_features
            and self._base.model not in SCRATCH_MODELS
            and not _losses(rows)
        )

    def _enough(self) -> int:
        return TRIALS if spaces.longer(self._base) == 1.0 else LIVE_TRIALS

    def judge(self, number: int, epoch: int, loss: float) -> bool:
        """See `TrialSource`."""
        return self._asked[number].falls_behind(epoch, loss)

    def finish(self, job: Job, outcome: Outcome) -> None:
        """See `TrialSource`."""
        asked, losses, loss = self._asked.pop(job.number), _losses(self._study.rows()), outcome.loss
        trials = self._folder.folder / TRIAL_FILES
        trials.mkdir(exist_ok=True)
        if outcome.history:
            write_text(trials / f"{job.number:04d}.csv", outcome.history)
        if outcome.error:
            self._reporter.warn(f"trial {job.number + 1} failed: {outcome.error}")
        if loss is not None and outcome.losses is not None:
            self.budget.learn(outcome, self.recipe_of(asked.values), is_best=loss <= min(losses, default=loss))
            with replacing(trials / f"{job.number:04d}.npy") as file:
                np.save(file, outcome.losses.astype(np.float32))
        self._study.tell(asked, loss, outcome.seconds, accuracy=outcome.accuracy, error=outcome.error)
        if loss is not None and (not losses or loss < min(losses)):
            of = f" of {self._wanted}" if self._wanted else ""
            self._reporter.say(
                f"Trial {job.number + 1}{of}: validation loss {loss:.4f}, accuracy {outcome.accuracy:.1%}, the best so far: "
                f"{in_words(asked.values)}"
            )
        self._note()

    def lose(self, job: Job, why: str = "") -> None:
        """See `TrialSource`."""
        self._study.put_back(self._asked.pop(job.number), why)
        self._note()

    def _note(self) -> None:
        write_trials(self._study.rows(), self._folder.folder / "trials.csv")
        self._folder.note_used(self.budget.used())


class _Alone:
    """This process, which runs one trial after another."""

    shares_features = True

    def __init__(self, folder: StudyFolder, runner: TrialRunner) -> None:
        self._folder, self._runner = folder, runner

    def work(self, source: TrialSource) -> None:
        """See `Crew`."""
        while (job := source.next()) is not None:

            def judge(epoch: int, loss: float, number: int = job.number) -> bool:
                return source.judge(number, epoch, loss)

            source.finish(job, self._runner.run(job, self._folder.trial_folder(job.number), judge))


def _losses(rows: Sequence[Row]) -> list[float]:
    return [row.loss for row in rows if row.loss is not None]
