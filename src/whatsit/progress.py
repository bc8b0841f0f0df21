"""How long work tells what it is doing, and how others are kept from telling. The command line draws bars."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Reporter:
    """Is told about long work, and says nothing. Override what you want to show."""

    def stage(self, name: str) -> Callable[[int, int], None]:
        """A new stage begins; the function returned takes (done, total), total 0 where it is not known."""
        return lambda done, total: None

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """An epoch of training is done: what `history.csv` has of it."""

    def say(self, text: str) -> None:
        """Something worth a line."""

    def warn(self, text: str) -> None:
        """Something that the user should know, though the work goes on."""


SILENT = Reporter()


class Printing(Reporter):
    """Prints a line for whatever is worth one: for notebooks and scripts."""

    def say(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")

    def warn(self, text: str) -> None:
        sys.stdout.write(f"Note: {text}\n")


_SILENCE = threading.RLock()  # two threads that take turns out of order would leave a descriptor silent for good


@contextmanager
def silent_descriptor(number: int) -> Iterator[None]:
    """Away with what C++ code prints: TensorFlow greets on stderr whatever its log level; errors come as exceptions.

    Only one thread at a time is within; it may enter again.
    """
    with _SILENCE, _silent(number):
        yield


@contextmanager
def _silent(number: int) -> Iterator[None]:
    try:
        kept = os.dup(number)
    except OSError:  # it is closed, so nothing shows anyway
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nowhere)
