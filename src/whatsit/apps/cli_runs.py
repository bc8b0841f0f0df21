"""The verbs of the command line about many runs: tune, runs, track."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whatsit.apps.cli_options import Backbone, Data, Json, Limit, Out, Seed, Settings, Weights
from whatsit.apps.presentation import accuracy_words, as_document, tested_json
from whatsit.apps.terminal import TerminalReporter, out, table
from whatsit.errors import UsageError
from whatsit.run_files import BEST, PLOTS, RECIPE

if TYPE_CHECKING:
    from whatsit.run.compare import Comparison
    from whatsit.verbs.tune import Tuning


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
        typer.Option("--resume", help="Go on with a study, also beside other processes; more --trials prolong it."),
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
    as_json: Json = False,
) -> None:
    """Search for a better recipe by trials, then train and measure the best; test pictures are never used to choose."""
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
            reporter=reporter,
        )
    if as_json:
        out(as_document(_tuning_json(found)))
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
    from whatsit.training.search import written

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
    for name, value in rows:
        out(f"{name + ':':16s}{value}")
    out()
    table(("setting", "value"), [(key, written(value)) for key, value in found.best.values.items()])
    out()
    if not found.run:
        out("Other processes are still working on this study; the last of them trains the best recipe")
        return
    out(f"Next: whatsit predict {shlex.quote(str(found.folder))} PICTURE...")
    out(f"Next: whatsit app {shlex.quote(str(found.folder))}")


def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DIR] | diff RUN RUN", help="Where the runs are; or two runs to compare."),
    ] = None,
    sort: Annotated[str, typer.Option(help="created, accuracy, loss, seconds, n, name, recipe or model.")] = "created",
    as_json: Json = False,
) -> None:
    """List finished training runs, the newest first; or say what differs between two: whatsit runs diff RUN RUN."""
    words = words or ["runs"]
    if words[0] == "diff" and (len(words) > 1 or not Path("diff").is_dir()):
        if len(words) != 3:
            raise UsageError(f"whatsit runs diff takes two runs, received {len(words) - 1}")
        _diff(words[1], words[2], as_json)
        return
    if len(words) > 1:
        raise UsageError(
            f"whatsit runs takes one folder, or: whatsit runs diff RUN RUN; received {shlex.join(words)[:200]}"
        )
    from whatsit.run.summary import list_runs

    with TerminalReporter() as reporter:
        found = list_runs(words[0], sort, reporter=reporter)
    if as_json:
        out(as_document([vars(run) for run in found]))
        return
    rows = [
        (
            run.name,
            run.recipe,
            run.model,
            f"{run.accuracy:.2%}",
            f"{run.accuracy_ci95[0]:.1%} to {run.accuracy_ci95[1]:.1%}",
            f"{run.loss:.3f}",
            f"{run.n:,}",
            f"{run.seconds:.0f} s",
            run.created[:16].replace("T", " "),
        )
        for run in found
    ]
    table(("run", "recipe", "model", "accuracy", "95 % interval", "loss", "n", "time", "finished (UTC)"), rows)


def _diff(first: str, second: str, as_json: bool) -> None:
    from whatsit.run.compare import compare

    found = compare(first, second)
    if as_json:
        out(as_document({"runs": list(found.runs), **found.parts, "same_test_pictures": found.same_test}))
        return
    _print_diff(found)


def _print_diff(found: Comparison) -> None:
    for name, rows in found.parts.items():
        if not rows:
            out(f"{name}: the same")
        else:
            table((name, *found.runs), [(key, _text(a), _text(b)) for key, (a, b) in rows.items()])
        out()
    out(found.verdict)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def track(
    models: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders.")],
    as_json: Json = False,
) -> None:
    """Copy finished runs to MLflow: to MLFLOW_TRACKING_URI, or to mlflow.db beside the run."""
    from whatsit.apps.tracking import track

    tracked = []
    for model in models:
        tracked.append(track(model))
        if not as_json:
            out(f"{model}: {'kept' if tracked[-1].new else 'is there already'} as run {tracked[-1].run_id}")
    if as_json:
        out(as_document([vars(one) for one in tracked]))
    elif tracked[-1].address.startswith("sqlite:"):
        out(f"Next: mlflow ui --backend-store-uri {shlex.quote(tracked[-1].address)}")
