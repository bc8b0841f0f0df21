"""The time of a study: what is left for trials, and what the best run will need."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from whatsit.images.scan import Dataset
from whatsit.training.clock import AIM, Afterwards
from whatsit.training.recipe import Recipe
from whatsit.tuning.space import longer
from whatsit.tuning.trial import Trial

if TYPE_CHECKING:
    from whatsit.training.trained import Trained

FIRST = 0.35  # of the time, at most, for the first trial, which shows how long the best run will take
OVERHEAD = 3.0  # seconds of a trial beside its training


class Budget:
    """The time of a study."""

    def __init__(self, limit: float | None, started: float, after: Afterwards, whole: Dataset, part: Dataset) -> None:
        """Begin with no trial known.

        Args:
            limit: seconds of the study; None for no limit.
            started: when the study would have begun without interruptions (`time.perf_counter`).
            after: what follows the training of the best run.
            whole: the data set of the best run.
            part: that of the trials.
        """
        self._limit, self._started, self._after, self._whole, self._part = limit, started, after, whole, part
        self._paces: dict[tuple[Any, ...], float] = {}  # seconds that a shipped network takes an image
        self._looking: dict[tuple[Any, ...], float] = {}  # seconds that features take a training image
        self._longest = 0.0  # seconds of a trial, without computing features for the first time
        self._reserved = 0.0  # seconds for the best run

    def used(self) -> float:
        """Return the seconds of work on the study."""
        return time.perf_counter() - self._started

    def left(self) -> float:
        """Return the seconds left for trials, without those for the best run.

        They are infinite without a time limit.
        """
        return float("inf") if self._limit is None else AIM * self._limit - self.used() - self._reserved

    def left_for_best(self) -> float | None:
        """Return the seconds left for the best run; None without a time limit."""
        return None if self._limit is None else max(self.left() + self._reserved, 1.0)

    def of_trial(self, *, first: bool) -> float | None:
        """Return the seconds that the next trial may take; None without a time limit."""
        return None if self._limit is None else max((FIRST if first else 1.0) * self.left(), 1.0)

    def has_time(self, *, first: bool) -> bool:
        """Return whether there is time for another trial."""
        return self.left() > (0.0 if first else self._longest)

    def learn(self, trial: Trial, recipe: Recipe, *, is_best: bool) -> None:
        """Note how long a trial took; of the best one also the time of its whole run."""
        from whatsit.training.context import seconds_per_picture

        network = _network_of(trial.trained.recipe)
        if trial.looking:
            self._looking[network] = trial.looking
        self._longest = max(self._longest, trial.seconds + OVERHEAD)
        if self._limit is None or (self._reserved and not is_best):
            return
        if network not in self._paces:
            self._paces[network] = seconds_per_picture(trial.trained.features, trial.trained.dataset)
        whole, part = len(self._whole.of("train")), len(self._part.of("train"))
        training = 1.15 * trial.seconds * longer(recipe) * whole / part
        known = network in self._looking
        looking = self._looking[network] * (whole - part) if known else self._unseen(trial.trained)
        after = self._after.seconds(len(trial.trained.test_views) * self._paces[network])
        self._reserved = looking + training + after + 6.0

    def _unseen(self, trained: Trained) -> float:
        """Return the seconds for features that no trial computed."""
        if trained.frozen is None:
            return 0.0
        whole = self._whole.of("train")
        others = whole.take(~whole.named(self._part.of("train").names()))
        return trained.frozen.missing(others, trained.recipe.views) * self._paces[_network_of(trained.recipe)]


def _network_of(plan: Recipe) -> tuple[Any, ...]:
    return plan.model, plan.size, plan.features, plan.filters, plan.views
