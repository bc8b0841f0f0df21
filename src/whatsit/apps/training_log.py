"""The file beside what is taught that says what went wrong in training, for whoever mends it."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

MOST = 1_000_000  # bytes, after which the file becomes the old one


class TrainingLog:
    """Text that is added to a file, which is made when there is something to say. Thread-safe; never fails."""

    def __init__(self, path: Path) -> None:
        """Nothing is written yet."""
        self.path = path
        self._writing = threading.Lock()

    def write(self, text: str) -> None:
        """Add lines, each with its time. Where the disk does not take them, they are lost: they are about a failure already."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        lines = "".join(f"{now} {line}\n" for line in text.splitlines())
        with self._writing, contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size > MOST:
                self.path.replace(self.path.with_name(f"{self.path.name}.old"))
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(lines)
