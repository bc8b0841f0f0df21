"""A run that is repeated from its folder: the same pictures in the same splits, the same recipe and seed."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.bundle.read import read_bundle, run_folder
from whatsit.errors import BundleError, DataError, UsageError
from whatsit.files import from_spreadsheet
from whatsit.images.leakage import copies_in_test
from whatsit.images.scan import SPLITS, Dataset, Leakage, Picture
from whatsit.progress import Reporter
from whatsit.training.clock import duration
from whatsit.training.recipe import Recipe
from whatsit.verbs.plan import make_plan
from whatsit.verbs.shipping import versions


@dataclass(frozen=True)
class Again:
    """What a run was made of."""

    folder: Path
    data: str  # where its pictures are
    recipe: Recipe
    seconds: float | None  # of its time limit

    def same_pictures(self, dataset: Dataset) -> Dataset:
        """The run's own pictures, in its order, with its labels and splits. Raises `DataError` where any is gone or changed."""
        by_name = {picture.name: picture for picture in dataset.pictures}
        by_digest = {picture.digest: picture for picture in dataset.pictures}
        pictures: list[Picture] = []
        missing: list[str] = []
        for row in self._rows():
            name, digest = from_spreadsheet(row["path"]), bytes.fromhex(row["sha256"])
            found = by_name.get(name)
            if found is None or found.digest != digest:
                found = by_digest.get(digest)
            if found is None:
                missing.append(name)
                continue
            pictures.append(replace(found, label=from_spreadsheet(row["label"]), split=row["split"]))
        if missing:
            raise DataError(
                f"{dataset.source}: {len(missing):,} of the {len(missing) + len(pictures):,} pictures of {self.folder} are not "
                f"there any more or have changed, such as {missing[0]}; say where they are now: whatsit train DATA --from-run ..."
            )
        classes = tuple(sorted({picture.label for picture in pictures}))
        # The copies that were left out of the earlier splits are among the run's pictures no more.
        copies = Leakage(copies=copies_in_test(dataset.pictures))
        return replace(dataset, pictures=tuple(pictures), classes=classes, leakage=copies)

    def warn(self, reporter: Reporter) -> None:
        """Tell what may make the figures others than they were."""
        made_with = _versions_of(self.folder)
        others = [
            f"{name} {made_with[name]} (now {now})"
            for name, now in versions().items()
            if made_with.get(name, now) != now
        ]
        if others:
            reporter.warn(f"{self.folder} was made with {', '.join(others)}; the figures may differ")
        if self.seconds is not None:
            reporter.warn(
                f"{self.folder} was fitted to a time limit of {duration(self.seconds)}; it is kept again, and the figures depend "
                "on how fast the machine is meanwhile"
            )

    def _rows(self) -> list[dict[str, str]]:
        path = self.folder / "split.csv"
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = [{key: row[key] for key in ("path", "label", "split", "sha256")} for row in csv.DictReader(file)]
            for row in rows:
                if not all(row.values()) or row["split"] not in SPLITS or len(bytes.fromhex(row["sha256"])) != 32:
                    raise ValueError(f"it has a row that says {list(row.values())}"[:200])
            if not rows:
                raise ValueError("it is empty")
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise DataError(f"{path}: this file is damaged: {error}") from None
        return rows


def read_again(run: str | Path, data: str | Path | None) -> Again:
    """What the run in a folder was made of; DATA where its pictures lie elsewhere now.

    Raises `UsageError` where the folder holds no run that was trained, or nobody says where its pictures are.
    """
    folder = run_folder(run)
    if folder is None or not (folder / "metrics.json").is_file() or not (folder / "split.csv").is_file():
        raise UsageError(f"{run}: this is no run folder to repeat; --from-run takes a folder that whatsit train made")
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        noted, limit = metrics.get("data"), metrics.get("time_limit")
        seconds = None if limit is None else float(limit)
        if seconds is not None and not 0 < seconds < math.inf:
            raise ValueError(f"time_limit is {seconds}")
    except (OSError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UsageError(f"{folder / 'metrics.json'}: this file is damaged: {error}") from None
    try:
        recipe = make_plan(str(folder / "recipe.toml"), None, None, None, {})
    except UsageError as error:
        raise UsageError(f"{folder}: this run cannot be repeated: {error}") from None
    where = data or noted
    if not isinstance(where, str | Path):
        raise UsageError(f"{folder}: nobody noted where its pictures are; say it: whatsit train DATA --from-run {run}")
    return Again(folder, str(where), recipe, seconds)


def _versions_of(folder: Path) -> dict[str, Any]:
    try:
        found = read_bundle(folder).provenance.get("versions")
    except BundleError:
        return {}
    return dict(found) if isinstance(found, dict) else {}
