"""The folder of a study: what it is about, and how far it has come."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from whatsit.errors import UsageError
from whatsit.files import disk_error, write_text
from whatsit.images.scan import Dataset
from whatsit.run.record import address
from whatsit.run.workspace import run_name
from whatsit.run_files import RUNS
from whatsit.training import recipe as recipes
from whatsit.training.checked import changed
from whatsit.training.recipe import Recipe
from whatsit.tuning.space import ends, space_from_json

_ABOUT = "study.json"
_LOCK = ".study.lock"
AGAIN = "begin a new one, or remove it first"


@dataclass
class StudyPlace:
    """A study's folder, and `study.json` in it."""

    folder: Path
    data: str
    fingerprint: str
    recipe: Recipe  # which is changed
    space: dict[str, Any]
    limit: int | None
    trials: int | None
    seconds: float | None
    used: float = 0.0  # seconds of work so far

    def trial_folder(self, number: int) -> Path:
        """Where a trial works; one that is made again after a `kill -9` finds its checkpoints there."""
        return self.folder / "trials" / f"{number:04d}"

    def require_same(
        self,
        dataset: Dataset,
        wishes: Recipe | None = None,
        space: Mapping[str, Any] | None = None,
        settings: Collection[str] = (),
    ) -> None:
        """Raises `UsageError` where the pictures, or what is wanted now, are others than when the study was begun."""
        if dataset.fingerprint() != self.fingerprint:
            raise UsageError(f"{self.data}: the pictures have changed since the study {self.folder} was begun; {AGAIN}")
        if wishes is None:
            return
        for key, value in vars(wishes).items():
            if value != getattr(self.recipe, key):
                begun = f"this study was begun with {key} = {getattr(self.recipe, key)}"
                raise UsageError(f"{self.folder}: {begun}, now {value} is asked for; leave it out, or {AGAIN}")
        otherwise = space is not None and json.dumps(space) != json.dumps(self.space)
        if otherwise or self.space.keys() & settings:
            raise UsageError(
                f"{self.folder}: this study searches otherwise than is asked for now; leave it out, or {AGAIN}"
            )

    def prolong(self, trials: int | None, seconds: float | None) -> None:
        """Give the study more trials, or more time from now on. What it was begun with changes nothing while it is not finished,
        so that the same command goes on with it; more trials of one that is finished have no time limit unless one is said.
        """
        finished = self.made() is not None
        more = (trials or 0) > (self.trials or 0)
        if seconds is not None and (seconds != self.seconds or finished):
            self.seconds, more = seconds + self.used, True
        elif seconds is None and trials is not None and finished:
            self.seconds = None
        self.trials = self.trials if trials is None else trials
        if more:
            self._note(ending=False)
        self.write()

    def is_ending(self) -> bool:
        """Whether all that is left of the time is the best run's, which is begun."""
        return self.seconds is not None and bool(_read(self.folder).get("ending"))

    def note_ending(self) -> None:
        """The best run is begun."""
        self._note(ending=True)

    def note_used(self, seconds: float) -> None:
        """How long the study has been worked on."""
        self._note(used=max(seconds, self.used))

    def made(self) -> int | None:
        """The trial whose recipe the best run was trained by."""
        number = _read(self.folder).get("made")
        return number if isinstance(number, int) else None

    def note_made(self, number: int) -> None:
        """The best run is there."""
        self._note(made=number, ending=False)

    def write(self) -> None:
        """Raises `DiskError`."""
        about = {
            "data": self.data,
            "fingerprint": self.fingerprint,
            "recipe": vars(self.recipe),
            "space": self.space,
            "limit": self.limit,
            "trials": self.trials,
            "time_limit": self.seconds,
            "used": self.used,
        }
        self._note(**about)

    def _note(self, **about: Any) -> None:
        with FileLock(self.folder / _LOCK):
            write_text(
                self.folder / _ABOUT, json.dumps(_read(self.folder) | about, ensure_ascii=False, indent=1) + "\n"
            )


def begin(
    out: str | Path | None,
    data: str | Path,
    dataset: Dataset,
    recipe: Recipe,
    space: dict[str, Any],
    limit: int | None,
    trials: int | None,
    seconds: float | None,
) -> StudyPlace:
    """A new study's folder. Raises `UsageError` where the name is taken, `DiskError` where it cannot be written."""
    name = run_name(str(data), "tune")
    folder, number = Path(out) if out else RUNS / name, 1
    while not out and folder.exists():
        number += 1
        folder = RUNS / f"{name}-{number}"
    if folder.exists() and not _is_free(folder):
        again = "go on with --resume, " if (folder / _ABOUT).is_file() else ""
        raise UsageError(f"{folder} exists already; {again}choose another place with --out, or remove it first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from None
    place = StudyPlace(folder, address(data), dataset.fingerprint(), recipe, space, limit, trials, seconds)
    place.write()
    return place


def _is_free(folder: Path) -> bool:
    """Whether a folder is empty, but for what a process left that was killed before it had written down what for."""
    return folder.is_dir() and all(
        path.name == _LOCK or (path.name.startswith(f".{_ABOUT}.") and path.suffix == ".part")
        for path in folder.iterdir()
    )


def go_on(out: str | Path | None, data: str | Path) -> StudyPlace:
    """The study in a folder, or the latest one of DATA.

    Raises `UsageError` where there is none, or it is of other data.
    """
    folder = Path(out) if out else _latest(data)
    about = _read(folder)
    if not about:
        raise UsageError(f"{folder}: no study is there; begin it with the same command without --resume")
    try:
        recipe = recipes.change(Recipe(), about["recipe"], str(folder / _ABOUT))
        limit, said_trials, said_seconds = (about[key] for key in ("limit", "trials", "time_limit"))
        place = StudyPlace(
            folder,
            str(about["data"]),
            str(about["fingerprint"]),
            recipe,
            dict(about["space"]),
            None if limit is None else int(limit),
            None if said_trials is None else int(said_trials),
            None if said_seconds is None else float(said_seconds),
            float(about["used"]),
        )
        for key, knob in space_from_json(place.space).items():
            changed(recipe, {key: ends(knob)[0]}, key)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, UsageError) as error:
        raise UsageError(f"{folder / _ABOUT}: this study cannot be gone on with ({error}); {AGAIN}") from None
    if place.data != address(data):
        raise UsageError(f"{folder}: this study is of {place.data}, not of {data}")
    return place


def _latest(data: str | Path) -> Path:
    found = [file.parent for file in RUNS.glob(f"*/{_ABOUT}") if _read(file.parent).get("data") == address(data)]
    if not found:
        raise UsageError(f"{RUNS}: no study of {data} is there; begin one with the same command without --resume")
    return max(found, key=lambda folder: (folder / _ABOUT).stat().st_mtime)


def _read(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
