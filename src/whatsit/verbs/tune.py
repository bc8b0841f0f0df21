"""`whatsit tune`: a better recipe, found by trials, and the model that it makes."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whatsit.cache import working
from whatsit.events import SILENT, Reporter
from whatsit.images.data import open_split, report_data
from whatsit.run.plan import make_plan, said_seed
from whatsit.run.report import afterwards
from whatsit.run.request import allowed_seconds
from whatsit.run.summary import RunSummary, read_summary
from whatsit.run.workspace import RESUME, require_outside, run_name
from whatsit.run_files import JOB, RECIPE, RUNS, UNFINISHED
from whatsit.scale.opening import crew_of, require_one_kind
from whatsit.training.recipe import Recipe
from whatsit.tuning.best import conclude
from whatsit.tuning.folder import Request, begin_study, latest_study, new_folder, resume_study
from whatsit.tuning.study import Row, require_optuna
from whatsit.tuning.trials import Trials
from whatsit.verbs.train import train


@dataclass(frozen=True)
class Tuning:
    """A finished study, or this process's part of it."""

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
    workers: int | None = None,
    ray: str | None = None,
    reporter: Reporter = SILENT,
) -> Tuning:
    """Search for a better recipe, train it as `train` does, and measure that model.

    Trials are judged by their calibrated validation loss; they never see test pictures. Of those whose loss is not clearly
    above the lowest, the first is chosen, and the recipe as it is was tried first. Pretrained networks are tried on at most
    10,000 training pictures; networks from scratch get a whole schedule in an eighth of the epochs.

    Args:
        data: as for `train`.
        recipe: what is changed; `fast` by default.
        backbone: as for `train`; what is set here or by `weights` and `settings` is not searched.
        weights: as for `train`.
        trials: how many; 50 of heads and 20 of others by default, or as many as the time limit allows.
        time_limit: for everything, with the best run and its report.
        out: the folder of the study; `runs/DATA-tune` by default.
        seed: as for `train`.
        limit: as for `train`.
        resume: continue a study, or work on it beside other processes; more `trials` than before prolong it.
        settings: as for `train`.
        search: `key=low..high` or `key=value,value`, instead of the default space of the recipe.
        report: as for `train`, of the best run.
        workers: processes on this machine that run trials, each with its share of the processors.
        ray: the address of a Ray cluster whose machines run trials; the data must have the same address on all of them.
        reporter: takes events.

    Returns:
        The folder of the study, its trials, and the best run.

    Raises:
        UsageError: an argument is wrong.
        DataError: the data cannot be used.
        DiskError: the study cannot be written.
        MissingExtraError: Optuna or Ray is not installed.
        WorkerError: no worker can work.
        WhatsitError: every trial failed.
    """
    started = time.perf_counter()
    require_optuna()
    require_one_kind(ray, workers)
    seconds, settings, runs = allowed_seconds(time_limit), settings or {}, Path(out or RUNS)
    require_outside(data, out)
    asked = bool(recipe or backbone or weights or settings or search) or seed is not None
    wishes = make_plan(recipe or "fast", backbone, weights, seed, settings) if asked or not resume else None
    is_seeded = said_seed(seed, recipe, settings) is not None
    open_images = functools.partial(open_split, data, reporter)
    request = Request(data, wishes, settings, search, limit, trials, seconds, is_seeded, open_images)
    if resume:
        study, dataset = resume_study(runs if out else latest_study(RUNS, request.address), request)
    else:
        study, dataset = begin_study(runs if out else new_folder(RUNS, run_name(str(data), "tune")), request)
    report_data(dataset, reporter)

    def train_best(folder: Path, recipe: Recipe, left: float | None) -> None:
        there = open_split(data, SILENT, study.limit, recipe.seed, recipe.fractions)
        study.require_same(there)  # or what chose could become what tests
        chosen: dict[str, Any] = {"recipe": str(study.folder / RECIPE), "seed": recipe.seed}
        resume = (folder.with_name(f"{folder.name}{UNFINISHED}") / JOB).is_file()
        more = {} if resume else chosen | {"limit": study.limit, "time_limit": left}
        train(study.data, out=folder, resume=resume, report=report, reporter=reporter, **more)

    try:
        after = afterwards(dataset, report=report)
        mine = Trials(study, dataset, after, started - study.used, reporter, crew_of(study, ray, workers))
        found = conclude(study, mine, UNFINISHED, train_best, reporter)
    except BaseException as error:
        error.add_note(f"what was done is in {study.folder}; {RESUME}")
        raise
    run = read_summary(found.run) if found.run else None
    return Tuning(study.folder, found.rows, found.best, found.recipe, run, round(time.perf_counter() - started, 2))
