"""Output of the command line: progress on stderr, results on stdout.

Without a terminal there is no progress.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from whatsit.events import Event, Message, Progress, Reporter, StageStarted, Warned
from whatsit.images.names import printable


class TerminalReporter(Reporter):
    """A progress bar for each stage on a terminal; plain lines elsewhere.

    A bar shows what, how far, how fast, and the time left.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=_own_stderr(), soft_wrap=True, highlight=False)
        self._bars: Any = None
        self._tasks: dict[StageStarted, Any] = {}

    def __enter__(self) -> TerminalReporter:
        if self._console.is_terminal:
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )
            from rich.progress import Progress as Bars

            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def emit(self, event: Event) -> None:
        """Draw progress where there is a terminal; print messages and warnings."""
        match event:
            case StageStarted() if self._bars:
                self._tasks[event] = self._bars.add_task(event.name, total=None, rate="")
            case Progress(stage, done, total) if self._bars:
                task = self._tasks[stage]
                speed = self._bars.tasks[task].speed if task < len(self._bars.tasks) else None
                rate = f"{speed:,.0f}/s" if speed and speed >= 2 else ""
                self._bars.update(task, completed=done, total=total or None, rate=rate)
            case Message(text):
                self._line(text)
            case Warned(text):
                self._line(f"Note: {text}")

    def _line(self, text: str) -> None:
        # No markup: class and file names are the user's, and may look like it.
        self._console.print(printable(text), markup=False, emoji=False)


class LineReporter(Reporter):
    """Print messages and warnings on stderr, without bars.

    For work that prints results as it goes.
    """

    def emit(self, event: Event) -> None:
        """Print a line for people."""
        if isinstance(event, Message | Warned):
            err(f"Note: {event.text}" if isinstance(event, Warned) else event.text)


def _own_stderr() -> TextIO | None:
    """Yield the terminal's stderr by a descriptor of its own.

    Bars move on while the output of converters is silenced.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return sys.stderr
    return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding)


def out(text: str = "") -> None:
    """A line on stdout."""
    if sys.stdout is not None:  # somebody may have closed it
        sys.stdout.write(printable(text) + "\n")


def err(text: str) -> None:
    """A line on stderr."""
    if sys.stderr is not None:
        sys.stderr.write(printable(text) + "\n")


def shell_word(word: str | Path) -> str:
    """Return a name as one word of a shell, quoted only where needed."""
    text = str(word)
    bare = text.isprintable() and not re.search(r"""[\s'"\\$`&|;<>(){}\[\]*?!#~]""", text)
    return text if bare and text else shlex.quote(text)


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns on stdout, numbers to the right."""
    from unicodedata import combining, east_asian_width

    def width(text: str) -> int:  # Thai vowels and tone marks take no column of their own
        return sum(0 if combining(c) or c == "\u0e31" or "\u0e34" <= c <= "\u0e3a" or "\u0e47" <= c <= "\u0e4e"
                   else 2 if east_asian_width(c) in "WF" else 1 for c in text)  # fmt: skip

    cells = [header, *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(header))]
    numeric = [all(row[c][:1].isdigit() or row[c][:1] in "-" for row in rows) for c in range(len(header))]
    for row in cells:
        padded = [
            " " * (widths[c] - width(cell)) + cell if numeric[c] else cell + " " * (widths[c] - width(cell))
            for c, cell in enumerate(row)
        ]
        out("  ".join(padded).rstrip())
