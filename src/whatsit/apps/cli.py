"""The command line. Names, options and exit codes are a contract: 0 done, 1 failed, 2 wrong use.

Nothing heavy is imported here: `whatsit --help` answers at once, and each verb loads what it needs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from whatsit import __version__
from whatsit.apps.cli_apps import gradio, web_app
from whatsit.apps.cli_cache import cache
from whatsit.apps.cli_data import explore
from whatsit.apps.cli_models import benchmark, ensemble, export, verify
from whatsit.apps.cli_options import DATA, Backbone, Data, Json, Limit, Model, Out, Seed, Settings, Weights
from whatsit.apps.cli_runs import runs, track, tune
from whatsit.apps.cli_service import remote, serve
from whatsit.apps.presentation import (
    answer_json,
    answer_line,
    as_document,
    criteria_words,
    print_figures,
    print_run,
    run_json,
)
from whatsit.apps.process import run_guarded
from whatsit.apps.terminal import LineReporter, TerminalReporter, err, out, table
from whatsit.errors import ImageError, WhatsitError
from whatsit.process import own_process

app = typer.Typer(
    name="whatsit",
    help="From a folder of pictures to a measured image classifier. Start with: whatsit demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Runtime = Annotated[str, typer.Option(help="auto, openvino or onnxruntime.")]


def main() -> None:
    """Run the command line; no mistake of the user's shows a traceback."""
    own_process()
    run_guarded(app)


def _version(wanted: bool) -> None:
    if wanted:
        out(f"whatsit {__version__}")
        raise typer.Exit


@app.callback()
def _whatsit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out_: Annotated[Path | None, typer.Option("--out", help="The run folder to make.")] = None, as_json: Json = False
) -> None:
    """Train on embedded handwritten digits, measure, and predict a picture that was held out."""
    from whatsit.verbs.demo import demo

    with TerminalReporter() as reporter:
        result = demo(out=out_, reporter=reporter)
    run, answer = result.run, result.prediction
    if as_json:
        out(as_document({**run_json(run), "picture": str(result.picture), "prediction": answer_json(answer)}))
        return
    print_run(run)
    out()
    out(f"A picture that it never saw, {result.picture} (truly '{result.label}'):")
    out(f"  {answer_line(answer)}")
    out()
    out(f"Next: whatsit app {run.folder}")
    out("Next: put your own pictures into a folder with one folder for each class, and run")
    out("  whatsit train FOLDER")


