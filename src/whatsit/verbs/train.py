"""`whatsit train`: from pictures to a model that was measured."""

from __future__ import annotations

import gc
import json
import math
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whatsit.bundle.format import Bundle, InputSpec, UnknownRule
from whatsit.bundle.write import write_bundle
from whatsit.cache import working
from whatsit.errors import UsageError
from whatsit.evaluation.criteria import load_criteria
from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.examination import Examination
from whatsit.evaluation.leakage import LeakageFigures, leakage_figures
from whatsit.evaluation.metrics import Figures
from whatsit.evaluation.speed import Speed, measure_speed, megabytes
from whatsit.files import write_text, written_by_others
from whatsit.images.decode import RESIZE_RULE
from whatsit.images.scan import Dataset, count_by_label
from whatsit.images.shortage import require_trainable
from whatsit.images.split import limit as limit_pictures
from whatsit.models.unknown import METHOD
from whatsit.progress import SILENT, Reporter
from whatsit.runtime.predictor import Predictor
from whatsit.training import recipe as recipes
from whatsit.training.clock import Afterwards, Clock, duration
from whatsit.training.recipe import Recipe
from whatsit.training.tensorboard import Events, require_tensorboard
from whatsit.verbs.again import Again, read_again
from whatsit.verbs.card import model_card
from whatsit.verbs.data import open_data, scan_data, split_data, tell_about, tell_unreadable
from whatsit.verbs.examine import examine, unreadable_of
from whatsit.verbs.fidelity import require_what_was_fitted
from whatsit.verbs.plan import Order, allowed_seconds, make_plan, said_seed
from whatsit.verbs.run_data import address
from whatsit.verbs.runs import RUNS, seconds_used, write_leakage, write_split, write_unreadable
from whatsit.verbs.shipping import THRESHOLD_PICTURES, set_thresholds, ship, versions
from whatsit.verbs.workplace import new_run, unfinished_run

if TYPE_CHECKING:
    from whatsit.training.trained import Trained


REPORT_FROM = 60  # seconds of a time limit; the report takes some 16 to 25


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    folder: Path
    model: Path  # the bundle
    test: Figures  # of the bundle, by the Predictor
    speed: Speed  # of one picture on this machine
    megabytes: float  # size of the bundle
    seconds: float
    recipe: Recipe
    leakage: LeakageFigures  # the test accuracy without the pictures that resemble training pictures
    examination: Examination | None = None  # what the report is made of

    def load(self) -> Predictor:
        """The model, ready to answer."""
        return Predictor(self.model)


