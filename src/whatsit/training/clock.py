"""Time belongs to the user: what training will take is told before, and a limit is kept."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

AIM = 0.97  # of the limit; what is left is for what nobody foresees
FEWEST = 3  # epochs, below which an epoch becomes shorter instead


@dataclass(frozen=True)
class Pace:
    """What this machine takes, in seconds."""

    step: float  # of training
    validation: float  # of all validation pictures


@dataclass(frozen=True)
class Afterwards:
    """What follows training: thresholds, the test, the report."""

    pictures: int = 0  # that the shipped model answers
    fixed: float = 0.0  # seconds that do not depend on the model

    def seconds(self, per_picture: float) -> float:
        """With a model that takes so many seconds a picture."""
        return self.fixed + self.pictures * per_picture


class Clock:
    """Knows how much time is left, tells forecasts, and fits plans to it."""

    def __init__(
        self,
        limit: float | None,
        say: Callable[[str], None],
        *,
        started: float | None = None,
        afterwards: Afterwards | None = None,
    ) -> None:
        """`limit` in seconds for the whole run, None for none; `started` is when it began (`time.perf_counter`)."""
        self._limit, self._say = limit, say
        self._started = time.perf_counter() if started is None else started
        self._afterwards = afterwards or Afterwards()
        self._reserved = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._limit is not None

    def part(self, share: float) -> Clock:
        """A clock that runs out when that share of the time left now is used."""
        limit = None if self._limit is None else share * self.left() / AIM
        return Clock(limit, self._say)

    def reserve(self, per_picture: float, first: int = 0) -> None:
        """Keep time for what follows training, with a model that takes so many seconds a picture.

        `first` is how many pictures it answers to be calibrated, before everything else.
        """
        self._reserved = self._afterwards.seconds(per_picture) + first * per_picture

    def left(self) -> float:
        """Seconds that training may still take; infinite without a limit, never below zero."""
        if self._limit is None:
            return float("inf")
        return max(0.0, AIM * self._limit - self._reserved - (time.perf_counter() - self._started))

    def plan(self, stage: str, epochs: int, steps: int, pace: Pace) -> tuple[int, int]:
        """How many epochs, and steps in each, fit into the time that is left; the forecast is told.

        Never more than wanted. Where fewer than `FEWEST` epochs fit, an epoch gets fewer steps.
        """
        left = self.left()
        whole = steps * pace.step + pace.validation
        fitting = min(epochs, int(left / whole)) if left < epochs * whole else epochs
        if fitting < min(FEWEST, epochs):
            fitting = min(FEWEST, epochs)
            steps = max(1, min(steps, int((left / fitting - pace.validation) / pace.step)))
        self._tell(stage, fitting, epochs, steps * pace.step + pace.validation)
        return fitting, steps

    def replan(self, done: int, epochs: int, seconds: float) -> int:
        """The number of epochs, fewer where they have become slower (the last took so many seconds) than the limit allows."""
        if done >= epochs or (epochs - done) * seconds <= 1.03 * self.left():
            return epochs
        return done + int(self.left() / seconds)

    def tell(self, what: str, seconds: float) -> None:
        """A forecast of something else than epochs."""
        self._say(f"{what}: about {duration(seconds)} on this machine")

    def _tell(self, stage: str, epochs: int, wanted: int, seconds: float) -> None:
        less = f" of the {wanted} that the recipe wants" if epochs < wanted else ""
        after = f", then {duration(self._reserved)} to test" if self._limit is not None and self._reserved else ""
        self._say(
            f"Training ({stage}): about {duration(epochs * seconds)} on this machine ({epochs} epochs{less}, "
            f"{duration(seconds)} each){after}"
        )


def duration(seconds: float) -> str:
    """`45 s`, `7 min`, `1 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def parse_duration(text: str) -> float:
    """Seconds of `90s`, `10m`, `1.5h`, `1h30m`. Raises `ValueError`, also for a number without a unit."""
    compact = text.strip().lower().replace(" ", "")
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?", compact)
    if not compact or not parts:
        raise ValueError(text)
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds
