"""Commands that train: demo, train, tune."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whatsit.apps.cli.exports import print_exports_left
from whatsit.apps.cli.options import (
    DATA,
    Backbone,
    Costs,
    Data,
    Json,
    Limit,
    Out,
    Ray,
    Seed,
    Settings,
    TrialRay,
    TrialWorkers,
    Weights,
    Workers,
)
from whatsit.apps.cli.output import (
    accuracy_words,
    answer_line,
    criteria_rows,
    print_classes,
    print_comparison,
    print_json,
    print_pairs,
    tested_json,
)
from whatsit.apps.terminal import TerminalReporter, out, shell_word, table
from whatsit.errors import UsageError, WhatsitError
from whatsit.run_files import BEST, CROSS_VALIDATION, PLOTS, RECIPE, REPORT

if TYPE_CHECKING:
    from whatsit.evaluation.cross_validation import CrossValidation
    from whatsit.evaluation.update import Update
    from whatsit.run.folds import FoldsAsked
    from whatsit.run.record import Run
    from whatsit.verbs.tune import Tuning


def demo(
    out_: Annotated[Path | None, typer.Option("--out", help="The run folder to make.")] = None, as_json: Json = False
) -> None:
    """Train on embedded handwritten digits, measure, and predict a held-out picture."""
    from whatsit.verbs.demo import demo

    with TerminalReporter() as reporter:
        result = demo(out=out_, reporter=reporter)
    run, answer = result.run, result.prediction
    if as_json:
        print_json({**_run_json(run), "picture": str(result.picture), "prediction": answer.to_json()})
        return
    print_run(run)
    out()
    out(f"A picture that it never saw, {result.picture} (truly '{result.label}'):")
    out(f"  {answer_line(answer)}")
    out()
    out(f"Next: whatsit app {shell_word(run.folder)}")
    out("Next: put your own pictures into a folder with one folder for each class, and run")
    out("  whatsit train FOLDER")


def train(
    data: Annotated[str | None, DATA] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="fast (the default), best (the default with --time-limit), finetune, baseline, scratch, tiny (for "
            "microcontrollers), or a TOML file."
        ),
    ] = None,
    backbone: Backbone = None,
    weights: Weights = None,
    out_: Out = None,
    seed: Seed = None,
    limit: Limit = None,
    time_limit: Annotated[
        str | None,
        typer.Option(help="How long the whole run may take, such as 10m or 1h30m; more time, a better model."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run that was interrupted.")] = False,
    report: Annotated[bool, typer.Option(help="Also question the model and write report.html and plots/.")] = True,
    criteria: Annotated[
        Path | None, typer.Option(help="A TOML file with what the report holds the model against; see: whatsit check")
    ] = None,
    settings: Settings = None,
    from_run: Annotated[
        Path | None, typer.Option("--from-run", help="Repeat this run: its pictures, splits, recipe and seed.")
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(
            "--update",
            metavar="RUN",
            help="Bring this run up to date with DATA: its test pictures stay, both are compared.",
        ),
    ] = None,
    only_if_better: Annotated[
        bool, typer.Option("--only-if-better", help="Else the run that is updated stays where it is (exit code 1).")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write events for TensorBoard.")] = False,
    tracked: Annotated[bool, typer.Option("--track", help="Also keep the run in MLflow; see: whatsit track")] = False,
    workers: Workers = None,
    ray: Ray = None,
    costs: Costs = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Also cross-validate: test every picture once, by models that never saw it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a classifier on pictures, and measure it on pictures that it never saw."""
    from whatsit.run.folds import FoldsAsked
    from whatsit.training.recipe import parse_settings
    from whatsit.verbs.train import train

    if tracked:
        from whatsit.apps.tracking import require_mlflow
        from whatsit.apps.tracking import track as track_run

        require_mlflow()
    parsed = parse_settings(settings or [])
    asked = FoldsAsked(recipe or "fast", backbone, weights, parsed, limit, seed)
    if folds is not None:
        _require_folds(data, folds, asked, alone=not (time_limit or from_run or workers or ray or resume or update))
    with TerminalReporter() as reporter:
        run = train(
            data,
            recipe=recipe,
            backbone=backbone,
            weights=weights,
            out=out_,
            seed=seed,
            limit=limit,
            time_limit=time_limit,
            resume=resume,
            settings=parsed,
            from_run=from_run,
            tensorboard=tensorboard,
            report=report,
            criteria=criteria,
            workers=workers,
            ray=ray,
            update=update,
            only_if_better=only_if_better,
            costs=costs,
            reporter=reporter,
        )
        tested = None
        if folds is not None and data is not None:
            tested = _cross_validate(run, data, folds, asked, reporter)
    if as_json:
        print_json(_run_json(run) | ({"cross_validation": tested.to_json()} if tested else {}))
    else:
        climbing = None if backbone or weights or update else data
        _print_trained(run, tested, climbing, priced=costs is not None)
    if tracked:
        try:
            track_run(run.folder)
        except WhatsitError as error:
            error.add_note(f"the run is whole, in {run.folder}; try again with: whatsit track {run.folder}")
            raise
    if only_if_better and not (run.update and run.update.better):
        sys.exit(1)


