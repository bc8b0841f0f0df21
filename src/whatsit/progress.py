"""How long work tells what it is doing. The base class says nothing; the command line draws bars."""

from __future__ import annotations

from collections.abc import Callable


class Reporter:
    """Is told about long work. Override what you want to show."""

    def stage(self, name: str) -> Callable[[int, int], None]:
        """A new stage begins; the function returned takes (done, total), total 0 where it is not known."""
        return lambda done, total: None

    def say(self, text: str) -> None:
        """Something worth a line."""

    def warn(self, text: str) -> None:
        """Something that the user should know, though the work goes on."""


SILENT = Reporter()
