"""Commands about the files of a model: export, verify, benchmark."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whatsit.apps.cli.options import Json, Model, RunData
from whatsit.apps.cli.output import print_json
from whatsit.apps.terminal import TerminalReporter, err, out, shell_word, table

if TYPE_CHECKING:
    from whatsit.evaluation.benchmark import Benchmark
    from whatsit.verbs.export import Exported


def export(
    model: Model,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FMT[,FMT...]",
            help="web, onnx, keras, h5, tflite, tflite-int8, coreml, c, openvino, openvino-int8, saved-model; several with "
            "commas.",
        ),
    ],
    out_: Annotated[
        Path | None, typer.Option("--out", help="The folder to write into; export in the run folder by default.")
    ] = None,
    data: RunData = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="P", help="Of web: weights as float32, int16 (the default), float16 or int8."),
    ] = None,
    single_file: Annotated[
        bool,
        typer.Option("--single-file", help="Of web: one HTML file, to send or to open."),
    ] = False,
    base_path: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Of web: the page's path on its site, such as /shop/."),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Of web: the unpacked npm package, without a network."),
    ] = None,
    webgpu: Annotated[
        bool, typer.Option("--webgpu", help="Of web: also the runtime for graphics processors, 7 MB more.")
    ] = False,
    author: Annotated[str, typer.Option(help="Who made the model, for files that say so (tflite, coreml).")] = "",
    license_: Annotated[str, typer.Option("--license", help="The terms of its use, for the same files.")] = "",
    as_json: Json = False,
) -> None:
    """Write the model for other tools, for phones, or as a web page.

    Float formats must repeat the model's answers to 1e-4, a page with weights of 16 bits to 1e-3 (int16) or 0.01 (float16).
    int8 must pass a check on the test pictures; the exit code is 1 if it does not. Sizes are of EfficientNet-Lite0 at 224 px,
    with three feature maps.

    \b
    FMT            for                                         MB  proven by
    web            everybody: a page for phones and computers  15  headless Chromium
    onnx           ONNX Runtime in any language, Triton        17  ONNX Runtime
    openvino       Intel processors                            17  OpenVINO
    openvino-int8  the same, smaller and faster                 5  OpenVINO, test pictures
    tflite         phones and boards                           17  LiteRT
    tflite-int8    the same, smaller                            5  LiteRT, test pictures
    coreml         iPhones, iPads, Macs                        17  its program, by ONNX Runtime
    c              microcontrollers; of the recipe tiny 0.2      4  LiteRT, test pictures
    keras, h5      training on in Keras                        18  Keras
    saved-model    TensorFlow Serving                          35  TensorFlow
    """  # noqa: D301 - a backspace, by which Click leaves lines as they are
    from whatsit.bundle.website import web_options
    from whatsit.evaluation.exported import why_rejected
    from whatsit.verbs.export import export

    web = web_options(
        formats, precision=precision, runtime=runtime, base_path=base_path, single_file=single_file, webgpu=webgpu
    )
    with TerminalReporter() as reporter:
        exported = export(
            model, formats, out=out_, data=data, author=author, license_=license_, web=web, reporter=reporter
        )
    rejected = [one for one in exported if one.rejected]
    if as_json:
        print_json([_exported_json(one) for one in exported])
    else:
        _print_exported(exported)
        out()
        for one in exported:
            if one.format == "web" and not one.rejected:
                out(f"Next: {_how_to_open(one.path)}")
        exports = f" --exports {shell_word(out_)}" if out_ else ""
        out(f"Next: whatsit verify {shell_word(model)}{exports}, which proves every file and way to an answer")
    for one in rejected:
        assert one.gate
        err(f"whatsit: {one.format} was rejected: {why_rejected(one.gate, one.format)}")
    if rejected:
        sys.exit(1)


def _how_to_open(page: Path) -> str:
    """Return what opens an exported page.

    Browsers run the scripts of a folder only from a server.
    """
    if page.suffix == ".html":
        return f"open {page} in a browser"
    return (
        f"python -m http.server --directory {shell_word(page)} "
        "(then open http://localhost:8000; only a page made with --single-file opens from the disk)"
    )


def _exported_json(one: Exported) -> dict[str, Any]:
    """Return an exported file as JSON."""
    gate = one.gate and {**vars(one.gate), "loss": one.gate.loss, "passed": one.gate.passed}
    return {
        "format": one.format,
        "file": str(one.path),
        "megabytes": one.megabytes,
        "max_difference": one.max_difference,
        "gate": gate,
        "rejected": one.rejected,
    }


def _print_exported(exported: Sequence[Exported]) -> None:
    """Print a table of exported files."""
    rows = [
        (
            one.format,
            str(one.path),
            f"{one.megabytes:.2f} MB",
            f"{one.max_difference:.1e}",
            f"{one.gate.accuracy:.2%} (float {one.gate.float_accuracy:.2%})" if one.gate else "",
            f"{one.gate.agreement:.2%}" if one.gate else "",
            f"{one.gate.n:,}" if one.gate else "",
            "" if one.gate is None else "pass" if one.gate.passed else "REJECTED",
        )
        for one in exported
    ]
    table(("format", "file", "size", "largest difference", "test accuracy", "same label", "pictures", ""), rows)


def print_exports_left(earlier: Path, run: Path) -> None:
    """Say where the exported files of an earlier run are, and how to renew them."""
    from whatsit.graph.formats import SINGLE_PAGE, find_exported
    from whatsit.verbs.export import FOLDER

    folder = earlier / FOLDER
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    out(f"The exported files of {run} are of the earlier model, and are now in {folder}")
    found = list(find_exported(folder))
    pages = [path for target, path in found if target.name == "web"]
    single = " --single-file" if pages and all(path.name == SINGLE_PAGE for path in pages) else ""
    formats = ",".join(dict.fromkeys(target.name for target, _ in found)) or "FMT"
    out(f"Next: whatsit export {shell_word(run)} --format {formats}{single}")


def verify(
    model: Model,
    exports: Annotated[
        Path | None, typer.Option(help="The folder with exported files; export in the run folder by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove that the model answers alike everywhere.

    Every runtime, exported file and entry point is tried; the exit code is 1 if one differs.
    """
    from whatsit.apps.entry_points import verify
    from whatsit.evaluation.browser import PAGE_TOLERANCE
    from whatsit.evaluation.exported import TOLERANCES
    from whatsit.evaluation.parity import TOLERANCE

    with TerminalReporter() as reporter:
        results = verify(model, exports=exports, reporter=reporter)
    passed = all(result.passed for result in results)
    if as_json:
        print_json({"passed": passed, "tolerance": TOLERANCE, "ways": [vars(result) for result in results]})
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
            f"but for one or 2 %; a page's graph may differ by {TOLERANCES['int16']:g} (weights of int16) or "
            f"{TOLERANCES['float16']:g} (float16), and the page in a browser by {PAGE_TOLERANCE:g} from its graph"
        )
        out(
            f"Next: whatsit app {shell_word(model)}, or whatsit serve {shell_word(model)}"
            if passed
            else "Next: whatsit checks, for a report of the fault"
        )
    if not passed:
        sys.exit(1)