def _print_trained(run: Run, tested: CrossValidation | None, climbing: str | None, *, priced: bool) -> None:
    """Print a run and what comes next.

    `climbing` is DATA where more time may be proposed; `priced` is a model that answers what costs least.
    """
    print_run(run)
    out()
    if tested:
        print_cross_validation(tested, priced=priced)
    if run.update:
        print_update(run, run.update)
    if run.examination:
        out(f"Next: open {run.folder / REPORT} in a browser")
    out(f"Next: whatsit predict {shell_word(run.folder)} PICTURE...")
    out(f"Next: whatsit app {shell_word(run.folder)}")
    if run.more_time and climbing:
        out(
            f"Next: whatsit train {shell_word(climbing)} --time-limit {run.more_time.minutes}m ({run.more_time.sentence})"
        )


def _require_folds(data: str | None, folds: int, asked: FoldsAsked, *, alone: bool) -> None:
    """Raise what would stop a cross-validation, before any training."""
    from whatsit.run.folds import deal

    if data is None or not alone:
        raise UsageError(
            "--folds needs DATA, and excludes --time-limit, --from-run, --update, --resume, --workers and --ray"
        )
    deal(data, folds, asked)


def _cross_validate(run: Run, data: str, folds: int, asked: FoldsAsked, reporter: TerminalReporter) -> CrossValidation:
    from whatsit.verbs.cross_validate import cross_validate

    try:
        return cross_validate(data, folds=folds, out=run.folder / CROSS_VALIDATION, reporter=reporter, **vars(asked))
    except WhatsitError as error:
        error.add_note(f"the run is whole, in {run.folder}; only its cross-validation is missing")
        raise


def print_cross_validation(tested: CrossValidation, *, priced: bool) -> None:
    """Print the table of a cross-validation.

    Its answers do not know the costs of the model beside it.
    """
    low, high = tested.accuracy_ci95
    out(
        f"Cross-validation, {tested.folds} folds: {tested.accuracy:.2%} of {tested.n:,} pictures, each tested by a model that "
        f"never saw it (95 % interval {low:.1%} to {high:.1%})"
    )
    counts = {label: sum(row) for label, row in zip(tested.classes, tested.confusion, strict=True)}
    table(
        ("class", "pictures", "recall"),
        [(label, f"{counts[label]:,}", f"{share:.1%}") for label, share in tested.recall().items()],
    )
    if priced:
        out("These are the most probable classes, not those that cost least, which the model answers")
    out()


def _run_json(run: Run) -> dict[str, Any]:
    """Return a run as JSON."""
    return {
        "run": str(run.folder),
        "model": str(run.model),
        "test": tested_json(run.test),
        "seconds": run.seconds,
        "recipe": run.recipe.name,
        "more_time": vars(run.more_time) if run.more_time else None,
        **({"update": run.update.to_json()} if run.update else {}),
    }


def print_run(run: Run) -> None:
    """Print what a run has measured."""
    rows = [
        ("Model", f"{run.recipe.model} (recipe {run.recipe.name}), {run.model}"),
        *([("Ships", run.ships)] if run.ships else []),
        ("Test accuracy", accuracy_words(run.test)),
        *([("Leakage", run.leakage.sentence)] if run.leakage.pictures else []),
        ("Test loss", f"{run.test.loss:.3f} (calibration error {run.test.ece:.3f})"),
        ("Inference time", f"{1000 * run.speed.median:.1f} ms a picture ({run.speed.runtime})"),
        ("Model size", f"{run.megabytes:.1f} MB"),
        ("Time in all", f"{run.seconds:.0f} s{', with the report' if run.examination else ''}"),
    ]
    if run.examination:
        rows += criteria_rows(run.examination.checks)
        rows.append(("Report", str(run.folder / REPORT)))
    print_pairs(rows)
    out()
    print_classes(run.test)


