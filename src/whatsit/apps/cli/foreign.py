"""The command about models made elsewhere: import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whatsit.apps.cli.options import Json
from whatsit.apps.cli.output import accuracy_words, print_json, print_pairs, tested_json
from whatsit.apps.terminal import TerminalReporter, out, shell_word
from whatsit.errors import UsageError

if TYPE_CHECKING:
    from whatsit.verbs.import_model import Imported


def import_model(
    model: Annotated[str, typer.Argument(metavar="MODEL.onnx", help="A classifier of pictures.")],
    out_: Annotated[Path, typer.Option("--out", "-o", help="The .whatsit file to write.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A label in each line, in the order of the outputs, or JSON; left out where MODEL says them (YOLO)."
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Labelled pictures for a temperature, prediction sets, unknown pictures and test metrics; also the scaling of "
            "pixels where nothing says it.",
        ),
    ] = None,
    scaling: Annotated[str | None, typer.Option(help="Of pixels: imagenet, clip, 0..1, -1..1 or 0..255.")] = None,
    mean: Annotated[
        str | None, typer.Option(help="Instead of a scaling: of pixels from 0 to 1, such as 0.5 or 0.48,0.46,0.41.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Their standard deviation, beside --mean.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of its pictures, where MODEL takes any.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="nchw or nhwc, where the shape of its input does not say it.")
    ] = None,
    channels: Annotated[str | None, typer.Option(help="rgb or bgr.")] = None,
    output: Annotated[
        str | None, typer.Option(help="Its output with a number for each class, where it has several.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a model of a classifier that was made elsewhere, in an ONNX file.

    From Keras, PyTorch, Teachable Machine, YOLO and others; see docs/how-to/backbones.md.
    """
    from whatsit.verbs.import_model import import_model

    said = {"scaling": scaling, "size": size, "layout": layout, "channels": channels, "output": output}
    settings: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    settings |= {name: _numbers(name, text) for name, text in (("mean", mean), ("std", std)) if text is not None}
    with TerminalReporter() as reporter:
        made = import_model(model, out_, labels=labels, calibrate=calibrate, settings=settings, reporter=reporter)
    if as_json:
        print_json(_json(made))
        return
    rows = [("Model", f"{made.model}, {len(made.classes)} classes")]
    if made.test:
        rows.append(("Test accuracy", accuracy_words(made.test)))
        rows.append(("Test loss", f"{made.test.loss:.3f} (calibration error {made.test.ece:.3f})"))
        rows.append(("Temperature", f"{made.temperature:.2f}"))
        rows.append(("Unknown pictures", "recognized" if made.tells_unknown else "not recognized"))
    else:
        rows.append(("Test accuracy", "not measured; with --calibrate DATA it is"))
    print_pairs(rows)
    out()
    out(f"Next: whatsit predict {shell_word(made.model)} PICTURE...")
    out(f"Next: whatsit app {shell_word(made.model)}")


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--{name} takes a number or three with commas between them, received '{text}'") from None


def _json(made: Imported) -> dict[str, Any]:
    return {
        "model": str(made.model),
        "classes": list(made.classes),
        "temperature": made.temperature,
        "unknown": made.tells_unknown,
        "test": tested_json(made.test) if made.test else None,
    }
