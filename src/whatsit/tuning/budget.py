"""The time of a study: what is left for trials, and what the best run will need."""

from __future__ import annotations

import time

from whatsit.images.scan import Dataset
from whatsit.training.clock import AIM, Afterwards
from whatsit.training.recipe import Recipe
from whatsit.tuning.space import longer
from whatsit.tuning.trial import Outcome

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
        self._looking: dict[str, float] = {}  # seconds that the features of a network take a training image
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

    @property
    def knows_best(self) -> bool:
        """Whether it is known what the best run will need."""
        return self._reserved > 0

    def learn(self, outcome: Outcome, recipe: Recipe, *, is_best: bool) -> None:
        """Note how long a trial took; of the best one also the time of its whole run.

        `recipe` is that of the whole run.
        """
        if outcome.looking:
            self._looking[outcome.network] = outcome.looking
        self._longest = max(self._longest, outcome.training + OVERHEAD)
        costs = outcome.costs
        if costs is None or (self._reserved and not is_best):
            return
        whole, part = len(self._whole.of("train")), len(self._part.of("train"))
        training = 1.15 * outcome.training * longer(recipe) * whole / part
        known = costs.network in self._looking
        looking = self._looking[costs.network] * (whole - part) if known else costs.missing * costs.pace
        after = self._after.seconds(costs.views * costs.pace)
        self._reserved = looking + training + after + 6.0
