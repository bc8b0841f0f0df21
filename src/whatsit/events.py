"""Typed events of long work, and the reporter that emits them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Work(StrEnum):
    """The kind of work that a stage does, for code that reacts to it."""

    READING = "reading"
    FEATURES = "features"
    TRAINING = "training"
    CROSS_VALIDATION = "cross-validation"
    TRIALS = "trials"
    OTHER = "other"


@dataclass(frozen=True, eq=False)
class StageStarted:
    """The start of a stage; `name` is for people, `work` and `split` are for code."""

    name: str
    work: Work = Work.OTHER
    split: str = ""  # the split whose images are worked on, where it is one


@dataclass(frozen=True)
class Progress:
    """Steps done of a stage; a `total` of 0 is not known."""

    stage: StageStarted
    done: int
    total: int


@dataclass(frozen=True)
class EpochDone:
    """The end of an epoch: its row of `history.csv`, and the number of epochs planned."""

    entry: Mapping[str, Any]
    epochs: int


@dataclass(frozen=True)
class Message:
    """A line for people."""

    text: str


@dataclass(frozen=True)
class Warned:
    """A line that people should see although the work continues."""

    text: str


Event = StageStarted | Progress | EpochDone | Message | Warned


class Reporter:
    """Emit events of long work.

    This one drops them; override `emit` to show or record them.
    """

    def emit(self, event: Event) -> None:
        """Handle an event."""

    def stage(self, name: str, work: Work = Work.OTHER, split: str = "") -> Callable[[int, int], None]:
        """Emit the start of a stage; return what takes its progress (done, total)."""
        started = StageStarted(name, work, split)
        self.emit(started)
        return lambda done, total: self.emit(Progress(started, done, total))

    def epoch(self, entry: Mapping[str, Any], epochs: int = 0) -> None:
        """Emit the end of an epoch."""
        self.emit(EpochDone(entry, epochs))

    def say(self, text: str) -> None:
        """Emit a line for people."""
        self.emit(Message(text))

    def warn(self, text: str) -> None:
        """Emit a warning."""
        self.emit(Warned(text))


SILENT = Reporter()


class Printing(Reporter):
    """Print messages and warnings on stdout, for notebooks and scripts."""

    def emit(self, event: Event) -> None:
        """Print a line for people."""
        if isinstance(event, Message):
            sys.stdout.write(f"{event.text}\n")
        elif isinstance(event, Warned):
            sys.stdout.write(f"Note: {event.text}\n")
