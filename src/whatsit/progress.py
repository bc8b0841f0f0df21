"""How long work tells what it is doing. The command line draws bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
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
