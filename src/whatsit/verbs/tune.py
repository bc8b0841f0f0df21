"""`whatsit tune`: a better recipe for these pictures, found by trials, and the model that it makes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from whatsit.cache import working
from whatsit.errors import RecipeError, UsageError, WhatsitError
from whatsit.files import move_into_place, write_text
from whatsit.images.scan import Dataset, typical_size
from whatsit.images.split import limit as limit_pictures
from whatsit.models.backbones import backbones_at_hand
from whatsit.progress import SILENT, Reporter
from whatsit.run.plan import make_plan, said_seed
from whatsit.run.request import allowed_seconds
from whatsit.run.summary import RunSummary, read_summary
from whatsit.run.workspace import RESUME, require_outside
from whatsit.run_files import BEST, JOB, MODEL, PLOTS, RECIPE, UNFINISHED
from whatsit.training import recipe as recipes
from whatsit.training.checked import changed
from whatsit.training.knobs import Space
from whatsit.training.recipe import Recipe
from whatsit.tuning import space as spaces
from whatsit.tuning.space import space_from_json, space_to_json
from whatsit.verbs.data import open_data, split_data, tell_about
from whatsit.verbs.study import Row, Study, require_optuna, write_trials
from whatsit.verbs.study_place import StudyPlace, begin, go_on
from whatsit.verbs.train import train
from whatsit.verbs.trials import Trials, in_words

JUDGED_FROM = 0.25  # of a trial's epochs, from which on it may be stopped


@dataclass(frozen=True)
class Tuning:
    """A study that came to its end, or this process's part of it."""

    folder: Path  # study.db, trials.csv, recipe.toml, plots/, and the best run in best/
    trials: tuple[Row, ...]
    best: Row  # the chosen one; see `tune`
    recipe: Recipe  # its recipe
    run: RunSummary | None  # of the best run; None where another process makes it
    seconds: float


@working()
def tune(
    data: str | Path,
    *,
    recipe: str | None = None,
    backbone: str | None = None,
    weights: str | Path | None = None,
    trials: int | None = None,
    time_limit: str | float | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    limit: int | None = None,
    resume: bool = False,
    settings: dict[str, Any] | None = None,
    search: Sequence[str] = (),
    report: bool = True,
    reporter: Reporter = SILENT,
) -> Tuning:
    """Search for a better recipe, train it as `train` does, and measure that model.

    Trials are judged by their calibrated validation loss; test pictures are not among what they see. Of those whose loss is not
    clearly above the lowest, the first is chosen, and the recipe as it is was tried first. Pretrained networks are tried on at
    most 10,000 training pictures; networks from scratch get a whole schedule in an eighth of the epochs.

    Args:
        data, backbone, weights, seed, limit, settings: as for `train`; what is set is not searched.
        recipe: what is changed; `fast` by default.
        trials: how many; 50 of heads and 20 of others by default, or as many as the time limit allows.
        time_limit: for all, the best run with its report among it.
        out: the folder of the study; `runs/DATA-tune` by default.
        resume: go on with a study, or work on it beside other processes, as it was begun; more `trials` than before prolong it.
        search: `key=low..high` or `key=value,value`, instead of what the recipe's kind is searched for.
        report: as for `train`, of the best run.
        reporter: is told about progress.

    Raises:
        UsageError: an argument is wrong. DataError: the data cannot be used. DiskError: the study cannot be written.
        MissingExtraError: Optuna is not installed. WhatsitError: every trial failed.
    """
    started = time.perf_counter()
    require_optuna()
    seconds = allowed_seconds(time_limit)
    if trials is not None and trials < 1:
        raise UsageError(f"--trials must be at least 1, received {trials}")
    require_outside(data, out)
    said = bool(recipe or backbone or weights or settings or search) or seed is not None
    wishes = _base(recipe, backbone, weights, seed, settings or {}) if said or not resume else None
    place = go_on(out, data) if resume else None
    if place and limit not in (None, place.limit):
        raise UsageError(
            f"{place.folder}: this study was begun with --limit {place.limit}, now {limit} is asked for; leave it out"
        )
    base, limit = (place.recipe, place.limit) if place else (wishes or Recipe(), limit)
    dataset = _open(data, limit, base.seed, reporter)
    if wishes:
        base = wishes = spaces.to_tune(wishes, len(dataset.of("train")), settings or {})
    if place:
        if wishes and said_seed(seed, recipe, settings or {}) is None:
            wishes = replace(wishes, seed=place.recipe.seed)
        space = _space(wishes, dataset, settings or {}, search) if wishes and search else None
        place.require_same(dataset, wishes, space_to_json(space) if space else None, settings or {})
        place.prolong(trials, seconds)
    else:
        space = _space(base, dataset, settings or {}, search)
        place = begin(out, data, dataset, base, space_to_json(space), limit, trials, seconds)
    tell_about(dataset, reporter)
    try:
        return _work(place, dataset, report, started - place.used, reporter)
    except BaseException as error:
        error.add_note(f"what was done is in {place.folder}; {RESUME}")
        raise


