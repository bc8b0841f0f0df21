"""The models that the app offers, opened when chosen, shared by all visitors."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from whatsit.apps.model_files import Entry, find_models, require_models
from whatsit.bundle.format import Bundle
from whatsit.bundle.read import find_bundle
from whatsit.errors import MissingBundleError
from whatsit.evaluation.criteria import Check
from whatsit.evaluation.metrics import Metrics
from whatsit.evaluation.speed import megabytes
from whatsit.images.names import plain
from whatsit.run.nearest import NearestTraining
from whatsit.run.summary import RunRecord, read_run
from whatsit.runtime.explain import Explainer
from whatsit.runtime.predictor import Predictor
from whatsit.verbs.check import check

ENVIRONMENT = "WHATSIT_MODELS"  # paths, as in PATH
DEFAULT_FOLDERS = ("models", "runs", ".")
SPLITS = ("train", "validation", "test")
_MAX_OPEN = 3
_LIST_INTERVAL = 1.0  # seconds between two listings for a name that is not there

Key: TypeAlias = tuple[Path, int, int]  # where a model is, when its file was changed, and its size


@dataclass(frozen=True)
class ModelSummary:
    """What a bundle says about its own making; empty where it is missing or damaged."""

    metrics: Metrics | None  # on the test split
    source: str = ""  # the data set's name
    created: str = ""  # a date
    network: str = ""
    recipe: str = ""
    pictures: Mapping[str, Mapping[str, int]] | None = None  # by split and class


def summarize(bundle: Bundle) -> ModelSummary:
    """Return the summary of a bundle, whose contents may be anybody's."""
    metrics = None
    with suppress(ValueError):
        metrics = Metrics.from_json(bundle.test) if bundle.test else None
    if metrics and not (metrics.n and tuple(metrics.per_class) == bundle.classes):
        metrics = None
    data, recipe = _table(bundle.provenance.get("data")), _table(bundle.provenance.get("recipe"))
    return ModelSummary(
        metrics,
        source=_text(data.get("source")),
        created=_text(bundle.provenance.get("created"))[:10],
        network=_text(recipe.get("model")),
        recipe=_text(recipe.get("name")),
        pictures=_pictures(_table(data.get("pictures")), bundle.classes),
    )


def _pictures(value: Mapping[str, Any], classes: tuple[str, ...]) -> Mapping[str, Mapping[str, int]] | None:
    try:
        return {split: {label: int(value[split].get(label, 0)) for label in classes} for split in SPLITS}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    return plain(value)[:200] if isinstance(value, str) else ""


class OpenModel:
    """A model that is ready to predict. Thread-safe."""

    def __init__(self, entry: Entry, key: Key) -> None:
        """Read the bundle. Raises `BundleError`."""
        self.entry = entry
        self.key = key  # two models with the same key predict the same
        self.predictor = Predictor(entry.path)
        self.predictor.answer(np.zeros((1, *self.predictor.size, 3), np.uint8))  # the first prediction is slower
        self.megabytes = megabytes(find_bundle(entry.path))
        self.summary = summarize(self.predictor.bundle)
        self._explaining, self._checking = threading.Lock(), threading.Lock()
        self._explainer: Explainer | None = None
        self._checks: list[Check] | None = None

    @property
    def explainer(self) -> Explainer:
        """The explainer; raises `ModelError` where the model cannot be explained."""
        with self._explaining:
            self._explainer = self._explainer or Explainer(self.predictor)
            return self._explainer

    @property
    def checks(self) -> list[Check]:
        """The default criteria, with the speed of this machine.

        Raises `WhatsitError` where the bundle lacks metrics.
        """
        with self._checking:
            self._checks = self._checks or check(self.entry.path)
            return self._checks

    @functools.cached_property
    def nearest(self) -> NearestTraining:
        """The training pictures nearest to others, read when that is first asked for."""
        return NearestTraining(self.entry.path, self.predictor)

    @property
    def record(self) -> RunRecord:
        """The record of its run folder."""
        return read_run(self.entry.path)


class ModelRegistry:
    """The models of one app. Thread-safe."""

    def __init__(self) -> None:
        """Offer what lies in the default folders, until `offer` names others."""
        self._paths: list[Path] = []
        self._uses_defaults = True
        self._listed: dict[str, Entry] = {}  # by name, as a page saw them last
        self._listed_at = float("-inf")
        self._opened: OrderedDict[Key, Future[OpenModel]] = OrderedDict()  # also those that are being opened
        self._lock = threading.Lock()  # held for a moment only

    def offer(self, paths: Sequence[str | Path], *future: Path, defaults: bool = True) -> None:
        """Offer models; the default folders where nothing is given.

        Args:
            paths: model files, run folders, or folders of either. Raises as `require_models`.
            future: folders of models that need not be there yet.
            defaults: whether to look into the default folders.
        """
        require_models(paths)
        self._paths = [Path(path).resolve() for path in (*future, *paths)]
        self._uses_defaults = defaults

    def entries(self) -> list[Entry]:
        """List the offered models, else those of `WHATSIT_MODELS` or the default folders."""
        named = [path for path in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if path]
        found = find_models(self._paths or named or (DEFAULT_FOLDERS if self._uses_defaults else ()))
        self._listed = {entry.name: entry for entry in found}
        return found

    def find(self, name: str) -> Entry | None:
        """Return a model by its name, without listing the disk if a page has shown it."""
        if name not in self._listed and time.monotonic() - self._listed_at >= _LIST_INTERVAL:
            self._listed_at = time.monotonic()
            self.entries()
        return self._listed.get(name)

    def open(self, entry: Entry) -> OpenModel:
        """Open a model once, again when its file has changed. Raises `BundleError`."""
        key = _key(entry)
        with self._lock:
            opening = self._opened.get(key)
            is_mine = opening is None
            opening = self._opened.setdefault(key, Future())
            self._opened.move_to_end(key)
        if is_mine:
            try:
                opening.set_result(OpenModel(entry, key))
            except BaseException as error:
                with self._lock:
                    self._opened.pop(key, None)
                opening.set_exception(error)
            with self._lock:
                ready = [old for old, one in self._opened.items() if one.done()]
                for old in ready[:-_MAX_OPEN]:
                    del self._opened[old]
        return opening.result()

    def opened(self, entry: Entry) -> OpenModel | None:
        """Return a model if it is open. Raises `MissingBundleError`."""
        key = _key(entry)
        with self._lock:
            opening = self._opened.get(key)
            if opening is None or not opening.done():
                return None
            self._opened.move_to_end(key)
            return opening.result()


def _key(entry: Entry) -> Key:
    try:
        info = find_bundle(entry.path).stat()
    except OSError:
        raise MissingBundleError(f"{entry.name}: this model is not there any more") from None
    return entry.path, info.st_mtime_ns, info.st_size