def benchmark(
    model: Model,
    formats: Annotated[
        str | None, typer.Option("--format", metavar="FMT[,FMT...]", help="As in export; all by default.")
    ] = None,
    data: RunData = None,
    pictures: Annotated[int, typer.Option(min=0, help="The most test pictures; 0 for all.")] = 2000,
    plot: Annotated[
        Path | None,
        typer.Option(help="The drawing to write; benchmark.png in the run folder or beside the model by default."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure every format and runtime on this machine.

    Accuracy, agreement, size, speed and memory.
    """
    from whatsit.evaluation.benchmark import draw
    from whatsit.verbs.benchmark import benchmark, drawing_path

    drawing = drawing_path(model, plot)
    with TerminalReporter() as reporter:
        result = benchmark(model, formats=formats, data=data, pictures=pictures, reporter=reporter)
    print_json(_benchmark_json(result)) if as_json else _print_benchmark(result)
    draw(result, drawing)  # after the metrics, which are not to be lost for it
    if not as_json:
        out(f"Drawing: {drawing}")
        out(f"Next: whatsit export {shell_word(model)} --format FMT")


def _benchmark_json(result: Benchmark) -> dict[str, Any]:
    """Return a benchmark as JSON."""
    rows = [
        {
            "name": row.name,
            "accuracy": row.gate.accuracy,
            "agreement": row.gate.agreement,
            "max_difference": row.gate.max_difference,
            "usable": row.usable,
            "megabytes": row.megabytes,
            **vars(row.cost),
        }
        for row in result.rows
    ]
    return {"pictures": result.pictures, "size": list(result.size), "ways": rows, "advice": list(result.advice)}


def _print_benchmark(result: Benchmark) -> None:
    """Print a benchmark as a table."""
    rows = [
        (
            row.name,
            f"{row.gate.accuracy:.2%}",
            f"{row.gate.agreement:.2%}",
            f"{row.megabytes:.1f} MB",
            f"{row.cost.load:.2f} s",
            f"{1000 * row.cost.p50:.2f} ms",
            f"{1000 * row.cost.p99:.2f} ms",
            f"{row.cost.pictures_per_second:,.0f}/s",
            "-" if row.cost.peak_mb is None else f"{row.cost.peak_mb:,.0f} MB",
        )
        for row in result.rows
    ]
    table(("way", "accuracy", "same label", "size", "load", "p50", "p99", "batches", "memory"), rows)
    out()
    height, width = result.size
    out(f"Of {result.pictures:,} test pictures at {width} x {height} pixels; p50 and p99 of one picture, batches of 32")
    for line in result.advice:
        out(line)
