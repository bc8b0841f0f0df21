"""Progress of work in shards."""

from __future__ import annotations

from whatsit.events import Reporter
from whatsit.scale.schedulers import Made

_EVERY = 100  # images between two reports


class Tally:
    """Adds up what was made, and reports it."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self.images = self.errors = 0
        self._reporter, self._total = reporter, total
        self._advance = reporter.stage("Predicting")
        self._told, self._next = 0, 1

    def add(self, made: Made) -> None:
        """Count images that were made."""
        self.images += made.images
        self.errors += made.errors
        if self.errors >= self._next:
            self._next = 10 * self.errors  # a line for each power of ten is enough
            self._reporter.warn(
                f"{self.errors:,} of {self.images:,} pictures so far have an error instead of an answer"
            )
        if self.images - self._told >= _EVERY or self.images == self._total:
            self._told = self.images
            self._advance(self.images, self._total)
