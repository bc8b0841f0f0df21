"""Commands about finished models: evaluate, check, export, verify, benchmark, ensemble."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from whatsit.apps.cli.options import Data, Json, Model, RunData, Runtime
from whatsit.apps.presentation import (
    as_document,
    benchmark_json,
    criteria_words,
    ensemble_json,
    exported_json,
    print_benchmark,
    print_ensemble,
    print_exported,
    print_figures,
)
from whatsit.apps.terminal import TerminalReporter, err, out, table


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
    data: RunData = None,
    as_json: Json = False,
) -> None:
    """Write the model for other tools; int8 must pass a gate on the test pictures, exit 1 if it does not."""
    from whatsit.evaluation.exported import why_rejected
    from whatsit.verbs.export import export

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


def benchmark(
    model: Model,
    formats: Annotated[
        str | None, typer.Option("--format", metavar="FMT[,FMT...]", help="As in export; all by default.")
    ] = None,
    data: RunData = None,
    pictures: Annotated[int, typer.Option(min=0, help="At most so many test pictures; 0 for all.")] = 2000,
    plot: Annotated[
        Path | None,
        typer.Option(help="The drawing to write; benchmark.png in the run folder or beside the model by default."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure every format and runtime on this machine: accuracy, agreement, size, speed and memory."""
    from whatsit.evaluation.benchmark import draw
    from whatsit.verbs.benchmark import benchmark, drawing_path

    drawing = drawing_path(model, plot)
    with TerminalReporter() as reporter:
        result = benchmark(model, formats=formats, data=data, pictures=pictures, reporter=reporter)
    out(as_document(benchmark_json(result))) if as_json else print_benchmark(result)
    draw(result, drawing)  # after the figures, which are not to be lost for it
    if not as_json:
        out(f"Drawing: {drawing}")


def ensemble(
    models: Annotated[list[str], typer.Argument(metavar="MODEL MODEL...", help="Run folders of the same classes.")],
    out_: Annotated[Path, typer.Option("--out", "-o", help="The run folder to make, or a .whatsit file.")],
    data: RunData = None,
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
