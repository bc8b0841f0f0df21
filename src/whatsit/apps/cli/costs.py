"""The command about the prices of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whatsit.apps.cli.options import Json, Model, RunData
from whatsit.apps.cli.output import accuracy_words, print_classes, print_costs, print_json, tested_json
from whatsit.apps.terminal import TerminalReporter, err, out, shell_word
from whatsit.errors import UsageError

if TYPE_CHECKING:
    from whatsit.verbs.costs import Costed


def costs(
    model: Model,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="COSTS", help="A TOML file with the prices of mistakes; see docs/how-to/costs.md."),
    ] = None,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", help="The .whatsit file to write.", show_default=False)
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the costs out of the model instead.")] = False,
    data: RunData = None,
    as_json: Json = False,
) -> None:
    """Make a trained model answer what costs least, by the prices of its mistakes.

    It is measured again on its test pictures; nothing is trained. Without COSTS and --out: print those that MODEL has.
    """
    from whatsit.verbs.costs import put_costs

    if remove and file is not None:
        raise UsageError("--remove takes the costs out of the model; leave out COSTS, or --remove")
    if out_ is None:
        if file is not None or remove:
            raise UsageError("--out is missing; give the .whatsit file to write: -o careful.whatsit")
        _show(model, as_json)
        return
    if file is None and not remove:
        raise UsageError("COSTS is missing; give a file such as costs.toml, or --remove to take the costs out")
    with TerminalReporter() as reporter:
        made = put_costs(model, None if remove else file, out_, data=data, reporter=reporter)
    if as_json:
        print_json(_as_json(made))
        return
    if made.test:
        out(f"Test accuracy:  {accuracy_words(made.test)}")
    if made.measured:
        print_costs(made.measured)
        if made.measured.saved_ci95[1] < 0:
            err(
                f"whatsit: the promises and thresholds cost {-made.measured.saved:.3g} per picture more than they save at these "
                f"prices; less strict ones cost less"
            )
    out(f"Model:          {made.model}")
    if made.test:
        out()
        print_classes(made.test)
    out()
    out(
        f"Next: whatsit check {shell_word(made.model)}"
        if made.test
        else f"Next: whatsit evaluate {shell_word(made.model)} DATA"
    )
    out(f"Next: whatsit predict {shell_word(made.model)} PICTURE...")


def _show(model: str, as_json: bool) -> None:
    """Print the costs in a model."""
    from whatsit.bundle.read import read_bundle, run_folder

    bundle = read_bundle(model)
    if as_json:
        print_json(bundle.costs.to_json() if bundle.costs else None)
        return
    if bundle.costs is None:
        out(f"{model} has no costs: it answers the most probable class")
        out(
            f"Next: write costs.toml (docs/how-to/costs.md), and run: whatsit costs {model} costs.toml -o careful.whatsit"
        )
        return
    for line in bundle.costs.given.lines():
        out(line)
    for promise in bundle.costs.promises:
        out(promise.sentence)
    data = " --data DATA" if bundle.test and not run_folder(model) else ""
    out(f"Next: whatsit costs {shell_word(model)} --remove -o plain.whatsit{data}")


def _as_json(made: Costed) -> dict[str, Any]:
    """Return a model with costs as JSON."""
    return {
        "model": str(made.model),
        "costs": made.costs.to_json() if made.costs else None,
        "test": tested_json(made.test) if made.test else None,
        "measured": made.measured.to_json() if made.measured else None,
    }
