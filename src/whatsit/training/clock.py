"""The time of a training: forecasts, and plans that keep a limit."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

AIM = 0.97  # of the limit; what is left is for what nobody foresees
MOST_AFTERWARDS = 0.6  # of the limit, for the test and the report: a model that learned nothing needs none
SHORTEST = 0.1  # seconds, the shortest epoch that is named
FEWEST = 3  # epochs, rather than which an epoch becomes much shorter


@dataclass(frozen=True)
class Pace:
    """What this machine takes, in seconds."""

    step: float  # of training
    validation: float  # of all validation pictures

    def epoch(self, steps: int) -> float:
        """Return the seconds of an epoch of that many steps."""
        return steps * self.step + self.validation


@dataclass(frozen=True)
class Plan:
    """How long a stage trains."""

    epochs: int
    steps: int  # in each


@dataclass(frozen=True)
class Afterwards:
    """What follows training: thresholds, the test, the report."""

    pictures: int = 0  # that the shipped model answers
    fixed: float = 0.0  # seconds that do not depend on the model
    report: Afterwards | None = None  # what the report takes beside

    def seconds(self, per_picture: float) -> float:
        """Return the seconds with a model that takes that long for an image."""
        more = self.report.seconds(per_picture) if self.report else 0.0
        return self.fixed + self.pictures * per_picture + more


class Clock:
    """The time that is left, with forecasts and plans that fit into it."""

    def __init__(
        self,
        limit: float | None,
        say: Callable[[str], None],
        *,
        started: float | None = None,
        afterwards: Afterwards | None = None,
    ) -> None:
        """Start the clock, or continue one.

        `limit` is in seconds for the whole run, None for none; `started` is when it began (`time.perf_counter`).
        """
        self._limit, self._say = limit, say
        self.started = time.perf_counter() if started is None else started  # when the run began
        self._afterwards = afterwards or Afterwards()
        self._reserved, self._answers = 0.0, (0.0, 0)
        self.stopped = False
        self.without_report = False  # as there is too little time for it

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._limit is not None or self.stopped

    def stop(self) -> None:
        """Leave no time: what trains ends with what it has."""
        self.stopped = True

    def part(self, share: float) -> Clock:
        """Return a clock that runs out when that share of the remaining time is used."""
        part = Clock(share * self.left() / AIM if self.limited else None, self._say)
        part.stopped = self.stopped
        return part

    def reserve(self, per_picture: float, first: int = 0) -> None:
        """Keep time for what follows training.

        `per_picture` are the seconds of the model for an image.

        `first` is how many pictures it answers to be calibrated, before everything else.
        """
        self._answers = per_picture, first
        wanted = self._afterwards.seconds(per_picture) + first * per_picture
        self._reserved = wanted if self._limit is None else min(wanted, MOST_AFTERWARDS * self._limit)

    def leave_out_report(self) -> bool:
        """Keep no time for the report; return whether there was any."""
        if self._afterwards.report is None:
            return False
        self._afterwards, self.without_report = replace(self._afterwards, report=None), True
        self.reserve(*self._answers)
        return True

    @property
    def reserved(self) -> float:
        """The seconds that are kept for what follows training."""
        return self._reserved

    def left(self) -> float:
        """Return the seconds left for training, never below 0; infinite without a limit."""
        if self.stopped:
            return 0.0
        if self._limit is None:
            return float("inf")
        return max(0.0, AIM * self._limit - self._reserved - (time.perf_counter() - self.started))

    def plan(self, stage: str, epochs: int, steps: int, pace: Pace) -> Plan:
        """Return the epochs, and steps in each, that fill the remaining time; say so.

        There are never more than the recipe has.
        """
        plan = self._fitting(epochs, steps, pace)
        self._tell(stage, plan, epochs, steps, pace)
        return plan

    def replan(self, plan: Plan, wanted: Plan, done: int, pace: Pace) -> Plan:
        """Return the plan, changed where its epochs take longer or less than forecast.

        Less where the time would not do; more, up to what is wanted, where a whole epoch more goes into it.
        """
        remaining = plan.epochs - done
        if remaining <= 0:
            return plan
        spare = self.left() - remaining * pace.epoch(plan.steps)
        could_grow = plan.epochs < wanted.epochs and spare >= pace.epoch(wanted.steps)
        if spare >= -0.03 * self.left() and not could_grow:
            return plan
        if self.left() < pace.epoch(1):
            return Plan(done, plan.steps)
        most = Plan(wanted.epochs - done, wanted.steps) if could_grow else Plan(remaining, plan.steps)
        rest = self._fitting(most.epochs, most.steps, pace)
        return Plan(done + rest.epochs, rest.steps)

    def _fitting(self, epochs: int, steps: int, pace: Pace) -> Plan:
        """Return whole epochs, each a little shorter so that no time is left over.

        There are rather `FEWEST` short ones than fewer.
        """
        left = self.left()
        if epochs * pace.epoch(steps) <= left:
            return Plan(epochs, steps)
        epochs = min(epochs, max(FEWEST, math.ceil(left / pace.epoch(steps))))
        return Plan(epochs, max(1, min(steps, int((left / epochs - pace.validation) / pace.step))))

    def go_on(self, stage: str, done: int, epochs: int) -> None:
        """Say that an interrupted stage continues."""
        self._say(f"Training ({stage}): going on after epoch {done} of {epochs}")

    def tell(self, what: str, seconds: float) -> None:
        """Say how long something else than epochs will take."""
        self._say(f"{what}: about {duration(seconds)} on this machine")

    def _tell(self, stage: str, plan: Plan, epochs: int, steps: int, pace: Pace) -> None:
        less = f" of the {epochs} that the recipe wants" if plan.epochs < epochs else ""
        part = "" if plan.steps == steps else f", in each {plan.steps / steps:.0%} of the pictures"
        after = f", then {duration(self._reserved)} to test" if self._limit is not None and self._reserved else ""
        seconds = pace.epoch(plan.steps)
        each = duration(seconds) if seconds >= SHORTEST else f"less than {duration(SHORTEST)}"
        whole = duration(max(plan.epochs * seconds, SHORTEST))
        counted = f"{plan.epochs} epoch{'' if plan.epochs == 1 else 's'}{less}"
        self._say(f"Training ({stage}): about {whole} on this machine ({counted}, {each} each{part}){after}")


def duration(seconds: float) -> str:
    """Return seconds in words: `45 s`, `7 min`, `1 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def parse_duration(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `1.5h` or `1h30m`.

    Raises `ValueError`, also for a number without a unit.
    """
    compact = text.strip().lower().replace(" ", "")
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?", compact)
    if not compact or not parts:
        raise ValueError(text)
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds
