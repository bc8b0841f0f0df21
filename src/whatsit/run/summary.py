"""Finished runs for people: a line of a list, and the details that the app shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.bundle.read import run_folder
from whatsit.errors import ImageError, UsageError, suggest
from whatsit.evaluation.criteria import Check
from whatsit.evaluation.mistakes import mistake_files
from whatsit.events import SILENT, Reporter
from whatsit.images.decode import read_file
from whatsit.run.record import NewerRunError, RecordError, read_history, read_metrics, reading
from whatsit.run_files import BEST, METRICS, REPORT, RUNS

SORTS = ("created", "accuracy", "loss", "seconds", "n", "name", "recipe", "model")
_LARGEST_FIRST = frozenset(("created", "accuracy", "n"))
_MOST = 50  # mistakes and criteria that are read


@dataclass(frozen=True)
class RunSummary:
    """A line of `whatsit runs`."""

    name: str
    recipe: str
    model: str
    accuracy: float
    accuracy_ci95: tuple[float, float]
    loss: float
    n: int
    seconds: float
    created: str


def list_runs(folder: str | Path = RUNS, sort: str = "created", *, reporter: Reporter = SILENT) -> list[RunSummary]:
    """Return the finished runs in a folder, the newest first or sorted by a column.

    Best runs of studies are among them. Damaged ones are left out; so are those of a newer format, with a warning.

    Args:
        folder: where the run folders are.
        sort: a column, such as `accuracy`; the best first.
        reporter: gets a warning for each folder of a newer format.

    Raises:
        UsageError: there is no such folder or no such column.
    """
    if sort not in SORTS:
        raise UsageError(f"unknown column '{sort}' to sort by{suggest(sort, SORTS)}")
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder of runs; train a first one with: whatsit train DATA")
    found = []
    for path in (path for pattern in ("*", f"*/{BEST}") for path in folder.glob(f"{pattern}/{METRICS}")):
        try:
            run = read_summary(path.parent)
        except NewerRunError as error:
            reporter.warn(str(error))
            continue
        if run:
            found.append(replace(run, name=path.parent.relative_to(folder).as_posix()))
    return sorted(found, key=lambda run: getattr(run, sort), reverse=sort in _LARGEST_FIRST)


def read_summary(folder: Path) -> RunSummary | None:
    """Return the line of a run folder; None where it holds no complete run.

    Raises:
        NewerRunError: the run is of a newer format.
    """
    try:
        metrics = read_metrics(folder)
        with reading(folder / METRICS):
            return _summary(folder.name, metrics)
    except RecordError:
        return None


def _summary(name: str, metrics: dict[str, Any]) -> RunSummary:
    test = metrics["test"]
    low, high = (float(value) for value in test["accuracy_ci95"])
    accuracy, loss, seconds = float(test["accuracy"]), float(test["loss"]), float(metrics["seconds"])
    if not all(map(math.isfinite, (accuracy, low, high, loss, seconds))):
        raise ValueError("a metric is not a finite number")
    recipe, model, created = (str(metrics[key]) for key in ("recipe", "model", "created"))
    return RunSummary(name, recipe, model, accuracy, (low, high), loss, int(test["n"]), seconds, created)


@dataclass(frozen=True)
class MistakeRecord:
    """A wrong prediction on a test image."""

    label: str  # the true one
    answer: str
    probability: float  # of the answer
    picture: bytes  # a file
    evidence: bytes  # a file: the same with the evidence for the answer laid over it


@dataclass(frozen=True)
class RunRecord:
    """What a run folder holds beyond its model; empty where a file is damaged."""

    # Epochs of the stage that was kept: epoch, loss, accuracy, val_loss, val_accuracy, ...; () of a single epoch.
    history: tuple[dict[str, float], ...] = ()
    best_epoch: int | None = None  # the one that was kept
    mistakes: tuple[MistakeRecord, ...] = ()
    checks: tuple[Check, ...] = ()  # the criteria of its report
    report: Path | None = None


def read_run(model: str | Path) -> RunRecord:
    """Return the record beside a model, which is a run folder or the file in it."""
    folder = run_folder(model)
    if folder is None:
        return RunRecord()
    try:
        metrics = read_metrics(folder)
        with reading(folder / METRICS):
            stage, epoch = str(metrics["best_epoch"]["stage"]), int(metrics["best_epoch"]["epoch"])
            examination = metrics["examination"] or {}
            mistakes = [_mistake(folder, *row) for row in enumerate(examination.get("mistakes", [])[:_MOST])]
            criteria = examination.get("criteria", [])[:_MOST]
            # Runs made before classes without test images were looked for may have passed for want of looking.
            checks = [_check(row) for row in criteria] if all("untested" in row for row in criteria) else []
    except (RecordError, NewerRunError):
        return RunRecord()
    found = tuple(mistake for mistake in mistakes if mistake)
    report = folder / REPORT
    return RunRecord(_history(folder, stage), epoch, found, tuple(checks), report if report.is_file() else None)


def _check(row: Mapping[str, Any]) -> Check:
    name, what, wanted, found = (str(row[key]) for key in ("name", "what", "wanted", "found"))
    untested = tuple(str(label) for label in row["untested"])
    return Check(name, what, wanted, found, row["passed"] is True, str(row.get("note", "")), untested)


def _mistake(folder: Path, number: int, row: Mapping[str, Any]) -> MistakeRecord | None:
    probability = float(row["probability"])
    if not 0 <= probability <= 1:
        return None
    try:
        picture, evidence = (read_file(path) for path in mistake_files(folder, number))
    except ImageError:
        return None  # of a run made before these were kept
    return MistakeRecord(str(row["label"]), str(row["answer"]), probability, picture, evidence)


def _history(folder: Path, stage: str) -> tuple[dict[str, float], ...]:
    """Return the epochs of a stage; () of a single one, or with values not finite."""
    try:
        rows = [row for row in read_history(folder) if row.pop("stage") == stage]
    except RecordError:
        return ()
    whole = len(rows) > 1 and all(math.isfinite(value) for row in rows for value in row.values())
    return tuple(rows) if whole else ()
