"""The run that `train --from-run` repeats: its images, splits, recipe and seed."""

from __future__ import annotations

import hashlib
import math
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.bundle.costs import Prices
from whatsit.bundle.make import versions
from whatsit.bundle.read import read_bundle, run_folder
from whatsit.errors import BundleError, DataError, UsageError
from whatsit.events import Reporter
from whatsit.images.leakage import copies_in_test
from whatsit.images.pictures import find_keys
from whatsit.images.scan import Dataset, Leakage
from whatsit.run.plan import make_plan
from whatsit.run.record import read_metrics, read_split, reading
from whatsit.run_files import METRICS, RECIPE, SPLIT
from whatsit.training.clock import duration
from whatsit.training.knobs import ALL
from whatsit.training.recipe import SOME_EPOCHS, Recipe


@dataclass(frozen=True)
class RunToRepeat:
    """What a run was made of."""

    folder: Path
    data: str  # where its images are
    recipe: Recipe
    seconds: float | None  # of its time limit

    def same_pictures(self, dataset: Dataset) -> Dataset:
        """Return the run's own images in its order, with its labels and splits.

        Raises:
            DataError: an image is gone or has changed, or `split.csv` is damaged.
        """
        recorded, there = read_split(self.folder), dataset.pictures
        rows_by_name = {name: row for row, name in enumerate(there.names())}
        by_name = np.array([rows_by_name.get(name, -1) for name in recorded.names()], np.int64)
        same = (by_name >= 0) & (there.keys[by_name] == recorded.keys)
        rows = np.where(same, by_name, find_keys(recorded.keys, there.keys))
        missing = [*recorded.take(rows < 0).names()]
        pictures = there.take(rows[rows >= 0]).labelled_as(recorded.take(rows >= 0))
        if missing:
            raise DataError(
                f"{dataset.source}: {len(missing):,} of the {len(missing) + len(pictures):,} pictures of {self.folder} are "
                f"missing or have changed, such as {missing[0]}; give the folder they are in: whatsit train DATA --from-run ..."
            )
        if not pictures:
            raise DataError(f"{self.folder / SPLIT}: this file lists no pictures")
        classes = tuple(sorted(pictures.counts()))
        # The copies that were left out of the earlier splits are no longer among the run's images.
        copies = Leakage(copies=copies_in_test(dataset.pictures))
        return replace(dataset, pictures=pictures, classes=classes, leakage=copies)

    def prices(self) -> Prices | None:
        """Return the prices of mistakes in the run's model; None where it had none.

        Raises:
            UsageError: the run had prices, and its model is gone.
        """
        try:
            costs = read_bundle(self.folder).costs
        except BundleError as error:
            if "costs" in read_metrics(self.folder):
                raise UsageError(f"the prices of its mistakes are lost, give them with --costs: {error}") from None
            return None
        return costs.given if costs else None

    def warn(self, reporter: Reporter) -> None:
        """Warn of what may make the metrics differ from the run's."""
        made_with = _provenance_of(self.folder, "versions")
        others = [
            f"{name} {made_with[name]} (now {now})"
            for name, now in versions().items()
            if made_with.get(name, now) != now
        ]
        if others:
            reporter.warn(f"{self.folder} was made with {', '.join(others)}; the metrics may differ")
        network, file = _provenance_of(self.folder, "network"), Path(self.recipe.model)
        if network and hashlib.sha256(file.read_bytes()).hexdigest() != network.get("sha256"):
            reporter.warn(
                f"{self.recipe.model} is another network than {self.folder} was made with; the metrics will differ"
            )
        if self.seconds is not None:
            reporter.warn(
                f"{self.folder} was made with a time limit of {duration(self.seconds)}, which holds again; the metrics depend "
                "on the speed of the machine"
            )


def run_to_repeat(run: str | Path, data: str | Path | None, option: str = "--from-run") -> RunToRepeat:
    """Return what the run in a folder was made of.

    Args:
        run: the folder, or the model in it.
        data: where its images are now; None for where they were.
        option: that the user gave it with.

    Raises:
        UsageError: the folder holds no run that was trained, or where its images are is not known.
    """
    folder = run_folder(run)
    if folder is None or not (folder / METRICS).is_file() or not (folder / SPLIT).is_file():
        raise UsageError(f"{run}: this is no run folder; {option} takes a folder that whatsit train made")
    metrics = read_metrics(folder)
    with reading(folder / METRICS):
        limit = metrics.get("time_limit")
        seconds = None if limit is None else float(limit)
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"time_limit is {seconds}")
    try:
        recipe = make_plan(str(folder / RECIPE), None, None, None, _of_some_layers(folder))
    except UsageError as error:
        raise UsageError(f"{folder}: the recipe of this run cannot be used: {error}") from None
    where = data or metrics.get("data")
    if not isinstance(where, str | Path):
        raise UsageError(
            f"{folder}: the run does not say where its pictures are; give them: whatsit train DATA {option} {run}"
        )
    return RunToRepeat(folder, str(where), recipe, seconds)


def _of_some_layers(folder: Path) -> dict[str, Any]:
    """Return what a run of 0.1.0 fine-tuned some layers with, as settings.

    In 0.1.0 all layers had epochs and a shift of their own; a recipe is read with these where all may be tuned.
    """
    try:
        old = tomllib.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # `make_plan` says what is wrong
    layers, start = old.get("finetune_layers"), old.get("finetune_all_from")
    if "finetune_all_epochs" not in old or not layers or layers == ALL or not isinstance(start, int):
        return {}
    if sum(picture.split == "train" for picture in read_split(folder)) >= start:
        return {}
    return {"finetune_epochs": old.get("finetune_epochs", SOME_EPOCHS), "shift": old.get("shift", 0.0)}


def _provenance_of(folder: Path, name: str) -> dict[str, str]:
    """Return a table of what the bundle says about its making, or an empty one."""
    try:
        found = read_bundle(folder).provenance.get(name)
    except BundleError:
        return {}
    return dict(found) if isinstance(found, dict) else {}
