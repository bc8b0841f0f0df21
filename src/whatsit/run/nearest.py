"""The training pictures that look most like one: "it looks like these"."""

from __future__ import annotations

import atexit
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whatsit.arrays import Float16
from whatsit.bundle.read import run_folder
from whatsit.cache import working
from whatsit.errors import DataError, ImageError, UsageError, WhatsitError
from whatsit.events import SILENT
from whatsit.images.pictures import Pictures
from whatsit.images.scan import Dataset
from whatsit.run.data import open_as_in_run
from whatsit.runtime.embeddings import Embedder
from whatsit.runtime.predictor import Predictor

MOST = 20_000  # training pictures that are looked through; of more, this many at random


@dataclass(frozen=True)
class Near:
    """A training picture that looks like the one that was asked for."""

    label: str
    similarity: float  # cosine of the angle between the embeddings; 1 for the same picture
    data: bytes  # its file


class NearestTraining:
    """The embeddings of a run's training pictures, computed by a thread on first use.

    They are kept in the cache, so that the next process only finds where the pictures are. Thread-safe.
    """

    def __init__(self, model: str | Path, predictor: Predictor) -> None:
        """Take the model; nothing is read yet."""
        self._model, self._predictor = model, predictor
        self._lock, self._ended, self._ready = threading.Lock(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._dataset: Dataset | None = None
        self._pictures = Pictures.of(())
        self._rows: Float16 = np.empty((0, 0), np.float16)
        self.progress = (0, 0)  # pictures that were looked at, and all
        self.is_gone = False  # the run's pictures are no longer where they were

    @property
    def has_run(self) -> bool:
        """Return whether the model is in a run folder, which knows its pictures."""
        return run_folder(self._model) is not None

    def wait(self, seconds: float) -> bool:
        """Start where that was not done, and return whether all is ready within a time."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nearest", daemon=True)
                self._thread.start()
                atexit.register(self.close)  # a thread within a runtime would end the process with a crash
        return self._ready.wait(seconds)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def nearest(self, picture: bytes, count: int = 6) -> list[Near]:
        """Return the training pictures that look most like one, the nearest first.

        None before they are ready, or where there are none. Raises `ImageError` for a picture that cannot be read.
        """
        if not self._ready.is_set() or self._dataset is None or not len(self._rows):
            return []
        [wanted] = self._predictor.embed([picture])
        shares = np.concatenate(
            [self._rows[start : start + 2048].astype(np.float32) @ wanted for start in range(0, len(self._rows), 2048)]
        )
        found: list[Near] = []
        for place in np.argsort(-shares, kind="stable"):
            one = self._pictures[int(place)]
            try:
                found.append(Near(one.label, min(float(shares[place]), 1.0), self._dataset.read(one)))
            except ImageError:  # it has gone meanwhile
                continue
            if len(found) == count:
                break
        return found

    def _run(self) -> None:
        try:
            with working():
                self._look()
        except (DataError, UsageError):
            self.is_gone = True
        except WhatsitError:  # a model without embeddings, or a record that cannot be read
            pass
        finally:
            self._ready.set()

    def _look(self) -> None:
        dataset = open_as_in_run(self._model, self._predictor.bundle, None, SILENT)
        pictures = dataset.of("train")
        if len(pictures) > MOST:
            chosen = np.random.default_rng(0).choice(len(pictures), MOST, replace=False)
            pictures = pictures.take(np.sort(chosen))
        embedder, rows, kept = Embedder(self._predictor), [], []
        self.progress = (0, len(pictures))
        for places, some, there in embedder.embed_known(pictures.keys, lambda place: dataset.read(pictures[place])):
            if self._ended.is_set():
                return
            rows.append(some[there])
            kept.append(np.arange(places.start, places.stop)[there])
            self.progress = (places.stop, len(pictures))
        if rows:
            self._pictures, self._rows = pictures.take(np.concatenate(kept)), np.concatenate(rows)
            self._dataset = dataset
