"""What happened in training, epoch by epoch."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from whatsit.files import write_text

Epoch = dict[str, Any]  # stage, epoch, losses and accuracies, learning rate, seconds since the start

# The best epoch is the one that will ship best: by its loss once calibrated. The plain validation loss rises as soon as
# a network grows too sure of itself, which calibration cures, and would choose too early an epoch. Among epochs within
# one standard error of the lowest loss, the latest is kept: it has learned longest, at the lowest learning rate.
CHOSEN_BY = "val_calibrated_loss"
LOGGED = ("loss", "accuracy", "val_loss", "val_accuracy", CHOSEN_BY)  # of each epoch


class History:
    """Every epoch of a run, kept in `history.csv` in its folder and told to whoever listens."""

    def __init__(
        self,
        folder: Path,
        on_epoch: Callable[[Epoch, int], None] | None = None,
        warn: Callable[[str], None] | None = None,
        started: float | None = None,
        on_step: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.folder = folder
        self.warn = warn or (lambda text: None)  # is told what the user should know though the work goes on
        self.entries: list[Epoch] = []
        self._on_epoch = on_epoch
        self.on_step = on_step or (lambda stage, done, steps: None)  # takes the steps done and planned of a stage
        self._started = time.perf_counter() if started is None else started

    def add(self, stage: str, epoch: int, logs: dict[str, float], learning_rate: float, epochs: int = 0) -> Epoch:
        """Note an epoch (counted from 1 in each stage, of so many planned) with its losses and accuracies."""
        entry: Epoch = {"stage": stage, "epoch": epoch}
        entry |= {key: logs[key] for key in LOGGED}
        entry |= {"learning_rate": learning_rate, "seconds": round(time.perf_counter() - self._started, 3)}
        self.entries.append(entry)
        self._write()
        if self._on_epoch:
            self._on_epoch(entry, epochs)
        return entry

    def restore(self, entries: Sequence[Epoch]) -> None:
        """Take over the epochs of a stage that an interrupted run had done."""
        self.entries += entries  # the file has them, and those of later stages, until the next epoch is noted

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.entries[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.entries)
        write_text(self.folder / "history.csv", text.getvalue())