@working()
def train(
    data: str | Path | None = None,
    *,
    from_run: str | Path | None = None,
    recipe: str | None = None,
    backbone: str | None = None,
    weights: str | Path | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    limit: int | None = None,
    time_limit: str | float | None = None,
    resume: bool = False,
    settings: dict[str, Any] | None = None,
    tensorboard: bool = False,
    report: bool = True,
    criteria: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> Run:
    """Train a classifier on DATA and measure it on pictures that it never saw.

    Args:
        data: a folder, archive, CSV or name, as in docs and `whatsit train --help`.
        from_run: the folder of a run to repeat: its pictures (which DATA says the place of, where they were moved), splits,
            recipe and seed.
        recipe: the name of a recipe, or a TOML file; `fast` by default.
        backbone: instead of the recipe's.
        weights: of the backbone: `auto`, `none` or a path.
        out: the run folder to make; `runs/DATA-RECIPE` by default. It must not exist.
        seed: of the split and of training. The same seed on the same machine gives the same run; see README, "The same
            run again", for how nearly.
        limit: at most so many pictures of each class.
        time_limit: how long the whole may take, in seconds or as text such as `10m`; the plan is fitted to it.
        resume: go on with the run that was interrupted, as it was begun.
        settings: recipe keys and values that replace the recipe's.
        tensorboard: also write each epoch as an event into `tensorboard/` of the run folder.
        report: also question the model and write `report.html` and `plots/`.
        criteria: a TOML file of what the report holds the model against, instead of the classic criteria.
        reporter: is told about progress.

    Raises:
        UsageError: an argument is wrong. DataError: the data cannot be used. DiskError: the run cannot be written.
    """
    started = time.perf_counter()
    limits = load_criteria(criteria)
    if tensorboard:
        require_tensorboard()
    wishes = _Wishes(recipe, backbone, weights, seed, limit, time_limit, resume, settings or {})
    again = read_again(from_run, data) if from_run is not None else None
    order = wishes.repeating(again) if again else wishes.order()
    data = again.data if again else data
    if data is None:
        raise UsageError("DATA is missing; give a folder, an archive, a CSV file or the name of a data set")
    if again:
        dataset = again.same_pictures(scan_data(data, reporter))  # its labels are known, whatever was decided since
        again.warn(reporter)
    else:
        dataset = open_data(data, reporter)
    require_trainable(dataset)
    require_outside(data, Path(out) if out else RUNS)
    name = order.asked.name if order.asked else None
    with unfinished_run(out, str(data), name) if resume else new_run(out, str(data), name or "fast") as place:
        wanted = order.agreed(place)
        working = place.path
        if wanted.limit is not None:
            dataset = limit_pictures(dataset, wanted.limit, wanted.plan.seed)
        dataset = split_data(dataset, wanted.plan.seed, reporter)
        wanted.keep(place, dataset)
        tell_about(dataset, reporter)
        used = seconds_used(working)
        if report and wanted.seconds is not None and wanted.seconds < REPORT_FROM:
            reporter.warn(f"a time limit below {REPORT_FROM} s leaves no time for the report")
            report = False
        clock = Clock(
            wanted.seconds, reporter.say, started=started - used, afterwards=afterwards(dataset, report=report)
        )
        listener = Events(reporter, working / "tensorboard") if tensorboard else reporter
        trained, saved = _fit(dataset, wanted.plan, working, clock, listener)
        for warning in trained.warnings:
            reporter.warn(warning)
        plan = trained.recipe
        bundle = _make_bundle(trained)
        require_what_was_fitted(bundle, trained, saved)
        bundle = set_thresholds(bundle, trained.dataset, reporter)
        predictor, evaluation = ship(bundle, working / "model.whatsit", trained.dataset, reporter)
        speed = measure_speed(predictor)
        exam = None
        if report:
            exam = _examine(working, predictor, trained, evaluation, speed, limits, started - used, reporter)
        size = megabytes(working / "model.whatsit")
        leakage = leakage_figures(evaluation, trained.dataset.leakage)
        seconds = round(time.perf_counter() - started + used, 2)
        _write_records(working, trained, evaluation, plan, seconds)
        _write_metrics(
            working / "metrics.json", trained, evaluation, leakage, plan, speed, size, seconds, wanted.seconds, exam
        )
    if wanted.seconds is not None and seconds > 1.1 * wanted.seconds:
        reporter.warn(f"the time limit of {duration(wanted.seconds)} was too short: it took {duration(seconds)}")
    folder = place.folder
    tell_unreadable((*trained.dataset.unreadable[len(dataset.unreadable) :], *evaluation.failed), reporter)
    return Run(folder, folder / "model.whatsit", evaluation.figures, speed, size, seconds, plan, leakage, exam)


@dataclass(frozen=True)
class _Wishes:
    """What the user asks for, beside DATA."""

    recipe: str | None
    backbone: str | None
    weights: str | Path | None
    seed: int | None
    limit: int | None
    time_limit: str | float | None
    resume: bool
    settings: dict[str, Any]

    def order(self) -> Order:
        """Checked. Raises `UsageError`."""
        begun = self.resume and not (self.recipe or self.backbone or self.weights or self.settings)
        plan = (
            None if begun else make_plan(self.recipe or "fast", self.backbone, self.weights, self.seed, self.settings)
        )
        seconds = allowed_seconds(self.time_limit)
        if self.limit is not None and self.limit < 3:
            raise UsageError(
                f"--limit must be at least 3 (one picture each to train, validate and test), received {self.limit}"
            )
        return Order(plan, said_seed(self.seed, self.recipe, self.settings), self.limit, seconds)

    def repeating(self, again: Again) -> Order:
        """A run as it was. Raises `UsageError` where something else is asked for."""
        for name in ("recipe", "backbone", "weights", "seed", "limit", "time_limit", "settings"):
            if getattr(self, name) not in (None, {}):
                option = "--set" if name == "settings" else f"--{name.replace('_', '-')}"
                raise UsageError(f"--from-run repeats a run as it was; leave out {option}, or leave out --from-run")
        return Order(again.recipe, again.recipe.seed, None, again.seconds)


def require_outside(data: str | Path, place: Path) -> None:
    """Raises `UsageError` where the run would be made among the pictures, of which it would become a class."""
    pictures = Path(data)
    if pictures.is_dir() and place.resolve().is_relative_to(pictures.resolve()):
        raise UsageError(
            f"{place.resolve()} lies inside DATA, and the next training would take the run for pictures; choose another place "
            "with --out"
        )


def afterwards(dataset: Dataset, *, report: bool) -> Afterwards:
    """What follows training, as measured: the report asks the model some thousand questions and draws a dozen plots."""
    pictures = min(len(dataset.of("validation")), THRESHOLD_PICTURES) + len(dataset.of("test"))
    return Afterwards(pictures + 2000, 16.0) if report else Afterwards(pictures, 4.0)


def _fit(dataset: Dataset, plan: Recipe, folder: Path, clock: Clock, reporter: Reporter) -> tuple[Trained, Any]:
    """Train by the recipe. Returns what was fitted, and the Keras model as it was saved."""
    from whatsit.models.backend import load_keras

    if "tensorflow" in sys.modules:  # what a training before left: models and their graphs hold each other
        gc.collect()
    load_keras()
    from whatsit.training.context import Context
    from whatsit.training.train import train_by_recipe

    trained = train_by_recipe(Context(dataset, plan, folder, clock, reporter))
    whole = trained.keras_model()
    path = folder / "best_model.keras"
    with written_by_others(path, folder, 4 * int(whole.count_params())):
        whole.save(path)
    return trained, whole


def _make_bundle(trained: Trained) -> Bundle:
    from whatsit.models.classifier import to_onnx

    height, width = trained.input_size
    dataset = trained.dataset
    provenance = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {
            "source": Path(dataset.source).name,
            "fingerprint": dataset.fingerprint(),
            "pictures": {name: count_by_label(dataset.of(name)) for name in ("train", "validation", "test")},
        },
        "recipe": vars(trained.recipe),
        "versions": versions(),
    }
    graph = to_onnx(
        trained.classifier,
        trained.known,
        {"resize": RESIZE_RULE, "classes": json.dumps(dataset.classes, ensure_ascii=False)},
        views=trained.test_views,
    )
    return Bundle(
        classes=dataset.classes,
        input=InputSpec(height, width, RESIZE_RULE),
        graph=graph.SerializeToString(),
        temperature=trained.temperature,
        unknown=UnknownRule(METHOD, math.inf, 1.0),  # until the shipped graph has been seen at work
        provenance=provenance,
    )