@app.command()
def train(
    data: Annotated[str | None, DATA] = None,
    recipe: Annotated[
        str | None, typer.Option(help="fast (the default), finetune, best, baseline, scratch, or a TOML file.")
    ] = None,
    backbone: Backbone = None,
    weights: Weights = None,
    out_: Out = None,
    seed: Seed = None,
    limit: Limit = None,
    time_limit: Annotated[
        str | None,
        typer.Option(help="How long the whole run may take, such as 10m or 1h30m; the plan is fitted to it."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that was interrupted.")] = False,
    report: Annotated[bool, typer.Option(help="Also question the model and write report.html and plots/.")] = True,
    criteria: Annotated[
        Path | None, typer.Option(help="A TOML file with what the report holds the model against; see: whatsit check")
    ] = None,
    settings: Settings = None,
    from_run: Annotated[
        Path | None, typer.Option("--from-run", help="Repeat this run: its pictures, splits, recipe and seed.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write events for TensorBoard.")] = False,
    tracked: Annotated[bool, typer.Option("--track", help="Also keep the run in MLflow; see: whatsit track")] = False,
    as_json: Json = False,
) -> None:
    """Train a classifier on pictures, and measure it on pictures that it never saw."""
    from whatsit.training.recipe import parse_settings
    from whatsit.verbs.train import train

    if tracked:
        from whatsit.apps.tracking import require_mlflow
        from whatsit.apps.tracking import track as track_run

        require_mlflow()
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
            settings=parse_settings(settings or []),
            from_run=from_run,
            tensorboard=tensorboard,
            report=report,
            criteria=criteria,
            reporter=reporter,
        )
    if as_json:
        out(as_document(run_json(run)))
    else:
        print_run(run)
        out()
        if run.examination:
            out(f"Next: open {run.folder / 'report.html'} in a browser")
        out(f"Next: whatsit predict {run.folder} PICTURE...")
        out(f"Next: whatsit app {run.folder}")
    if tracked:
        try:
            track_run(run.folder)
        except WhatsitError as error:
            error.add_note(f"the run is whole, in {run.folder}; try again with: whatsit track {run.folder}")
            raise


@app.command()
def evaluate(model: Model, data: Data, runtime: Runtime = "auto", as_json: Json = False) -> None:
    """Measure a model on labelled pictures: DATA's test split where it has one, else all of it."""
    from whatsit.verbs.evaluate import evaluate

    with TerminalReporter() as reporter:
        evaluation = evaluate(model, data, runtime=runtime, reporter=reporter)
    unknown = float(evaluation.unknown.mean())
    if as_json:
        out(as_document({**evaluation.figures.to_json(), "unknown": unknown}))
    else:
        print_figures(evaluation.figures, unknown)


@app.command()
def check(
    model: Model,
    criteria: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with limits such as accuracy = 0.9; by default: accuracy > 85 % (from scratch > 60 %), precision "
            "and recall > 70 % in every class, < 1 s a picture."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold a model's test figures, size and speed against criteria; exit 1 if any is not met."""
    from whatsit.verbs.check import check

    checks = check(model, criteria)
    passed = all(one.passed for one in checks)
    if as_json:
        out(as_document({"passed": passed, "checks": [vars(one) for one in checks]}))
    else:
        words = {True: "FAIL", False: "CANNOT BE TOLD"}
        rows = [
            (one.what, one.wanted, one.found, "pass" if one.passed else words[one.missed], one.note) for one in checks
        ]
        table(("criterion", "wanted", "found", "", ""), rows)
        out()
        out("PASS: every criterion is met" if passed else f"FAIL: {criteria_words(checks)}")
    if not passed:
        sys.exit(1)


@app.command()
def predict(
    model: Model,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Pictures, folders or globs.")],
    top: Annotated[int, typer.Option(min=1, help="How many classes to name in --json.")] = 5,
    coverage: Annotated[
        float | None,
        typer.Option(help="Also name the set of classes that holds the true one with this probability, such as 0.95."),
    ] = None,
    runtime: Runtime = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a picture.")] = False,
) -> None:
    """Say what is in pictures, a line each."""
    from whatsit.verbs.predict import predict

    source = remote(model, runtime) if model.startswith(("http://", "https://")) else model
    failed = 0
    for name, answer in predict(source, images, top=top, coverage=coverage, runtime=runtime, reporter=LineReporter()):
        if isinstance(answer, ImageError):
            failed += 1
            if as_json:
                out(as_document({"image": name, "error": str(answer)}))
            else:
                err(f"whatsit: {name}: {answer}")
        elif as_json:
            out(as_document({"image": name, **answer_json(answer)}))
        else:
            out(f"{name}: {answer_line(answer)}")
    if failed:
        sys.exit(1)


@app.command()
def explain(
    model: Model,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A picture.")],
    out_: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write; NAME-explained.png in the current folder by default."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="The class to explain; the most probable one by default.")] = None,
    runtime: Runtime = "auto",
    as_json: Json = False,
) -> None:
    """Show where in a picture the evidence for its class lies (Grad-CAM)."""
    from whatsit.verbs.explain import explain

    explanation, path = explain(model, image, out_, label=label, runtime=runtime)
    if as_json:
        about = {
            "explained": explanation.label,
            "evidence": explanation.evidence.round(4).tolist(),
            "drawing": str(path),
        }
        out(as_document({"image": image, **answer_json(explanation.prediction), **about}))
        return
    out(f"{image}: {answer_line(explanation.prediction)}")
    if explanation.label != explanation.prediction.label:
        out(f"Shown is what speaks for {explanation.label} ({explanation.probability:.1%})")
    out(f"Drawing: {path}")


for verb in (explore, tune, export, verify, benchmark, ensemble, runs, track, serve, gradio, cache):
    app.command()(verb)
app.command("app")(web_app)


if __name__ == "__main__":
    main()
