"""The record of a run: the files beside its model, a writer and a reader of each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whatsit.bundle.read import run_folder
from whatsit.errors import DataError, UsageError
from whatsit.evaluation.evaluate import LeakageMetrics
from whatsit.evaluation.examination import Examination
from whatsit.evaluation.metrics import Metrics
from whatsit.evaluation.prices import measure_costs
from whatsit.evaluation.shipping import Shipped
from whatsit.evaluation.speed import Speed
from whatsit.evaluation.update import Update
from whatsit.files import from_spreadsheet, write_csv, write_text
from whatsit.images.datasets import FILES
from whatsit.images.pictures import SPLITS, Keys, Picture, Pictures
from whatsit.images.places import absolute
from whatsit.images.scan import Dataset
from whatsit.run_files import HISTORY, LEAKAGE, METRICS, MODEL, RECIPE, SPLIT, UNREADABLE
from whatsit.runtime.predictor import Predictor
from whatsit.training.forecast import MoreTime
from whatsit.training.recipe import Recipe, to_toml

if TYPE_CHECKING:
    from whatsit.training.trained import Trained

FORMAT = 1  # of a run folder, in `metrics.json`; whatsit 0.1.0 wrote none


class RecordError(UsageError):
    """A file of a run folder is missing or damaged."""


class NewerRunError(UsageError):
    """A run folder is of a newer whatsit, in a format that this one does not read."""


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    folder: Path
    model: Path  # the bundle
    test: Metrics  # of the bundle, by the Predictor
    speed: Speed  # of one image on this machine
    megabytes: float  # size of the bundle
    seconds: float
    recipe: Recipe
    leakage: LeakageMetrics  # the test accuracy without the images that resemble training images
    examination: Examination | None = None  # what the report is made of
    more_time: MoreTime | None = None  # what more time is likely to give
    update: Update | None = None  # what changed against the run that it was made from
    ships: str = ""  # of a ladder: the rung that ships, and those that were not clearly better

    def load(self) -> Predictor:
        """Open the model for predictions."""
        return Predictor(self.model)


def write_record(
    folder: Path,
    trained: Trained,
    shipped: Shipped,
    examination: Examination | None,
    seconds: float,
    time_limit: float | None,
    update: Update | None = None,
) -> Run:
    """Write the recipe, the lists of images and the metrics beside the model.

    Returns:
        The run as it will be in `folder`, when the workspace becomes that.
    """
    dataset, recipe, test, place = trained.dataset, trained.recipe, shipped.test, shipped.path.parent
    unreadable = [*dataset.unreadable, *test.failed]
    more = trained.more_time
    speed, leakage, size = shipped.speed, shipped.leakage, shipped.megabytes
    ships = trained.ships
    run = Run(
        folder, folder / MODEL, test.metrics, speed, size, seconds, recipe, leakage, examination, more, update, ships
    )
    write_text(place / RECIPE, to_toml(recipe, f"whatsit train DATA, {seconds:.0f} s"))
    write_split(place, dataset)
    ways = (("near-duplicate", "near"), ("exact copy", "copies"), ("same group", "grouped"))
    leaking = [(*names, how) for how, kind in ways for names in getattr(dataset.leakage, kind).values()]
    if leaking:
        write_csv(place / LEAKAGE, ("path", "resembles", "how"), leaking)
    if unreadable:
        write_csv(place / UNREADABLE, ("path", "reason"), unreadable)
    metrics = {
        "data": address(dataset.source),
        "recipe": recipe.name,
        "model": recipe.model,
        "seconds": seconds,
        "time_limit": time_limit,
        "temperature": trained.temperature,
        "best_epoch": trained.best,
        "test": run.test.to_json(),
        **({"costs": costs.to_json()} if (costs := measure_costs(test)) else {}),
        "leakage": leakage.to_json(),
        "speed": vars(speed),
        "model_mb": size,
        "unreadable": len(unreadable),
        "warnings": trained.warnings,
        "notes": trained.notes,
        "ships": trained.ships or None,
        "more_time": vars(more) if more else None,
        "examination": examination.to_json() if examination else None,
        "update": update.to_json() if update else None,
    }
    write_metrics(place, metrics)
    return run


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Write `metrics.json`, with the format of the run folder and the time."""
    head = {"format": FORMAT, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    write_text(folder / METRICS, json.dumps(head | dict(metrics), ensure_ascii=False, indent=1) + "\n")


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return what `metrics.json` says.

    Raises:
        RecordError: the file is missing or damaged. NewerRunError: the format is newer than this whatsit reads.
    """
    path = folder / METRICS
    with reading(path):
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(metrics, dict):
            raise ValueError("it holds no table")
        number = int(metrics.get("format", 0))
    if number > FORMAT:
        raise NewerRunError(
            f"{path}: format {number} is newer than this whatsit reads ({FORMAT}); run: pip install -U whatsit"
        )
    return metrics


def write_split(folder: Path, dataset: Dataset) -> None:
    """Write name in DATA, label, split and SHA-256 of every image."""
    rows = ([p.name, p.label, p.split or "", p.digest.hex()] for p in dataset.pictures)
    write_csv(folder / SPLIT, ("path", "label", "split", "sha256"), rows)


def read_split(folder: Path) -> Pictures:
    """Return the images of a run in order; none where the folder holds no run.

    Raises:
        DataError: the file is damaged. NewerRunError: the run is of a newer format.
    """
    path = folder / SPLIT
    if not path.is_file():
        return Pictures.of(())
    if (folder / METRICS).is_file():
        read_metrics(folder)  # refuses a newer format
    try:
        with reading(path), path.open(encoding="utf-8", newline="") as file:
            return Pictures.of(map(_split_row, csv.DictReader(file)))
    except RecordError as error:
        raise DataError(f"{error}; which pictures were trained on is not known") from None


def _split_row(row: Mapping[str, str]) -> Picture:
    name, label, split, digest = (row[key] for key in ("path", "label", "split", "sha256"))
    if not name or not label or split not in SPLITS or len(bytes.fromhex(digest)) != 32:
        raise ValueError(f"it has a row with {list(row.values())}"[:200])
    return Picture(from_spreadsheet(name), from_spreadsheet(label), split, bytes.fromhex(digest))


def trained_on(model: str | Path, *, tested: bool = False) -> Keys | None:
    """Return the keys of the images that a model was trained on.

    Its run folder says so; None without one. The validation images are among them; with `tested` also the test images.

    Raises as `read_split`.
    """
    folder = run_folder(model)
    if folder is None or not (folder / SPLIT).is_file():
        return None
    recorded = read_split(folder)
    return recorded.keys if tested else recorded.take(~recorded.where("test")).keys


def splits_of(folder: Path) -> dict[bytes, str]:
    """Return the split of each image of a run by its SHA-256. Raises as `read_split`."""
    return {picture.digest: picture.split or "" for picture in read_split(folder)}


def read_history(folder: Path) -> list[dict[str, Any]]:
    """Return the epochs, each its `stage` and numbers; none where there is no file.

    Raises:
        RecordError: the file is damaged.
    """
    path = folder / HISTORY
    if not path.is_file():
        return []
    with reading(path), path.open(encoding="utf-8", newline="") as file:
        return [
            {"stage": row["stage"]} | {key: float(value) for key, value in row.items() if key != "stage"}
            for row in csv.DictReader(file)
        ]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the errors of reading a file that may hold anything into a `RecordError`."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise RecordError(f"{path}: this file is damaged: {error}") from None
    except csv.Error as error:
        raise RecordError(f"{path}: this file is damaged: {error}") from None


def address(data: str | Path) -> str:
    """Return DATA in a form that means the same from every folder."""
    return str(data) if str(data) in FILES and not Path(data).exists() else absolute(str(data))