def _examine(
    folder: Path,
    predictor: Predictor,
    trained: Trained,
    evaluation: Evaluation,
    speed: Speed,
    limits: dict[str, float],
    started: float,
    reporter: Reporter,
) -> Examination | None:
    """Question the model, write the report, and put what was found out on the model card."""
    from whatsit.evaluation.report import write_report

    path = folder / "model.whatsit"
    try:
        exam = examine(predictor, path, trained, evaluation, speed, limits, time.perf_counter() - started, reporter)
        drawing = reporter.stage("Writing the report")
        write_report(folder, exam)
        drawing(1, 1)
        write_bundle(replace(predictor.bundle, card=model_card(predictor.bundle, exam)), path)
    except Exception as error:  # whatever it is, hours of training are not to be lost for it
        reporter.warn(
            f"the report could not be made ({type(error).__name__}: {error}); the model and its figures are whole"
        )
        return None
    for alarm in exam.alarms[len(exam.warnings) :]:  # those were told when training ended
        reporter.warn(alarm)
    return exam


def _write_records(folder: Path, trained: Trained, evaluation: Evaluation, plan: Recipe, seconds: float) -> None:
    write_text(folder / "recipe.toml", recipes.to_toml(plan, f"whatsit train DATA, {seconds:.0f} s"))
    write_split(trained.dataset, folder / "split.csv")
    write_leakage(trained.dataset, folder / "leakage.csv")
    write_unreadable(unreadable_of(trained, evaluation), folder / "unreadable.csv")


def _write_metrics(
    path: Path,
    trained: Trained,
    evaluation: Evaluation,
    leakage: LeakageFigures,
    plan: Recipe,
    speed: Speed,
    size: float,
    seconds: float,
    time_limit: float | None,
    exam: Examination | None,
) -> None:
    metrics = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": address(trained.dataset.source),
        "recipe": plan.name,
        "model": plan.model,
        "seconds": seconds,
        "time_limit": time_limit,
        "temperature": trained.temperature,
        "best_epoch": trained.best,
        "test": evaluation.figures.to_json(),
        "leakage": leakage.to_json(),
        "speed": vars(speed),
        "model_mb": size,
        "unreadable": len(unreadable_of(trained, evaluation)),
        "warnings": trained.warnings,
        "examination": exam.to_json() if exam else None,
    }
    write_text(path, json.dumps(metrics, ensure_ascii=False, indent=1) + "\n")
