"""A folder of pictures that somebody teaches with, and the models that came of it. Knows nothing of Streamlit.

All is on disk, so that nothing is lost when a page is loaded again or the computer stops.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from whatsit.apps.trainer import Taught, Trainer, TrainingError, taught_from
from whatsit.apps.training_log import TrainingLog
from whatsit.errors import ImageError, WhatsitError
from whatsit.files import write_text
from whatsit.images.audit import measure
from whatsit.images.collection import Collection
from whatsit.images.decode import Pixels
from whatsit.images.near import near_duplicates
from whatsit.images.walk import list_folder
from whatsit.run_files import UNFINISHED

ENDING = ".models"  # of the folder beside the pictures
RESULT = "taught.json"
LOG = "training.log"
FEWEST = 3  # different pictures of a class
SOME = 20  # pictures of a class from which more are no longer the first advice


@dataclass(frozen=True)
class Advice:
    """What to photograph next, as the key of the words for it and what fills their places."""

    key: str
    values: dict[str, object]


class Classroom:
    """Thread-safe: several people may teach at once; one training at a time."""

    def __init__(self, folder: str | Path, trainer: Trainer | None = None) -> None:
        """Raises `UsageError` where the folder is something else."""
        self.collection = Collection(folder)
        self.models = self.collection.folder.with_name(self.collection.folder.name + ENDING)
        self.log = TrainingLog(self.models / LOG)
        self.trainer = trainer or Trainer(self.log.write)
        self.doing = ""  # what the training is at; empty when none is
        self.failed = ""  # why the last one did not end well
        self.is_logged = False  # whether the log knows more of that
        self._beginning, self._judging = threading.Lock(), threading.Lock()
        self._monotonous: dict[
            str, tuple[list[str], bool]
        ] = {}  # of each class, the pictures that were judged, and how

    @property
    def is_ready(self) -> bool:
        """Whether there is enough to train with."""
        counts = [len(self.collection.pictures(label)) for label in self.collection.labels()]
        return len(counts) >= 2 and min(counts) >= FEWEST

    def begin(self) -> threading.Thread | None:
        """Start training, which goes on whether or not somebody watches; None where one is at work."""
        with self._beginning:
            if self.doing:
                return None
            self.doing, self.failed, self.is_logged = " ", "", False
        thread = threading.Thread(target=self._train, name="teach", daemon=True)
        thread.start()
        return thread

    def _train(self) -> None:
        try:
            state = self._state()
            number = 1 + max(self._numbers(UNFINISHED).values(), default=0)  # a killed one leaves its place behind
            out = self.models / f"{self.collection.folder.name}-{number}"
            taught = self.trainer.train(self.collection.folder, out, self._now)
            document = asdict(taught) | {"run": str(taught.run), "state": state}
            write_text(out / RESULT, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
        except WhatsitError as error:
            self.is_logged = not (isinstance(error, TrainingError) and error.is_foreseen)
            if self.is_logged:
                self.log.write(f"training failed: {error}")
            self.failed = str(error)
        except (
            Exception
        ) as error:  # nobody waits for this thread, so whatever it is must be shown and written down here
            self.log.write("".join(traceback.format_exception(error)))
            self.is_logged, self.failed = True, f"{type(error).__name__}: {error}"
        finally:
            self.doing = ""

    def _now(self, doing: str) -> None:
        self.doing = doing

    def _numbers(self, also: str = "") -> dict[Path, int]:
        """The runs with their numbers; also those whose names end so."""
        wanted = re.compile(
            re.escape(self.collection.folder.name) + r"-(\d+)" + (f"({re.escape(also)})?" if also else "")
        )
        names = list_folder(self.models)[0] if self.models.is_dir() else []
        return {self.models / name: int(found[1]) for name in names if (found := wanted.fullmatch(name))}

    def result(self) -> tuple[Taught, bool] | None:
        """What came of the newest training, and whether the pictures have changed since; None before the first."""
        numbers = self._numbers()
        for run in sorted(numbers, key=lambda path: -numbers[path]):
            found = _read(run)
            if found:
                return found[0], found[1] != self._state()
        return None

    def _state(self) -> str:
        names = [
            f"{label}/{path.name}" for label in self.collection.labels() for path in self.collection.pictures(label)
        ]
        return hashlib.sha256("\n".join(names).encode(errors="backslashreplace")).hexdigest()

    def advice(self, taught: Taught) -> list[Advice]:
        """What to photograph next, the most useful first."""
        counts = {label: len(self.collection.pictures(label)) for label in taught.recall}
        found = []
        if taught.mixed and taught.mixed[2] > 1:
            found.append(Advice("teach.mixed", dict(zip(("label", "other", "count"), taught.mixed, strict=True))))
        weakest = min(taught.recall, key=lambda label: taught.recall[label])
        if taught.recall[weakest] < 0.9 and not (found and taught.mixed and taught.mixed[0] == weakest):
            found.append(Advice("teach.weakest", {"label": weakest, "share": taught.recall[weakest]}))
        fewest = min(counts, key=lambda label: counts[label])
        if counts[fewest] < SOME and counts[fewest] <= 0.7 * np.median(list(counts.values())):
            found.append(Advice("teach.fewest", {"label": fewest, "n": counts[fewest]}))
        found += [Advice("teach.similar", {"label": label}) for label in counts if self._is_monotonous(label)][:1]
        return found or [Advice("teach.fine", {})]

    def _is_monotonous(self, label: str) -> bool:
        """Whether more than half of the newest pictures of a class are near-duplicates of others; judged once for each lot."""
        paths = self.collection.pictures(label)[-60:]
        names = [path.name for path in paths]
        with self._judging:
            judged = self._monotonous.get(label)
            if judged is None or judged[0] != names:
                judged = self._monotonous[label] = names, _are_alike(paths)
            return judged[1]


def _are_alike(paths: Sequence[Path]) -> bool:
    thumbs = _thumbs(paths)
    if len(thumbs) < 6:
        return False
    return sum(len(group) - 1 for group in near_duplicates(np.stack(thumbs))) > len(thumbs) / 2


def _thumbs(paths: Sequence[Path]) -> list[Pixels]:
    found = []
    for path in paths:
        try:
            found.append(measure(path.read_bytes())[1])
        except (OSError, ImageError):
            continue
    return found


def _read(run: Path) -> tuple[Taught, str] | None:
    """What came of a training, and the state of the pictures then."""
    try:
        document = json.loads((run / RESULT).read_text(encoding="utf-8"))
        state = str(document.pop("state"))
        return taught_from(document | {"run": str(run)}), state
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def taught_of(run: Path) -> Taught | None:
    """How good a model that was taught is, where its pictures were few and cross-validated; None for any other."""
    found = _read(run)
    return found[0] if found and found[0].folds else None


_offered: list[Classroom] = []


def offer_classroom(folder: str | Path | None) -> Path | None:
    """Open a classroom, or none; where its models will be. Raises `UsageError`."""
    for old in _offered:
        old.trainer.close()
    _offered[:] = [] if folder is None else [Classroom(folder)]
    return _offered[0].models if _offered else None


def classroom() -> Classroom | None:
    """The one that was offered."""
    return _offered[0] if _offered else None
