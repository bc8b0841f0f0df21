"""`whatsit train`: from pictures to a model that was measured."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whatsit.bundle.format import Bundle, InputSpec, UnknownRule
from whatsit.bundle.write import write_bundle
from whatsit.errors import DataError, ImageError, UsageError
from whatsit.evaluation.criteria import load_criteria
from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.examination import Examination
from whatsit.evaluation.metrics import Figures
from whatsit.evaluation.speed import Speed, measure_speed, megabytes
from whatsit.files import write_text
from whatsit.images.decode import RESIZE_RULE, decode
from whatsit.images.scan import Dataset, count_by_label
from whatsit.images.split import limit as limit_pictures
from whatsit.models.unknown import METHOD
from whatsit.progress import SILENT, Reporter
from whatsit.runtime.predictor import Predictor
from whatsit.training import recipe as recipes
from whatsit.training.clock import Afterwards, Clock, duration
from whatsit.training.recipe import Recipe
from whatsit.verbs.card import model_card
from whatsit.verbs.data import open_data, split_data, tell_about, tell_unreadable
from whatsit.verbs.examine import examine, unreadable_of
from whatsit.verbs.plan import Order, allowed_seconds, make_plan
from whatsit.verbs.run_data import address
from whatsit.verbs.runs import RUNS, seconds_used, write_split, write_unreadable
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
    examination: Examination | None = None  # what the report is made of

    def load(self) -> Predictor:
        """The model, ready to answer."""
        return Predictor(self.model)


def train(
    data: str | Path,
    *,
    recipe: str | None = None,
    backbone: str | None = None,
    weights: str | Path | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    limit: int | None = None,
    time_limit: str | float | None = None,
    resume: bool = False,
    settings: dict[str, Any] | None = None,
    report: bool = True,
    criteria: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> Run:
    """Train a classifier on DATA and measure it on pictures that it never saw.

    Args:
        data: a folder, archive, CSV or name, as in docs and `whatsit train --help`.
        recipe: the name of a recipe, or a TOML file; `fast` by default.
        backbone: instead of the recipe's.
        weights: of the backbone: `auto`, `none` or a path.
        out: the run folder to make; `runs/DATA-RECIPE` by default. It must not exist.
        seed: of the split and of training. The same seed on the same machine gives the same run, up to the order in
            which threads add (about 1e-3 in loss).
        limit: at most so many pictures of each class.
        time_limit: how long the whole may take, in seconds or as text such as `10m`; the plan is fitted to it.
        resume: go on with the run that was interrupted, as it was begun.
        settings: recipe keys and values that replace the recipe's.
        report: also question the model and write `report.html` and `plots/`.
        criteria: a TOML file of what the report holds the model against, instead of the classic criteria.
        reporter: is told about progress.

    Raises:
        UsageError: an argument is wrong. DataError: the data cannot be used. DiskError: the run cannot be written.
    """
    started = time.perf_counter()
    begun = resume and recipe is None and not (settings or backbone or weights)
    plan = None if begun else make_plan(recipe or "fast", backbone, weights, seed, settings or {})
    seconds_allowed = allowed_seconds(time_limit)
    limits = load_criteria(criteria)
    if limit is not None and limit < 3:
        raise UsageError(f"--limit must be at least 3 (one picture each to train, validate and test), received {limit}")
    seed = _said_seed(recipe, seed, settings or {})
    dataset = open_data(data, reporter)
    _require_outside(data, Path(out) if out else RUNS)
    if resume:
        place_to_work = unfinished_run(out, str(data), plan.name if plan else None)
    else:
        place_to_work = new_run(out, str(data), plan.name if plan else "fast")
    with place_to_work as place:
        wanted = Order(plan, seed, limit, seconds_allowed).agreed(place)
        working = place.path
        if wanted.limit is not None:
            dataset = limit_pictures(dataset, wanted.limit, wanted.plan.seed)
        dataset = split_data(dataset, wanted.plan.seed, reporter)
        _require_test_picture(dataset)
        wanted.keep(place, dataset)
        tell_about(dataset, reporter)
        used = seconds_used(working)
        if report and wanted.seconds is not None and wanted.seconds < REPORT_FROM:
            reporter.warn(f"a time limit below {REPORT_FROM} s leaves no time for the report")
            report = False
        clock = Clock(wanted.seconds, reporter.say, started=started - used, afterwards=_afterwards(dataset, report))
        trained = _fit(dataset, wanted.plan, working, clock, started - used, reporter)
        plan = trained.recipe
        bundle = set_thresholds(_make_bundle(trained), trained.dataset, reporter)
        predictor, evaluation = ship(bundle, working / "model.whatsit", trained.dataset, reporter)
        speed = measure_speed(predictor)
        exam = None
        if report:
            exam = _examine(working, predictor, trained, evaluation, speed, limits, started - used, reporter)
        size = megabytes(working / "model.whatsit")
        seconds = round(time.perf_counter() - started + used, 2)
        _write_records(working, trained, evaluation, plan, seconds)
        _write_metrics(working / "metrics.json", trained, evaluation, plan, speed, size, seconds, exam)
    if wanted.seconds is not None and seconds > 1.1 * wanted.seconds:
        reporter.warn(f"the time limit of {duration(wanted.seconds)} was too short: it took {duration(seconds)}")
    folder = place.folder
    tell_unreadable((*trained.dataset.unreadable[len(dataset.unreadable) :], *evaluation.failed), reporter)
    return Run(folder, folder / "model.whatsit", evaluation.figures, speed, size, seconds, plan, exam)


def _said_seed(recipe: str | None, seed: int | None, settings: dict[str, Any]) -> int | None:
    """The seed that the user asks for, in one of three ways; None where none."""
    if seed is not None:
        return seed
    written = recipes.written_in(recipe) if recipe and recipe.endswith(".toml") else {}
    found = (written | settings).get("seed")
    return found if isinstance(found, int) else None


def _require_outside(data: str | Path, place: Path) -> None:
    """Raises `UsageError` where the run would be made among the pictures, of which it would become a class."""
    pictures = Path(data)
    if pictures.is_dir() and place.resolve().is_relative_to(pictures.resolve()):
        raise UsageError(
            f"{place.resolve()} lies inside DATA, and the next training would take the run for pictures; choose another place "
            "with --out"
        )


def _require_test_picture(dataset: Dataset) -> None:
    """Raises `DataError` where no test picture can be read: to be told before hours of training."""
    tests = dataset.of("test")
    reason = None
    for picture in tests:
        try:
            decode(dataset.read(picture), (32, 32))
            return
        except ImageError as error:
            reason = reason or error
    if reason:
        raise DataError(
            f"{dataset.source}: none of {len(tests):,} test pictures can be read, such as {tests[0].name}: {reason}"
        )


def _afterwards(dataset: Dataset, report: bool) -> Afterwards:
    """What follows training, as measured: the report asks the model some thousand questions and draws a dozen plots."""
    pictures = min(len(dataset.of("validation")), THRESHOLD_PICTURES) + len(dataset.of("test"))
    return Afterwards(pictures + 2000, 16.0) if report else Afterwards(pictures, 4.0)


def _fit(dataset: Dataset, plan: Recipe, folder: Path, clock: Clock, started: float, reporter: Reporter) -> Trained:
    """Train by the recipe."""
    from whatsit.models.backend import load_keras

    load_keras()
    import keras

    from whatsit.training.train import train_by_recipe

    keras.utils.set_random_seed(plan.seed)
    trained = train_by_recipe(dataset, plan, folder, clock, started, reporter)
    trained.keras_model().save(folder / "best_model.keras")
    return trained


def _make_bundle(trained: Trained) -> Bundle:
    from whatsit.models.classifier import to_onnx

    height, width = (int(size) for size in trained.classifier.input.shape[1:3])
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
        test_time_flip=trained.recipe.test_time_flip,
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
    for alarm in exam.shortcuts.alarms:
        reporter.warn(f"it may have learned a shortcut: {alarm}")
    return exam


def _write_records(folder: Path, trained: Trained, evaluation: Evaluation, plan: Recipe, seconds: float) -> None:
    write_text(folder / "recipe.toml", recipes.to_toml(plan, f"whatsit train DATA, {seconds:.0f} s"))
    write_split(trained.dataset, folder / "split.csv")
    write_unreadable(unreadable_of(trained, evaluation), folder / "unreadable.csv")


def _write_metrics(
    path: Path,
    trained: Trained,
    evaluation: Evaluation,
    plan: Recipe,
    speed: Speed,
    size: float,
    seconds: float,
    exam: Examination | None,
) -> None:
    metrics = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": address(trained.dataset.source),
        "recipe": plan.name,
        "model": plan.model,
        "seconds": seconds,
        "temperature": trained.temperature,
        "best_epoch": trained.best,
        "test": evaluation.figures.to_json(),
        "speed": vars(speed),
        "model_mb": size,
        "unreadable": len(unreadable_of(trained, evaluation)),
        "examination": exam.to_json() if exam else None,
    }
    write_text(path, json.dumps(metrics, ensure_ascii=False, indent=1) + "\n")
