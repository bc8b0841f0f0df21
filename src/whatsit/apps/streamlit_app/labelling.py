"""What the model suggests, the labels that people give, and where pictures go.

Independent of Streamlit. A label is on disk as soon as it is given: the picture is copied into the folder of its class, under a
name made of its contents, so that no two clash; what is taken back is moved into a hidden folder there.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from whatsit.errors import DataError, ImageError, UsageError, WhatsitError
from whatsit.events import Event, Progress, Reporter
from whatsit.images.collection import Collection
from whatsit.images.layout import SPLIT_NAMES
from whatsit.images.stores import read_linked
from whatsit.runtime.suggestion import Suggestion

BATCH = 48  # pictures that are suggested at once
SKIPPED = ""  # the label of a picture that gets none


@dataclass(frozen=True)
class Batch:
    """Suggested pictures. A file is known by its number."""

    token: str  # what tells it from other batches
    files: tuple[str, ...]
    groups: tuple[tuple[Suggestion, tuple[int, ...]], ...]  # each with its picture first, and its near-duplicates


class Labelling:
    """The pictures of one folder, and the labels that they get. Thread-safe."""

    def __init__(self, pictures: str | Path, into: str | Path | None = None) -> None:
        """Name the folder of unlabelled pictures, and the one for the class folders.

        That is the first with `-labelled` at its end by default. Raises `UsageError`.
        """
        self.pictures = Path(pictures).absolute()
        if not self.pictures.is_dir():
            raise UsageError(f"{pictures}: there is no such folder; give the folder of the pictures to label")
        if not into and not self.pictures.name:
            raise UsageError(f"{pictures} is the root of a disk; give the folder of the labelled pictures with --into")
        self.collection = Collection(into or self.pictures.with_name(f"{self.pictures.name}-labelled"))
        if parts := SPLIT_NAMES.keys() & {label.lower() for label in self.collection.labels()}:
            part = min(parts)
            raise UsageError(f"{into}: it is divided into parts; give the one that is to grow, such as {into}/{part}")
        self.batch: Batch | None = None
        self.decisions: dict[int, str] = {}  # of the files of the batch
        self.refused: list[int] = []  # files whose last label could not be given
        self.progress: tuple[int, int] | None = None  # of the search that runs: pictures done, and all
        self.error = ""  # why the last search failed
        self._passed: set[str] = set()  # files that were skipped
        self._paths: dict[int, Path] = {}  # the copies that were made
        self._writing, self._starting = threading.Lock(), threading.Lock()

    def find(self, model: Path) -> threading.Thread | None:
        """Start looking for the next batch; None where that runs already."""
        with self._starting:
            if self.progress is not None:
                return None
            self.progress, self.error = (0, 0), ""
        thread = threading.Thread(target=self._find, args=(model,), name="suggest", daemon=True)
        thread.start()
        return thread

    def _find(self, model: Path) -> None:
        from whatsit.verbs.suggest import suggest

        try:
            labelled = self.collection.folder if self.collection.labels() else None
            wanted = BATCH + len(self._passed)
            found = suggest(model, [str(self.pictures)], count=wanted, labelled=labelled, reporter=_Progress(self))
            batch = _batch([one for one in found.pictures if one.image not in self._passed][:BATCH])
            with self._writing:
                self.batch, self.decisions, self._paths = batch, {}, {}
        except WhatsitError as error:
            self.error = str(error)
        except Exception as error:  # nobody waits for this thread: the page and the log must have it
            logging.getLogger(__name__).exception("no pictures could be suggested")
            self.error = type(error).__name__
        finally:
            self.progress = None

    def decide(self, token: str, decisions: Mapping[int, str | None]) -> None:
        """Bring the copies in line with labels, by number of a file of a batch.

        `SKIPPED` is the label of one that is left out, None takes a label back. What is not named stays: it may have its label
        from another window. Those of an earlier batch change nothing.

        Raises `DataError` for a label that cannot be the name of a folder, `DiskError`. Others are labelled all the same.
        """
        problem: WhatsitError | None = None
        with self._writing:
            batch = self.batch
            if batch is None or batch.token != token:
                return
            self.refused = []
            for number, name in enumerate(batch.files):
                if number not in decisions or decisions[number] == self.decisions.get(number):
                    continue
                try:
                    self._set(number, name, decisions[number])
                except WhatsitError as error:
                    problem = error
                    self.refused.append(number)
        if problem:
            raise problem

    def _set(self, number: int, name: str, label: str | None) -> None:
        """Give a file its label, and take its former one back."""
        path = None
        if label:
            try:
                path = self.collection.add(label, read_linked(Path(name)), alone=True)
            except ImageError as error:
                raise DataError(f"{name}: {error}") from None
        old = self._paths.pop(number, None)
        if old and old != path:
            self.collection.put_away(old.parent.name, old.name)
        if path:
            self._paths[number] = path
        self._passed.discard(name)
        self.decisions.pop(number, None)
        if label is not None:
            self.decisions[number] = label
            if label == SKIPPED:
                self._passed.add(name)

    def read(self, token: str, number: int) -> bytes | None:
        """Return a file of the batch; None where there is none of that number.

        Raises `ImageError`.
        """
        batch = self.batch
        if batch is None or not secrets.compare_digest(batch.token, token) or not 0 <= number < len(batch.files):
            return None
        return read_linked(Path(batch.files[number]))


class _Progress(Reporter):
    def __init__(self, labelling: Labelling) -> None:
        self._labelling = labelling

    def emit(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._labelling.progress = event.done, event.total


def _batch(found: list[Suggestion]) -> Batch:
    files: dict[str, int] = {}
    groups = []
    for one in found:
        names = [name for name in (one.image, *one.alike) if name not in files]
        groups.append((one, tuple(files.setdefault(name, len(files)) for name in names)))
    return Batch(secrets.token_urlsafe(12), tuple(files), tuple(groups))
