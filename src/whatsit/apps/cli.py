"""The command line. Names, options and exit codes are a contract: 0 done, 1 failed, 2 wrong use.

Nothing heavy is imported here: `whatsit --help` answers at once, and each verb loads what it needs.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from whatsit import __version__
from whatsit.apps.presentation import (
    answer_json,
    answer_line,
    as_document,
    benchmark_json,
    ensemble_json,
    exported_json,
    print_benchmark,
    print_ensemble,
    print_exported,
    print_figures,
    print_run,
    run_json,
)
from whatsit.apps.process import Stopped, run_guarded
from whatsit.apps.terminal import TerminalReporter, err, out, table
from whatsit.errors import ImageError, MissingExtraError, UsageError

app = typer.Typer(
    name="whatsit",
    help="From a folder of pictures to a measured image classifier. Start with: whatsit demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A .whatsit file or a run folder.")]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder of class folders (optionally below train/, validation/, test/), a zip or tar of one, a CSV with "
        "path,label[,split], or: digits, cifar10, cifar100, mnist, fashion-mnist, cats-vs-dogs.",
    ),
]
Runtime = Annotated[str, typer.Option(help="auto, openvino or onnxruntime.")]


def main() -> None:
    """Run the command line; no mistake of the user's shows a traceback."""
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
    data: Data,
    recipe: Annotated[
        str | None, typer.Option(help="fast (the default), finetune, best, baseline, scratch, or a TOML file.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="efficientnet-lite0, mobilenetv2, vgg16 or resnet50, instead of the recipe's.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Of the backbone: auto (ImageNet), none (random), or a path.")
    ] = None,
    out_: Annotated[Path | None, typer.Option("--out", help="The run folder to make.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split and of training.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most so many pictures of each class, for a quick trial.")
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(help="How long the whole run may take, such as 10m or 1h30m; the plan is fitted to it."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that was interrupted.")] = False,
    report: Annotated[bool, typer.Option(help="Also question the model and write report.html and plots/.")] = True,
    criteria: Annotated[
        Path | None, typer.Option(help="A TOML file with what the report holds the model against; see: whatsit check")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, instead of the recipe's; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a classifier on pictures, and measure it on pictures that it never saw."""
    from whatsit.training.recipe import parse_settings
    from whatsit.verbs.train import train

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
            report=report,
            criteria=criteria,
            reporter=reporter,
        )
    if as_json:
        out(as_document(run_json(run)))
        return
    print_run(run)
    out()
    if run.examination:
        out(f"Next: open {run.folder / 'report.html'} in a browser")
    out(f"Next: whatsit predict {run.folder} PICTURE...")
    out(f"Next: whatsit app {run.folder}")


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
        rows = [(one.what, one.wanted, one.found, "pass" if one.passed else "FAIL", one.note) for one in checks]
        table(("criterion", "wanted", "found", "", ""), rows)
        out()
        missed = sum(not one.passed for one in checks)
        out("PASS: every criterion is met" if passed else f"FAIL: {missed} of {len(checks)} criteria not met")
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

    failed = count = 0
    for name, answer in predict(model, images, top=top, coverage=coverage, runtime=runtime):
        count += 1
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
    if not count:
        raise UsageError(f"no pictures found in {', '.join(images)[:200]}")
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


@app.command()
def export(
    model: Model,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FMT[,FMT...]",
            help="onnx, keras, h5, tflite, tflite-int8, openvino, openvino-int8, saved-model; several with commas.",
        ),
    ],
    out_: Annotated[
        Path | None, typer.Option("--out", help="The folder to write into; export in the run folder by default.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Where the pictures of the run are now, for int8; by default where they were.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the model for other tools; int8 must pass a gate on the test pictures, exit 1 if it does not."""
    from whatsit.verbs.export import export, why_rejected

    with TerminalReporter() as reporter:
        exported = export(model, formats, out=out_, data=data, reporter=reporter)
    rejected = [one for one in exported if one.rejected]
    if as_json:
        out(as_document([exported_json(one) for one in exported]))
    else:
        print_exported(exported)
    for one in rejected:
        assert one.gate
        err(f"whatsit: {one.format} was rejected: {why_rejected(one.gate)}")
    if rejected:
        sys.exit(1)


@app.command()
def verify(
    model: Model,
    exports: Annotated[
        Path | None, typer.Option(help="The folder with exported files; export in the run folder by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove that the model answers alike by every runtime, exported file and entry point; exit 1 if not."""
    from whatsit.apps.proof import verify
    from whatsit.evaluation.parity import TOLERANCE

    with TerminalReporter() as reporter:
        results = verify(model, exports=exports, reporter=reporter)
    passed = all(result.passed for result in results)
    if as_json:
        out(as_document({"passed": passed, "tolerance": TOLERANCE, "ways": [vars(result) for result in results]}))
    else:
        rows = [
            (
                r.way,
                str(r.pictures),
                f"{r.max_difference:.1e}",
                f"{r.top1_agreement:.0%}",
                "" if r.ood_score_difference is None else f"{r.ood_score_difference:.1e}",
                "pass" if r.passed else "FAIL",
            )
            for r in results
        ]
        table(("way to the answer", "pictures", "largest difference", "same label", "unknown score", ""), rows)
        out()
        out(
            f"{'PASS' if passed else 'FAIL'}: differences up to {TOLERANCE:g} are allowed; int8 must give the same labels, "
            "but for one or 2 %"
        )
    if not passed:
        sys.exit(1)


@app.command()
def benchmark(
    model: Model,
    formats: Annotated[
        str | None, typer.Option("--format", metavar="FMT[,FMT...]", help="As in export; all by default.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Where the pictures of the run are now; by default where they were.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="At most so many test pictures; 0 for all.")] = 2000,
    plot: Annotated[
        Path | None,
        typer.Option(help="The drawing to write; benchmark.png in the run folder or beside the model by default."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure every format and runtime on this machine: accuracy, agreement, size, speed and memory."""
    from whatsit.verbs.benchmark import benchmark, draw

    with TerminalReporter() as reporter:
        result = benchmark(model, formats=formats, data=data, pictures=pictures, reporter=reporter)
    out(as_document(benchmark_json(result))) if as_json else print_benchmark(result)
    drawing = draw(result, model, plot)  # after the figures, which are not to be lost for it
    if not as_json:
        out(f"Drawing: {drawing}")


@app.command()
def ensemble(
    models: Annotated[list[str], typer.Argument(metavar="MODEL MODEL...", help="Run folders of the same classes.")],
    out_: Annotated[Path, typer.Option("--out", "-o", help="The run folder to make, or a .whatsit file.")],
    data: Annotated[
        str | None, typer.Option(help="Where the pictures of the runs are now; by default where they were.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make one model that averages several, with votes fitted on pictures that none of them was trained on."""
    from whatsit.verbs.ensemble import ensemble

    with TerminalReporter() as reporter:
        made = ensemble(models, out_, data=data, reporter=reporter)
    if as_json:
        out(as_document(ensemble_json(made)))
        return
    print_ensemble(made)
    out()
    out(f"Next: whatsit predict {made.model} PICTURE...")
    out(f"Next: whatsit verify {made.model}")


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the runs are.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List finished training runs, the newest first."""
    from whatsit.verbs.runs import list_runs

    found = list_runs(folder)
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


@app.command("app")
def web_app(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help=".whatsit files, run folders, or folders of either.")
    ],
    host: Annotated[
        str | None, typer.Option(help="The address to serve on; 127.0.0.1, this computer only, by default.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="8501 or the next free one by default.")] = None,
    browser: Annotated[bool, typer.Option(help="Open it in a browser.")] = True,
) -> None:
    """Start the web app: pictures, live camera, and how good the model is."""
    try:
        from whatsit.apps.streamlit_app.server import run
    except ImportError as error:
        raise MissingExtraError("the web app", "app", error.name or "streamlit") from None
    with contextlib.suppress(Stopped):
        run(models, host=host, port=port, browser=browser, say=out)
    err("The app has stopped.")


if __name__ == "__main__":
    main()
