"""A folder of pictures that people teach with, and the models trained on it.

Independent of Streamlit. Everything is on disk, so that nothing is lost when a page is loaded again or the computer stops.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from whatsit.apps.trainer import Trainer, TrainingError, TrainingResult, result_from
from whatsit.errors import ImageError, WhatsitError
from whatsit.files import write_text
from whatsit.images.audit import measure
from whatsit.images.collection import Collection
from whatsit.images.near import near_duplicates
from whatsit.images.walk import list_folder
from whatsit.run_files import UNFINISHED

ENDING = ".models"  # of the folder beside the pictures
RESULT = "taught.json"
LOG = "training.log"
MAX_LOG = 1_000_000  # bytes, after which a new log is begun and one old one kept
FEWEST = 3  # different pictures of a class to train with
ENOUGH = 20  # pictures of a class from which on more are not advised
NEWEST = 60  # pictures of a class that are searched for near-duplicates


@dataclass(frozen=True)
class Advice:
    """What to photograph next: a key of the texts and the values of its placeholders."""

    key: str
    values: dict[str, object]


class TrainingLog:
    """A file about failed trainings. Thread-safe; never fails."""

    def __init__(self, path: Path) -> None:
        """Remember the path."""
        self.path = path
        self._writing = threading.Lock()

    def write(self, text: str) -> None:
        """Add lines, each with its time. They are lost where the disk does not take them."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        lines = "".join(f"{now} {line}\n" for line in text.splitlines())
        with self._writing, suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size > MAX_LOG:
                self.path.replace(self.path.with_name(f"{self.path.name}.old"))
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(lines)


class Teaching:
    """The pictures, trainings and results. Thread-safe; one training runs at a time."""

    def __init__(self, folder: str | Path, trainer: Trainer | None = None) -> None:
        """Open a folder. Raises `UsageError` where it is something else."""
        self.collection = Collection(folder)
        self.models = self.collection.folder.with_name(self.collection.folder.name + ENDING)
        self.log = TrainingLog(self.models / LOG)
        self.trainer = trainer or Trainer(self.log.write)
        self.stage = ""  # of the training that runs; empty when none does
        self.error = ""  # why the last training failed
        self.is_logged = False  # whether the log has more about that
        self._starting = threading.Lock()

    @property
    def is_ready(self) -> bool:
        """Whether there is enough to train with."""
        counts = [len(self.collection.pictures(label)) for label in self.collection.labels()]
        return len(counts) >= 2 and min(counts) >= FEWEST

    def train(self) -> threading.Thread | None:
        """Start training and return its thread; None where a training runs."""
        with self._starting:
            if self.stage:
                return None
            self.stage, self.error, self.is_logged = " ", "", False
        thread = threading.Thread(target=self._train, name="teach", daemon=True)
        thread.start()
        return thread

    def _train(self) -> None:
        try:
            state = self._state()
            number = 1 + max(self._runs(UNFINISHED).values(), default=0)  # a killed training leaves its folder
            out = self.models / f"{self.collection.folder.name}-{number}"
            result = self.trainer.train(self.collection.folder, out, self._show)
            document = asdict(result) | {"run": str(result.run), "state": state}
            write_text(out / RESULT, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
        except WhatsitError as error:
            self.is_logged = not (isinstance(error, TrainingError) and error.is_foreseen)
            if self.is_logged:
                self.log.write(f"training failed: {error}")
            self.error = str(error)
        except Exception as error:  # nobody waits for this thread: the page and the log must have it
            self.log.write("".join(traceback.format_exception(error)))
            self.is_logged, self.error = True, f"{type(error).__name__}: {error}"
        finally:
            self.stage = ""

    def _show(self, stage: str) -> None:
        self.stage = stage

    def _runs(self, ending: str = "") -> dict[Path, int]:
        """Return the run folders with their numbers; also those with this ending."""
        name = re.compile(rf"{re.escape(self.collection.folder.name)}-(\d+)({re.escape(ending)})?")
        folders = list_folder(self.models)[0] if self.models.is_dir() else []
        return {self.models / folder: int(match[1]) for folder in folders if (match := name.fullmatch(folder))}

    def result(self) -> tuple[TrainingResult, bool] | None:
        """Return the newest result, if any, and whether the pictures have changed since."""
        runs = self._runs()
        for run in sorted(runs, key=runs.__getitem__, reverse=True):
            if found := _read(run):
                return found[0], found[1] != self._state()
        return None

    def _state(self) -> str:
        collection = self.collection
        names = [f"{label}/{path.name}" for label in collection.labels() for path in collection.pictures(label)]
        return hashlib.sha256("\n".join(names).encode(errors="backslashreplace")).hexdigest()

    def advice(self, result: TrainingResult) -> list[Advice]:
        """Return what to photograph next, the most useful first."""
        counts = {label: len(self.collection.pictures(label)) for label in result.recall}
        found = []
        if result.mixed and result.mixed[2] > 1:
            found.append(Advice("teach.mixed", dict(zip(("label", "other", "count"), result.mixed, strict=True))))
        weakest = min(result.recall, key=result.recall.__getitem__)
        if result.recall[weakest] < 0.9 and not (found and result.mixed and result.mixed[0] == weakest):
            found.append(Advice("teach.weakest", {"label": weakest, "share": result.recall[weakest]}))
        fewest = min(counts, key=counts.__getitem__)
        if counts[fewest] < ENOUGH and counts[fewest] <= 0.7 * np.median(list(counts.values())):
            found.append(Advice("teach.fewest", {"label": fewest, "n": counts[fewest]}))
        found += [Advice("teach.similar", {"label": label}) for label in counts if self._is_monotonous(label)][:1]
        return found or [Advice("teach.fine", {})]

    def _is_monotonous(self, label: str) -> bool:
        """Return whether most of the newest pictures of a class are near-duplicates."""
        return _are_near_duplicates(tuple(self.collection.pictures(label)[-NEWEST:]))


@lru_cache(maxsize=256)
def _are_near_duplicates(paths: tuple[Path, ...]) -> bool:
    """Return whether most pictures resemble others; their names say what they hold."""
    thumbnails = []
    for path in paths:
        with suppress(OSError, ImageError):
            thumbnails.append(measure(path.read_bytes())[1])
    if len(thumbnails) < 6:
        return False
    return sum(len(group) - 1 for group in near_duplicates(np.stack(thumbnails))) > len(thumbnails) / 2


def _read(run: Path) -> tuple[TrainingResult, str] | None:
    """Return the result of a run, and the state of its pictures then."""
    try:
        document = json.loads((run / RESULT).read_text(encoding="utf-8"))
        state = str(document.pop("state"))
        return result_from(document | {"run": str(run)}), state
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def cross_validated(run: Path) -> TrainingResult | None:
    """Return the result of a run that was cross-validated here; None for any other."""
    found = _read(run)
    return found[0] if found and found[0].folds else None