def _work(place: StudyPlace, dataset: Dataset, report: bool, started: float, reporter: Reporter) -> Tuning:
    """Make trials, and then the best run, unless another process is still at a trial."""
    base, space = place.recipe, space_from_json(place.space)
    study = Study(
        place.folder,
        space,
        seed=base.seed,
        warmup=round(JUDGED_FROM * spaces.for_trial(base).epochs),
        first=spaces.starting_points(base, space),
    )
    making = Trials(place, study, base, dataset, report=report, started=started, reporter=reporter)
    with study.working():
        making.make()
        others = study.give_back()
    rows = study.rows()
    best = _chosen(rows, place.folder / "trials")
    tuned = making.recipe_of(best.values)
    run = None
    if not others:
        with FileLock(place.folder / ".best.lock"):
            _draw(place, study, rows, best, tuned)
            if place.made() != best.number or not (place.folder / BEST / MODEL).is_file():
                left = None if place.seconds is None else making.left() + making.reserved
                _train_best(place, best, tuned, left, report, reporter)
            run = read_summary(place.folder / BEST)
    return Tuning(place.folder, tuple(rows), best, tuned, run, round(time.perf_counter() - started, 2))


def _base(
    recipe: str | None, backbone: str | None, weights: str | Path | None, seed: int | None, settings: dict[str, Any]
) -> Recipe:
    base = make_plan(recipe or "fast", backbone, weights, seed, settings)
    if base.candidates:
        raise RecipeError(
            f"the recipe '{base.name}' chooses among others; tune one of them: {', '.join(base.candidates)}"
        )
    return base


def _open(data: str | Path, limit: int | None, seed: int, reporter: Reporter) -> Dataset:
    if limit is not None and limit < 3:
        raise UsageError(f"--limit must be at least 3 (one picture each to train, validate and test), received {limit}")
    dataset = open_data(data, reporter)
    if limit is not None:
        dataset = limit_pictures(dataset, limit, seed)
    return split_data(dataset, seed, reporter)


def _space(base: Recipe, dataset: Dataset, settings: Mapping[str, Any], search: Sequence[str]) -> Space:
    if search:
        space = spaces.parse_search(search, base)
        if both := space.keys() & settings:
            raise UsageError(f"'{min(both)}' is both set and searched; leave out one of them")
    else:
        default = spaces.default_space(base, max(typical_size(dataset)), len(dataset.of("train")), backbones_at_hand())
        space = {key: knob for key, knob in default.items() if key not in settings}
    for key, knob in space.items():
        for value in spaces.ends(knob):
            changed(base, {key: value}, "--search")  # refuses what has no effect, or cannot be
    return space


def _chosen(rows: Sequence[Row], folder: Path) -> Row:
    """Of the trials whose loss is not clearly above the lowest, the first: chance lowers the best of many, and the recipe as
    it is was tried first.

    By two standard errors of the paired differences between their losses of each validation picture.
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
    """Of each validation picture; None where they are gone."""
    try:
        found = np.load(folder / f"{row.number:04d}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile):
        return None
    return np.asarray(found, np.float64)


def _draw(place: StudyPlace, study: Study, rows: Sequence[Row], best: Row, tuned: Recipe) -> None:
    """Write the table of trials, the chosen recipe and the plots."""
    from whatsit.evaluation.tuning_plots import draw_tuning

    folder = place.folder
    write_trials(list(rows), folder / "trials.csv")
    about = f"whatsit train DATA --recipe {folder / 'recipe.toml'}"
    found = f"Trial {best.number + 1} of {len(rows)}; validation loss {best.loss:.4f}"
    write_text(folder / RECIPE, recipes.to_toml(tuned, f"{about}\n\n{found}"))
    draw_tuning(folder / PLOTS, [vars(row) for row in rows], best.number, study.importance())


def _train_best(
    place: StudyPlace, best: Row, tuned: Recipe, left: float | None, report: bool, reporter: Reporter
) -> None:
    """Train the chosen recipe as `train` does; `best/` is replaced when that is done. One that was cut off is gone on with."""
    folder = place.folder
    named = folder / f"{BEST}-{best.number:04d}"
    begun = (named.with_name(f"{named.name}{UNFINISHED}") / JOB).is_file()
    reporter.say(f"Training the recipe of trial {best.number + 1}: {in_words(best.values)}")
    if not (named / MODEL).is_file():
        place.note_ending()
        place.require_same(_open(place.data, place.limit, tuned.seed, SILENT))  # or what chose could become what tests
        train(
            place.data,
            recipe=None if begun else str(folder / RECIPE),
            out=named,
            seed=None if begun else tuned.seed,
            limit=None if begun else place.limit,
            time_limit=None if begun or left is None else max(left, 1.0),
            resume=begun,
            report=report,
            reporter=reporter,
        )
    move_into_place(named, folder / BEST)
    place.note_made(best.number)
    for other in folder.glob(f"{BEST}-*{UNFINISHED}"):  # of a recipe that was the best before
        shutil.rmtree(other, ignore_errors=True)
