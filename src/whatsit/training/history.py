"""The epochs of a training, recorded as they end."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whatsit.events import SILENT, EpochDone, Reporter
from whatsit.files import write_text
from whatsit.run_files import HISTORY

Epoch = dict[str, Any]  # stage, epoch, losses and accuracies, learning rate, seconds since the start

# The best epoch is the one that will ship best: by its loss once calibrated. The plain validation loss rises as soon as
# a network grows too sure of itself, which calibration cures, and would choose too early an epoch. Among epochs within
# one standard error of the lowest loss, the latest is kept: it has learned longest, at the lowest learning rate.
CHOSEN_BY = "val_calibrated_loss"
LONG = 20  # seconds, from which on an epoch is worth a line
LOGGED = ("loss", "accuracy", "val_loss", "val_accuracy", CHOSEN_BY)  # of each epoch


class History:
    """Every epoch of a run, written to `history.csv` in its folder and reported."""

    def __init__(self, folder: Path, reporter: Reporter = SILENT, started: float | None = None) -> None:
        """Begin empty; `started` is when the run began (`time.perf_counter`)."""
        self.folder, self.reporter = folder, reporter
        self.entries: list[Epoch] = []
        self._last = ("", 0.0)  # the stage and the seconds of the epoch before; a stage's first follows other work
        self._started = time.perf_counter() if started is None else started

    def add(self, stage: str, epoch: int, logs: dict[str, float], learning_rate: float, epochs: int = 0) -> Epoch:
        """Record an epoch, counted from 1 in its stage; return its row.

        `epochs` are planned.
        """
        entry: Epoch = {"stage": stage, "epoch": epoch}
        entry |= {key: logs[key] for key in LOGGED}
        entry |= {"learning_rate": learning_rate, "seconds": round(time.perf_counter() - self._started, 3)}
        self.entries.append(entry)
        self._write()
        self.reporter.emit(EpochDone(entry, epochs))
        if stage == self._last[0] and entry["seconds"] - self._last[1] >= LONG:
            self.reporter.say(
                f"{stage}, epoch {epoch} of {epochs}: accuracy {entry['accuracy']:.1%} in training, "
                f"{entry['val_accuracy']:.1%} in validation"
            )
        self._last = (stage, entry["seconds"])
        return entry

    def restore(self, entries: Sequence[Epoch]) -> None:
        """Add the epochs of a stage that an interrupted run completed."""
        known = {(entry["stage"], entry["epoch"]) for entry in self.entries}
        # The file has them, and those of later stages, until the next epoch is noted.
        self.entries += [entry for entry in entries if (entry["stage"], entry["epoch"]) not in known]

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.entries[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.entries)
        write_text(self.folder / HISTORY, text.getvalue())
