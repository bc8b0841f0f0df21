"""The end of a study: the chosen trial, its recipe and plots, and its run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from whatsit.errors import WhatsitError
from whatsit.events import Reporter
from whatsit.files import move_into_place, write_text
from whatsit.run_files import BEST, MODEL, PLOTS, RECIPE, TRIAL_FILES
from whatsit.training.recipe import Recipe, to_toml
from whatsit.tuning.folder import StudyFolder
from whatsit.tuning.study import Row, in_words, write_trials
from whatsit.tuning.trials import Trials

BestRun = Callable[[Path, Recipe, float | None], None]  # makes or resumes a run: its folder, recipe and seconds


@dataclass(frozen=True)
class Conclusion:
    """What a study found."""

    rows: tuple[Row, ...]
    best: Row  # the chosen one
    recipe: Recipe  # its recipe
    run: Path | None  # its folder; None where another process makes it


def choose(rows: Sequence[Row], folder: Path) -> Row:
    """Return the first trial whose loss is not clearly above the lowest.

    Chance lowers the best of many, and the recipe as it is was tried first. Clearly is by two standard errors of the paired
    differences between the losses of each validation image, which are in `folder`.
    """
    from whatsit.training.calibration import clearly_less

    done = [row for row in rows if row.loss is not None]
    if not done:
        reason = next((row.error for row in rows if row.error), "none was finished in time")
        raise WhatsitError(f"no trial came to its end: {reason}")
    lowest = min(done, key=lambda row: float(row.loss or 0.0))
    least = _losses(folder, lowest)
    for row in done:
        losses = _losses(folder, row)
        if losses is None or least is None or losses.shape != least.shape:
            continue
        if not clearly_less(least, losses, errors=2):
            return row
    return lowest


def _losses(folder: Path, row: Row) -> npt.NDArray[np.float64] | None:
    """Return the loss of each validation image; None where the file is unusable."""
    try:
        found = np.load(folder / f"{row.number:04d}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile):
        return None
    return np.asarray(found, np.float64)


def _write_result(folder: Path, rows: Sequence[Row], best: Row, recipe: Recipe, importance: dict[str, float]) -> None:
    """Write the table of trials, the chosen recipe and the plots."""
    from whatsit.evaluation.tuning_plots import draw_tuning

    write_trials(rows, folder / "trials.csv")
    about = f"whatsit train DATA --recipe {folder / 'recipe.toml'}"
    found = f"Trial {best.number + 1} of {len(rows)}; validation loss {best.loss:.4f}"
    write_text(folder / RECIPE, to_toml(recipe, f"{about}\n\n{found}"))
    draw_tuning(folder / PLOTS, [vars(row) for row in rows], best.number, importance)


def conclude(study: StudyFolder, trials: Trials, unfinished: str, train: BestRun, reporter: Reporter) -> Conclusion:
    """Make the trials, choose one and make its run.

    Another process that still works on a trial makes the run instead.

    Args:
        study: its folder; `best/` in it is replaced when the new run is complete.
        trials: of the study.
        unfinished: what ends the name of a run's folder while it is made.
        train: makes the run.
        reporter: takes events.
    """
    rows, others = trials.make()
    best = choose(rows, study.folder / TRIAL_FILES)
    recipe, run = trials.recipe_of(best.values), study.folder / BEST
    if others:
        return Conclusion(tuple(rows), best, recipe, None)
    with FileLock(study.folder / ".best.lock"):
        _write_result(study.folder, rows, best, recipe, trials.importance())
        if study.made() != best.number or not (run / MODEL).is_file():
            reporter.say(f"Training the recipe of trial {best.number + 1}: {in_words(best.values)}")
            named = study.folder / f"{BEST}-{best.number:04d}"
            if not (named / MODEL).is_file():
                study.note_ending()
                train(named, recipe, trials.budget.left_for_best())
            move_into_place(named, run)
            study.note_made(best.number)
            for other in study.folder.glob(f"{BEST}-*{unfinished}"):  # of a recipe that was the best before
                shutil.rmtree(other, ignore_errors=True)
    return Conclusion(tuple(rows), best, recipe, run)
