"""`whatsit train`: from images to a model that is measured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from whatsit.bundle.make import make_bundle, save_keras_model, write_best
from whatsit.cache import working
from whatsit.evaluation.fidelity import require_what_was_fitted
from whatsit.evaluation.shipping import set_thresholds, ship
from whatsit.events import SILENT, Reporter
from whatsit.images.data import open_data, report_data, report_unreadable, scan_data, split_data
from whatsit.run.record import Run, write_record
from whatsit.run.report import afterwards, write_examination
from whatsit.run.request import Request
from whatsit.run_files import KERAS_MODEL, MODEL, SO_FAR, TENSORBOARD
from whatsit.runtime.predictor import Predictor
from whatsit.scale.workers import hire
from whatsit.training.clock import Clock
from whatsit.training.start import train_dataset
from whatsit.training.tensorboard import TensorBoard


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
    workers: int | None = None,
    ray: str | None = None,
    update: str | Path | None = None,
    only_if_better: bool = False,
    costs: str | Path | Mapping[str, Any] | None = None,
    reporter: Reporter = SILENT,
) -> Run:
    """Train a classifier on DATA and measure it on images that it never saw.

    Args:
        data: a folder, archive, CSV or name, as `whatsit train --help` says.
        from_run: the folder of a run to repeat: its images (at DATA, where they were moved), splits, recipe and seed.
        recipe: the name of a recipe, or a TOML file; by default `fast`, and `best` where only a time limit is given.
        backbone: instead of the recipe's.
        weights: of the backbone: `auto`, `none` or a path.
        out: the run folder to make; `runs/DATA-RECIPE` by default. It must not exist.
        seed: of the split and of training; how nearly it gives the same run again is in docs/how-to/repeat.md.
        limit: the most images of each class.
        time_limit: how long the whole may take, in seconds or as text such as `10m`: it climbs from a frozen network to
            fine-tuning as far as the time goes.
        resume: continue the run that was interrupted, as it was started.
        settings: recipe keys and values that replace the recipe's.
        tensorboard: also write each epoch into `tensorboard/` of the run folder.
        report: also examine the model and write `report.html` and `plots/`.
        criteria: a TOML file of criteria for the report, instead of the classic ones.
        workers: of a manifest: processes on this machine that read the images and run the frozen network.
        ray: of a manifest: the address of a Ray cluster whose machines do that.
        update: the folder of a run whose pictures have changed since: its split, recipe and time limit are kept, both models are
            compared, and the new run takes its place; what was there becomes `RUN-before`.
        only_if_better: else the earlier run keeps its place, and the new one becomes `RUN-not-better`.
        costs: the prices of mistakes, a TOML file or its contents (docs/how-to/costs.md): the cheapest class is answered.
        reporter: gets progress and warnings.

    Returns:
        The finished run: its folder, its model, and the metrics of that model on the test images.

    Raises:
        UsageError: an argument is wrong.
        DataError: the data cannot be used.
        DiskError: the run cannot be written.
    """
    return _train(Request(
        data, from_run, recipe, backbone, weights, out, seed, limit, time_limit, resume, settings or {},
        tensorboard, report, criteria, workers, ray, update, only_if_better, costs,
    ), reporter)  # fmt: skip


def _train(request: Request, reporter: Reporter) -> Run:
    started = time.perf_counter()
    spec = request.check()
    if spec.repeated:  # its labels are the run's
        dataset = spec.repeated.same_pictures(scan_data(spec.data, reporter))
        spec.repeated.warn(reporter)
    else:
        dataset = open_data(spec.data, reporter, hire(request.ray, request.workers))
    prices = spec.prices(dataset.classes)
    with spec.workspace(dataset) as workspace:
        spec, folder = spec.resumed(workspace), workspace.path
        dataset = split_data(spec.limited(dataset), spec.recipe.seed, reporter, spec.split_before, spec.fractions)
        prices = spec.save(workspace, dataset, prices)
        report_data(dataset, reporter)
        spec.report_changes(dataset, reporter)
        report = spec.has_report(reporter)
        started -= workspace.seconds_used()
        clock = Clock(spec.seconds, reporter.say, started=started, afterwards=afterwards(dataset, report=report))
        listener = TensorBoard(reporter, folder / TENSORBOARD) if request.tensorboard else reporter
        trained = train_dataset(
            dataset, spec.recipe, folder, clock, listener, keep=partial(write_best, folder / SO_FAR)
        )
        saved = save_keras_model(trained, folder / KERAS_MODEL)
        for warning in trained.warnings:
            reporter.warn(warning)
        predictor = Predictor(make_bundle(trained))
        require_what_was_fitted(predictor, trained, saved)
        predictor = set_thresholds(predictor, trained.dataset, reporter, prices)
        shipped = ship(predictor, folder / MODEL, trained.dataset, reporter)
        change, exam = spec.measure_update(shipped, trained.dataset, reporter, workspace), None
        if report and not clock.without_report:
            now = time.perf_counter() - started
            exam = write_examination(shipped, trained, spec.criteria, now, reporter, change)
        seconds = round(time.perf_counter() - started, 2)
        run = write_record(workspace.folder, trained, shipped, exam, seconds, spec.seconds, change)
    spec.warn_if_late(seconds, reporter)
    report_unreadable((*trained.dataset.unreadable[len(dataset.unreadable) :], *shipped.test.failed), reporter)
    return run