def print_update(run: Run, update: Update) -> None:
    """Print what an update changed, and where the earlier run is."""
    out()
    out(f"Update of {update.before}; {update.changes.sentence}")
    if update.known:
        print_comparison(update.known, ("before", "now"), update.verdict)
    else:
        out(update.verdict)
    out(f"Earlier run: {update.kept_as}")
    out(f"New run:     {run.folder}")
    if Path(update.kept_as) != Path(update.before):
        print_exports_left(Path(update.kept_as), run.folder)
    out()


def tune(
    data: Data,
    recipe: Annotated[
        str | None, typer.Option(help="What is changed: fast (the default), finetune, baseline, scratch, or a file.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="How many; 50 of heads and 20 of others by default, or as many as there is time for."),
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(help="How long all may take, such as 20m, the best run with its report among it.")
    ] = None,
    out_: Out = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue a study, also beside other processes; more --trials prolong it."),
    ] = False,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search", metavar="KEY=VALUES", help="low..high or value,value, instead of the usual search; repeatable."
        ),
    ] = None,
    settings: Settings = None,
    backbone: Backbone = None,
    weights: Weights = None,
    seed: Seed = None,
    limit: Limit = None,
    report: Annotated[bool, typer.Option(help="Also write the report of the best run.")] = True,
    workers: TrialWorkers = None,
    ray: TrialRay = None,
    as_json: Json = False,
) -> None:
    """Search for a better recipe by trials, then train and measure the best.

    Test pictures are never used to choose.
    """
    from whatsit.training.recipe import parse_settings
    from whatsit.verbs.tune import tune

    with TerminalReporter() as reporter:
        found = tune(
            data,
            recipe=recipe,
            backbone=backbone,
            weights=weights,
            trials=trials,
            time_limit=time_limit,
            out=out_,
            seed=seed,
            limit=limit,
            resume=resume,
            settings=parse_settings(settings or []),
            search=search or [],
            report=report,
            workers=workers,
            ray=ray,
            reporter=reporter,
        )
    if as_json:
        print_json(_tuning_json(found))
        return
    _print_tuning(found)


def _tuning_json(found: Tuning) -> dict[str, Any]:
    best = found.best
    return {
        "study": str(found.folder),
        "trials": len(found.trials),
        "best": {"trial": best.number, "loss": best.loss, "accuracy": best.accuracy, "values": dict(best.values)},
        "run": str(found.folder / BEST) if found.run else None,
        "test": tested_json(found.run) if found.run else None,
        "seconds": found.seconds,
    }


def _print_tuning(found: Tuning) -> None:
    from whatsit.training.knobs import written

    states = [row.state for row in found.trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("done", "stopped", "failed") if state in states)
    rows = [
        ("Trials", f"{len(states)} ({counts})"),
        (
            "Chosen",
            f"trial {found.best.number + 1}, validation loss {found.best.loss:.4f}, accuracy {found.best.accuracy:.1%}",
        ),
        ("Recipe", str(found.folder / RECIPE)),
    ]
    lowest = min((row for row in found.trials if row.loss is not None), key=lambda row: row.loss or 0.0)
    if lowest.number != found.best.number:
        rows.insert(
            2, ("Lowest loss", f"{lowest.loss:.4f}, trial {lowest.number + 1}; not clearly lower (2 standard errors)")
        )
    if found.run:
        rows.append(("Test accuracy", accuracy_words(found.run)))
    rows += [("Plots", str(found.folder / PLOTS)), ("Time in all", f"{found.seconds:.0f} s")]
    print_pairs(rows)
    out()
    table(("setting", "value"), [(key, written(value)) for key, value in found.best.values.items()])
    out()
    if not found.run:
        out("Other processes are still working on this study; the last of them trains the best recipe")
        return
    out(f"Next: whatsit predict {shell_word(found.folder)} PICTURE...")
    out(f"Next: whatsit app {shell_word(found.folder)}")
