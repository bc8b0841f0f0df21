"""Epochs as TensorBoard shows them, while they are trained."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from whatsit.errors import MissingExtraError
from whatsit.progress import Reporter
from whatsit.training.history import CHOSEN_BY

_OF_TRAINING = ("loss", "accuracy", "learning_rate")
_OF_VALIDATION = {"val_loss": "loss", "val_accuracy": "accuracy", CHOSEN_BY: "calibrated_loss"}


def require_tensorboard() -> None:
    """Raises `MissingExtraError` where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError("--tensorboard", "track", "tensorboard")


class Events(Reporter):
    """Passes on what it is told, and writes each epoch as an event, of training and of validation apart so that they are
    drawn over each other."""

    def __init__(self, reporter: Reporter, folder: Path) -> None:
        self._reporter, self._folder = reporter, folder
        self._writers: dict[str, Any] = {}

    def stage(self, name: str) -> Callable[[int, int], None]:
        return self._reporter.stage(name)

    def say(self, text: str) -> None:
        self._reporter.say(text)

    def warn(self, text: str) -> None:
        self._reporter.warn(text)

    def epoch(self, entry: Mapping[str, Any]) -> None:
        self._reporter.epoch(entry)
        self._write("training", entry, {key: key for key in _OF_TRAINING})
        self._write("validation", entry, _OF_VALIDATION)

    def _write(self, kind: str, entry: Mapping[str, Any], columns: Mapping[str, str]) -> None:
        import tensorflow as tf

        if kind not in self._writers:
            self._writers[kind] = tf.summary.create_file_writer(str(self._folder / kind))
        with self._writers[kind].as_default():
            for column, tag in columns.items():
                tf.summary.scalar(f"{entry['stage']}/{tag}", entry[column], step=entry["epoch"])
        self._writers[kind].flush()
