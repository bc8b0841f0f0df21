"""Epochs as TensorBoard shows them, while they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whatsit.events import EpochDone, Event, Reporter
from whatsit.training.history import CHOSEN_BY

_OF_TRAINING = ("loss", "accuracy", "learning_rate")
_OF_VALIDATION = {"val_loss": "loss", "val_accuracy": "accuracy", CHOSEN_BY: "calibrated_loss"}


class TensorBoard(Reporter):
    """Pass events on, and write each epoch for TensorBoard.

    Training and validation are written apart, so that TensorBoard draws one over the other.
    """

    def __init__(self, reporter: Reporter, folder: Path) -> None:
        self._reporter, self._folder = reporter, folder
        self._writers: dict[str, Any] = {}

    def emit(self, event: Event) -> None:
        """Pass an event on; write it where an epoch has ended."""
        self._reporter.emit(event)
        if isinstance(event, EpochDone):
            self._write("training", event.entry, {key: key for key in _OF_TRAINING})
            self._write("validation", event.entry, _OF_VALIDATION)

    def _write(self, kind: str, entry: Mapping[str, Any], columns: Mapping[str, str]) -> None:
        import tensorflow as tf

        if kind not in self._writers:
            self._writers[kind] = tf.summary.create_file_writer(str(self._folder / kind))
        with self._writers[kind].as_default():
            for column, tag in columns.items():
                tf.summary.scalar(f"{entry['stage']}/{tag}", entry[column], step=entry["epoch"])
        self._writers[kind].flush()
