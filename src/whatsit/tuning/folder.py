"""The folder of a study: what is searched, and how far it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from whatsit.errors import RecipeError, UsageError
from whatsit.files import disk_error, write_text
from whatsit.images.scan import Dataset
from whatsit.images.split import Fractions
from whatsit.run.record import address
from whatsit.run_files import TRIAL_FILES
from whatsit.training.recipe import Recipe, change
from whatsit.training.recipe_checks import changed
from whatsit.tuning.space import ends, searched_space, space_from_json, space_to_json, to_tune

_ABOUT = "study.json"
_LOCK = ".study.lock"
AGAIN = "begin a new one, or remove it first"


@dataclass
class StudyFolder:
    """A study's folder with its `study.json`."""

    folder: Path
    data: str  # its address
    fingerprint: str
    recipe: Recipe  # which is changed
    space: dict[str, Any]  # as `space_to_json` makes it
    limit: int | None
    trials: int | None
    seconds: float | None
    used: float = 0.0  # seconds of work so far

    def trial_folder(self, number: int) -> Path:
        """Return where a trial works.

        One that is repeated after a `kill -9` finds its checkpoints there.
        """
        return self.folder / TRIAL_FILES / f"{number:04d}"

    def require_same(
        self,
        dataset: Dataset,
        wishes: Recipe | None = None,
        space: Mapping[str, Any] | None = None,
        settings: Collection[str] = (),
    ) -> None:
        """Raise `UsageError` where images or settings are not those of the study."""
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
        """Give the study more trials, or more time from now on.

        The values that it began with change nothing while it is not finished, so that the same command resumes it. More trials
        of a finished one have no time limit unless there is a new one.
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
        """Return whether the best run has begun, so that all remaining time is for it."""
        return self.seconds is not None and bool(_read(self.folder).get("ending"))

    def note_ending(self) -> None:
        """Record that the best run begins."""
        self._note(ending=True)

    def note_used(self, seconds: float) -> None:
        """Record the seconds of work so far."""
        self._note(used=max(seconds, self.used))

    def made(self) -> int | None:
        """Return the number of the trial whose recipe the best run was trained by."""
        number = _read(self.folder).get("made")
        return number if isinstance(number, int) else None

    def note_made(self, number: int) -> None:
        """Record that the best run is complete."""
        self._note(made=number, ending=False)

    def write(self) -> None:
        """Write `study.json`. Raises `DiskError`."""
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
            text = json.dumps(_read(self.folder) | about, ensure_ascii=False, indent=1)
            write_text(self.folder / _ABOUT, text + "\n")


@dataclass(frozen=True)
class Request:
    """What the user asks of a study."""

    data: str | Path
    recipe: Recipe | None  # None: that of the study
    settings: Mapping[str, Any]  # keys that are not searched
    search: Sequence[str]  # `key=values`, instead of the default space
    limit: int | None  # images of each class
    trials: int | None
    seconds: float | None
    is_seeded: bool  # whether the user set the seed
    open_images: Callable[
        [int | None, int, Fractions | None], Dataset
    ]  # with that limit, split by that seed and shares

    def __post_init__(self) -> None:
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"--trials must be at least 1, received {self.trials}")
        if self.limit is not None and self.limit < 3:
            what = "--limit must be at least 3 (one picture each to train, validate and test)"
            raise UsageError(f"{what}, received {self.limit}")

    @property
    def address(self) -> str:
        """Return the address of the data, which is the same from every folder."""
        return address(self.data)


def begin_study(folder: Path, request: Request) -> tuple[StudyFolder, Dataset]:
    """Begin a study: return its new folder, and its images. Raises as `make_folder`."""
    recipe = request.recipe or Recipe()
    if recipe.ladder:
        raise RecipeError(f"the recipe '{recipe.name}' chooses among others; tune one such as fast or finetune")
    dataset = request.open_images(request.limit, recipe.seed, recipe.fractions)
    recipe = to_tune(recipe, len(dataset.of("train")), request.settings)
    space = space_to_json(searched_space(recipe, dataset, request.settings, request.search))
    make_folder(folder)
    study = StudyFolder(
        folder, request.address, dataset.fingerprint(), recipe, space, request.limit, request.trials, request.seconds
    )
    study.write()
    return study, dataset


def make_folder(folder: Path) -> None:
    """Make a new study's folder.

    Raises `UsageError` where the name is taken, `DiskError` where it cannot be written.
    """
    if folder.exists() and not _is_free(folder):
        resume = "continue it with --resume, " if (folder / _ABOUT).is_file() else ""
        raise UsageError(f"{folder} exists already; {resume}choose another place with --out, or remove it first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(folder, error) from None


def _is_free(folder: Path) -> bool:
    """Return whether a folder is empty or holds a study that was killed at once.

    That is before `study.json` was written.
    """
    return folder.is_dir() and all(
        path.name == _LOCK or (path.name.startswith(f".{_ABOUT}.") and path.suffix == ".part")
        for path in folder.iterdir()
    )


def resume_study(folder: Path, request: Request) -> tuple[StudyFolder, Dataset]:
    """Return the study in a folder and its images; take more trials or time.

    Raises `UsageError` where there is none, or it was begun otherwise.
    """
    study = _open(folder)
    if study.data != request.address:
        raise UsageError(f"{folder}: this study is of {study.data}, not of {request.address}")
    if request.limit not in (None, study.limit):
        raise UsageError(
            f"{folder}: this study was begun with --limit {study.limit}, now {request.limit} is asked for; leave it out"
        )
    dataset = request.open_images(study.limit, study.recipe.seed, study.recipe.fractions)
    wishes, space = request.recipe, None
    if wishes:
        wishes = to_tune(wishes, len(dataset.of("train")), request.settings)
        wishes = wishes if request.is_seeded else replace(wishes, seed=study.recipe.seed)
        if request.search:
            space = space_to_json(searched_space(wishes, dataset, request.settings, request.search))
    study.require_same(dataset, wishes, space, request.settings)
    study.prolong(request.trials, request.seconds)
    return study, dataset


def _open(folder: Path) -> StudyFolder:
    about = _read(folder)
    if not about:
        raise UsageError(f"{folder}: no study is there; begin it with the same command without --resume")
    try:
        recipe = change(Recipe(), about["recipe"], str(folder / _ABOUT))
        limit, trials, seconds = (about[key] for key in ("limit", "trials", "time_limit"))
        study = StudyFolder(
            folder,
            str(about["data"]),
            str(about["fingerprint"]),
            recipe,
            dict(about["space"]),
            None if limit is None else int(limit),
            None if trials is None else int(trials),
            None if seconds is None else float(seconds),
            float(about["used"]),
        )
        for key, knob in space_from_json(study.space).items():
            changed(recipe, {key: ends(knob)[0]}, key)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, UsageError) as error:
        raise UsageError(f"{folder / _ABOUT}: this study cannot be resumed ({error}); {AGAIN}") from None
    return study


def new_folder(runs: Path, name: str) -> Path:
    """Return a folder for a new study among runs, with a number where it is taken."""
    folder, number = runs / name, 1
    while folder.exists():
        number += 1
        folder = runs / f"{name}-{number}"
    return folder


def latest_study(runs: Path, data: str) -> Path:
    """Return the latest study of the data with that address among runs.

    Raises `UsageError` where there is none.
    """
    found = [file.parent for file in runs.glob(f"*/{_ABOUT}") if _read(file.parent).get("data") == data]
    if not found:
        raise UsageError(f"{runs}: no study of {data} is there; begin one with the same command without --resume")
    return max(found, key=lambda folder: (folder / _ABOUT).stat().st_mtime)


def _read(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}
