"""What run folders hold: written, read again, and listed."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whatsit.bundle.read import BEST, run_folder
from whatsit.errors import ImageError, UsageError, suggest
from whatsit.evaluation.criteria import Check
from whatsit.evaluation.mistakes import mistake_files
from whatsit.files import spreadsheet_safe, write_text
from whatsit.images.decode import read_file
from whatsit.images.scan import Dataset

RUNS = Path("runs")
SORTS = ("created", "accuracy", "loss", "seconds", "n", "name", "recipe", "model")
_LARGEST_FIRST = frozenset(("created", "accuracy", "n"))


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


def write_split(dataset: Dataset, path: Path) -> None:
    """`path,label,split,sha256` of every picture, by its name in DATA."""
    rows = ([p.name, p.label, p.split or "", p.digest.hex()] for p in dataset.pictures)
    write_csv(path, ("path", "label", "split", "sha256"), rows)


def write_leakage(dataset: Dataset, path: Path) -> None:
    """Write `path,resembles,how` of every test picture that leaks; no file where there is none."""
    ways = (("near-duplicate", "near"), ("exact copy", "copies"), ("same group", "grouped"))
    rows = [(*names, how) for how, kind in ways for names in getattr(dataset.leakage, kind).values()]
    if rows:
        write_csv(path, ("path", "resembles", "how"), rows)


def write_unreadable(unreadable: Iterable[tuple[str, str]], path: Path) -> None:
    """`path,reason` of every picture that was left out; no file where there is none."""
    rows = list(unreadable)
    if rows:
        write_csv(path, ("path", "reason"), rows)


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table that no spreadsheet takes formulas from."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([spreadsheet_safe(cell) for cell in row] for row in rows)
    write_text(path, text.getvalue())


@dataclass(frozen=True)
class RunRecord:
    """What a run folder tells beyond its model; empty where a file is missing or is not one of ours."""

    history: tuple[
        dict[str, float], ...
    ] = ()  # of the kept stage, () of a single epoch: epoch, loss, accuracy, val_loss, val_accuracy, ...
    best_epoch: int | None = None  # the one that was kept
    mistakes: tuple[MistakeRecord, ...] = ()
    checks: tuple[Check, ...] = ()  # the criteria that it was held against when it was made
    report: Path | None = None


@dataclass(frozen=True)
class MistakeRecord:
    """A wrong answer on a test picture."""

    label: str  # what it truly is
    answer: str
    probability: float  # of the answer
    picture: bytes  # a file
    evidence: bytes  # a file: the same with the evidence for the answer laid over it


def read_run(model: str | Path) -> RunRecord:
    """The record of the run folder that a model (the folder, or the `model.whatsit` in it) lies in."""
    folder = run_folder(model)
    if folder is None:
        return RunRecord()
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        best = metrics["best_epoch"]
        stage, epoch = str(best["stage"]), int(best["epoch"])
        mistakes = (metrics["examination"] or {}).get("mistakes", [])
        criteria = (metrics["examination"] or {}).get("criteria", [])[:50]
        # Runs made before classes without test pictures were looked for may have passed for want of looking.
        checks = [_read_check(row) for row in criteria] if all("untested" in row for row in criteria) else []
        found = [_read_mistake(folder, number, row) for number, row in enumerate(mistakes[:50])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return RunRecord()
    report = folder / "report.html"
    return RunRecord(
        _read_history(folder / "history.csv", stage),
        epoch,
        tuple(mistake for mistake in found if mistake),
        tuple(checks),
        report if report.is_file() else None,
    )


def _read_check(row: Mapping[str, Any]) -> Check:
    name, what, wanted, found = (str(row[key]) for key in ("name", "what", "wanted", "found"))
    untested = tuple(str(label) for label in row["untested"])
    return Check(name, what, wanted, found, row["passed"] is True, str(row.get("note", "")), untested)


def _read_mistake(folder: Path, number: int, row: Mapping[str, Any]) -> MistakeRecord | None:
    probability = float(row["probability"])
    if not 0 <= probability <= 1:
        return None
    try:
        picture, evidence = (read_file(path) for path in mistake_files(folder, number))
    except ImageError:
        return None  # of a run made before these were kept
    return MistakeRecord(str(row["label"]), str(row["answer"]), probability, picture, evidence)


def _read_history(path: Path, stage: str) -> tuple[dict[str, float], ...]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["stage"] == stage]
        history = tuple({name: float(value) for name, value in row.items() if name != "stage"} for row in rows)
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return ()
    if len(history) < 2:
        return ()
    return history if all(math.isfinite(value) for row in history for value in row.values()) else ()


def seconds_used(folder: Path) -> float:
    """How long an unfinished run had worked when its last epoch was noted; 0 where there is none."""
    try:
        with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
            seconds = max((float(row["seconds"]) for row in csv.DictReader(file)), default=0.0)
            return seconds if math.isfinite(seconds) else 0.0
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return 0.0


def list_runs(folder: str | Path = RUNS, sort: str = "created") -> list[RunSummary]:
    """The finished runs in a folder, best runs of studies among them: the newest first, or the best by what is sorted by.

    Raises `UsageError` where there is no such folder, or no such column.
    """
    if sort not in SORTS:
        raise UsageError(f"unknown column '{sort}' to sort by{suggest(sort, SORTS)}")
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder of runs; train a first one with: whatsit train DATA")
    places = [path.parent for pattern in ("*", f"*/{BEST}") for path in folder.glob(f"{pattern}/metrics.json")]
    found = [
        replace(run, name=place.relative_to(folder).as_posix()) for place in places if (run := read_summary(place))
    ]
    return sorted(found, key=lambda run: getattr(run, sort), reverse=sort in _LARGEST_FIRST)


def read_summary(folder: Path) -> RunSummary | None:
    """The line of a run folder; None where it holds no run."""
    try:
        return _summary(folder.name, json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return None


def _summary(name: str, metrics: dict[str, Any]) -> RunSummary:
    test = metrics["test"]
    low, high = test["accuracy_ci95"]
    if not all(
        math.isfinite(float(value)) for value in (test["accuracy"], low, high, test["loss"], metrics["seconds"])
    ):
        raise ValueError("a figure is no number")
    return RunSummary(
        name,
        str(metrics["recipe"]),
        str(metrics["model"]),
        float(test["accuracy"]),
        (float(low), float(high)),
        float(test["loss"]),
        int(test["n"]),
        float(metrics["seconds"]),
        str(metrics["created"]),
    )
