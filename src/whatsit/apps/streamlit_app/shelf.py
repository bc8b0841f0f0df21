"""The models that the app offers: found on disk, opened when chosen, shared by all visitors."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from whatsit.apps.model_files import Entry, find_models, require_models
from whatsit.apps.streamlit_app.facts import read_facts
from whatsit.bundle.read import find_bundle
from whatsit.errors import MissingBundleError
from whatsit.evaluation.criteria import Check
from whatsit.evaluation.speed import megabytes
from whatsit.run.summary import RunRecord, read_run
from whatsit.runtime.explain import Explainer
from whatsit.runtime.predictor import Predictor
from whatsit.verbs.check import check

ENVIRONMENT = "WHATSIT_MODELS"  # paths, as in PATH
USUAL_PLACES = ("models", "runs", ".")
_OPEN_AT_ONCE = 3


Key: TypeAlias = tuple[Path, int, int]  # where a model is, when its file was changed, and how large that is


class OpenModel:
    """A model that is ready to answer. Thread-safe."""

    def __init__(self, entry: Entry, key: Key) -> None:
        """Read the bundle. Raises `BundleError`."""
        self.entry = entry
        self.key = key  # of two with the same key, the answers are the same
        self.predictor = Predictor(entry.path)
        self.predictor.answer(np.zeros((1, *self.predictor.size, 3), np.uint8))  # the first answer is slower
        self.megabytes = megabytes(find_bundle(entry.path))
        self.facts = read_facts(self.predictor.bundle)
        self._explaining, self._checking = threading.Lock(), threading.Lock()
        self._explainer: Explainer | None = None
        self._checks: list[Check] | None = None

    @property
    def explainer(self) -> Explainer:
        """Opened when first needed. Raises `ModelError` where the model cannot be explained."""
        with self._explaining:
            self._explainer = self._explainer or Explainer(self.predictor)
            return self._explainer

    @property
    def checks(self) -> list[Check]:
        """The usual criteria, with the speed of this machine. Raises `WhatsitError` where the bundle lacks the figures."""
        with self._checking:
            self._checks = self._checks or check(self.entry.path)
            return self._checks

    @property
    def record(self) -> RunRecord:
        """What its run folder tells."""
        return read_run(self.entry.path)


_offered: list[Path] = []
_searches = [True]  # whether the usual places are looked at where nothing was offered


def offer(paths: Sequence[str | Path], *later: Path, search: bool = True) -> None:
    """Offer these models (files, run folders, folders of either), and what will lie in `later`. Raises as `require_models`."""
    require_models(paths)
    _offered[:] = [Path(path).resolve() for path in (*later, *paths)]
    _searches[:] = [search]


def offered_models() -> list[Entry]:
    """What was offered; else what the variable `WHATSIT_MODELS` names, or what lies in the usual places."""
    chosen = [path for path in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if path]
    found = find_models(_offered or chosen or (USUAL_PLACES if _searches[0] else ()))
    _listed.clear()
    _listed.update((entry.name, entry) for entry in found)
    return found


_listed: dict[str, Entry] = {}  # as a page saw them last, by name
_LISTED_EVERY = 1.0  # seconds, at most as often for names that are not there
_looked = [float("-inf")]


def offered_model(name: str) -> Entry | None:
    """The model of a name, without listing the disk for one that a page has shown."""
    entry = _listed.get(name)
    if entry is None and time.monotonic() - _looked[0] >= _LISTED_EVERY:
        _looked[:] = [time.monotonic()]
        offered_models()
        entry = _listed.get(name)
    return entry


class _Opening:
    """A model that one visitor opens and others wait for; those of other models do not."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.opened: OpenModel | None = None


_opened: OrderedDict[Key, _Opening] = OrderedDict()
_looking = threading.Lock()  # held for a moment only


def open_model(entry: Entry) -> OpenModel:
    """The model, opened once for all visitors, and again when its file has changed. Raises `BundleError`."""
    key = _key(entry)
    with _looking:
        opening = _opened.setdefault(key, _Opening())
        _opened.move_to_end(key)
    try:
        with opening.turn:
            opening.opened = opening.opened or OpenModel(entry, key)
    finally:
        with _looking:
            if opening.opened is None and not opening.turn.locked() and _opened.get(key) is opening:
                del _opened[key]
            ready = [old for old, one in _opened.items() if one.opened]
            for old in ready[:-_OPEN_AT_ONCE]:
                del _opened[old]
    return opening.opened


def opened_model(entry: Entry) -> OpenModel | None:
    """The model where it is open; None where somebody is to open it, which takes its time. Raises `MissingBundleError`."""
    key = _key(entry)
    with _looking:
        opening = _opened.get(key)
        if opening is None or opening.opened is None:
            return None
        _opened.move_to_end(key)
        return opening.opened


def _key(entry: Entry) -> Key:
    try:
        info = find_bundle(entry.path).stat()
    except OSError:
        raise MissingBundleError(f"{entry.name}: this model is not there any more") from None
    return entry.path, info.st_mtime_ns, info.st_size
