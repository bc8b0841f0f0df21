"""The registry of a service's models, by name and version.

A model is replaced while it is at work.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from whatsit.apps.api.batching import Batcher, Gate, Observe, best_batch
from whatsit.apps.api.refusals import RefusedError
from whatsit.apps.api.settings import Settings
from whatsit.apps.model_files import require_models
from whatsit.bundle.read import find_bundle, read_bundle, run_folder
from whatsit.errors import UsageError, suggest
from whatsit.images.names import is_plain
from whatsit.runtime.explain import Explainer
from whatsit.runtime.predictor import Predictor

RETRY = 30.0  # seconds
Stamp = tuple[int, int, int]


class Served:
    """A model at work. A request keeps the one that it began with until its response."""

    def __init__(self, name: str, version: str, predictor: Predictor, gate: Gate, batcher: Batcher) -> None:
        self.name = name
        self.version = version
        self.predictor = predictor
        self.gate = gate
        self.batcher = batcher
        self._explainer: Explainer | None = None
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    @property
    def explainer(self) -> Explainer:
        """Open the model's explainer once.

        Raises `ModelError` where the model cannot be explained.
        """
        with self._lock:
            self._explainer = self._explainer or Explainer(self.predictor)
        return self._explainer

    @contextmanager
    def in_use(self) -> Iterator[Served]:
        """Keep the model at work for as long as a request needs it."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._close_if_idle()

    def retire(self) -> None:
        """End the model when no request uses it any more: another took its place."""
        self._retired = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._retired and not self._users:
            self.batcher.close()


class Entry:
    """A file that is served under a name and a version."""

    def __init__(self, name: str, version: str, path: Path) -> None:
        self.name = name
        self.version = version
        self.path = path
        self.stamp: Stamp | None = None
        self.served: Served | None = None
        self.again = 0.0  # when one that failed is tried again
        self.reason = ""  # why it is not, or why its newest file is not


def parse_models(models: Sequence[str | Path]) -> list[Entry]:
    """Return what to serve under which names.

    Each argument is MODEL, NAME=MODEL or a folder of models.

    A name that comes twice has versions 1, 2, ... Raises `UsageError`.
    """
    entries: list[Entry] = []
    for name, path in chain(*map(_named, map(str, models))):
        if not name or len(name) > 100 or "/" in name or not is_plain(name):
            raise UsageError(f"'{name[:100]}' cannot be the name of a model; write NAME={path}, without slashes")
        version = 1 + sum(entry.name == name for entry in entries)
        entries.append(Entry(name, str(version), Path(path)))
    if not entries:
        raise UsageError("give at least one model: a .whatsit file, a run folder or a folder of them")
    return entries


def _named(text: str) -> list[tuple[str, str]]:
    """Return the names and paths that one argument stands for."""
    name, separator, path = text.partition("=")
    if separator and not Path(text).exists():
        return [(name, path)]
    folder = run_folder(text)
    if not Path(text).is_dir() or find_bundle(text).is_file():
        return [(folder.resolve().name if folder else Path(text).stem, text)]
    return [(found.name, str(found.path)) for found in require_models([text])]


class Models:
    """Every model of a service. All but loading happens in its event loop."""

    def __init__(
        self,
        models: Sequence[str | Path],
        settings: Settings,
        *,
        observer: Callable[[str, str], Observe] | None = None,
        runtime: str = "auto",
    ) -> None:
        self.entries = parse_models(models)
        self._settings = settings
        self._observer = observer
        self._runtime = runtime
        self._one_at_a_time = asyncio.Lock()

    def load_all(self) -> None:
        """Open every model. Raises `WhatsitError`: a service starts whole or not at all."""
        for entry in self.entries:
            stamp = stamp_of(entry.path)
            entry.served, entry.stamp = self._open(entry), stamp

    def default(self) -> str:
        """Return the name of the model that answers where a request names no model."""
        return self.entries[0].name

    def versions(self, name: str) -> list[Entry]:
        """Return the versions of a model, the oldest first. Raises `RefusedError` (404)."""
        found = [entry for entry in self.entries if entry.name == name]
        if not found:
            known = dict.fromkeys(entry.name for entry in self.entries)
            raise RefusedError(404, f"there is no model '{name[:100]}'{suggest(name[:100], known)}", "unknown_model")
        return found

    def get(self, name: str | None = None, version: str | None = None) -> Served:
        """Return the model at work under a name and a version.

        By default it is the first model's name and the newest version that is loaded. Raises `RefusedError` (404, 503).
        """
        name = name or self.default()
        found = self.versions(name)
        if version:
            found = [entry for entry in found if entry.version == version]
            if not found:
                raise RefusedError(404, f"the model '{name}' has no version '{version[:20]}'", "unknown_model")
        ready = [entry.served for entry in found if entry.served]
        if not ready:
            raise RefusedError(503, f"the model '{name}' is not loaded", "not_loaded", {"retry-after": "1"})
        return ready[-1]

    @property
    def ready(self) -> bool:
        """Whether every model is at work."""
        return all(entry.served for entry in self.entries)

    @property
    def full(self) -> bool:
        """Whether every model would refuse one more image."""
        return all(entry.served.gate.full for entry in self.entries if entry.served) and self.ready

    async def load(self, entry: Entry, pool: Executor) -> None:
        """Open an entry's file again; if that fails the model at work stays.

        Raises `WhatsitError`, and whatever the file makes a runtime raise.
        """
        async with self._one_at_a_time:
            entry.stamp = stamp_of(entry.path)
            try:
                served = await asyncio.get_running_loop().run_in_executor(pool, self._open, entry)
            except Exception as error:
                entry.reason = str(error) or type(error).__name__
                entry.again = time.monotonic() + RETRY  # what failed may have been of the moment
                raise
            old, entry.served, entry.reason = entry.served, served, ""
            if old:
                old.retire()

    def unload(self, entry: Entry) -> None:
        """Take an entry out of service until it is loaded again."""
        if entry.served:
            entry.served.retire()
        entry.served, entry.reason = None, "unloaded"

    def changed(self) -> list[Entry]:
        """Return the entries at work whose files have changed since they were opened."""
        found = []
        for entry in self.entries:
            stamp = stamp_of(entry.path)
            again = bool(entry.reason) and time.monotonic() > entry.again
            if entry.served and stamp and (stamp != entry.stamp or again):
                found.append(entry)
        return found

    def close(self) -> None:
        """End the threads of all."""
        for entry in self.entries:
            if entry.served:
                entry.served.batcher.close()

    def _open(self, entry: Entry) -> Served:
        predictor = Predictor(read_bundle(entry.path), runtime=self._runtime)
        before = entry.served.batcher.max_batch if entry.served else None
        max_batch = self._settings.max_batch or before or best_batch(predictor.answer, predictor.size)
        gate = entry.served.gate if entry.served else Gate(self._settings.queue + max_batch)
        observe = self._observer(entry.name, entry.version) if self._observer else None
        batcher = Batcher(
            predictor.answer_each, max_batch=max_batch, max_delay=self._settings.max_delay, observe=observe
        )
        return Served(entry.name, entry.version, predictor, gate, batcher)


def stamp_of(path: Path) -> Stamp | None:
    """Return what changes with a model's file; None where there is no file."""
    try:
        info = find_bundle(path).stat()
    except (OSError, ValueError):
        return None
    return (info.st_mtime_ns, info.st_size, info.st_ino)
