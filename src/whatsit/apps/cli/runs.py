"""Commands about finished runs: runs, track."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whatsit.apps.cli.options import Json
from whatsit.apps.cli.output import print_comparison, print_json
from whatsit.apps.terminal import TerminalReporter, out, shell_word, table
from whatsit.errors import UsageError, WhatsitError

if TYPE_CHECKING:
    from whatsit.evaluation.paired import ModelComparison


def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DIR] | diff RUN RUN", help="Where the runs are; or two runs to compare."),
    ] = None,
    sort: Annotated[str, typer.Option(help="created, accuracy, loss, seconds, n, name, recipe or model.")] = "created",
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Of diff: also compare on the test pictures, one by one, where they are still there.",
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """List finished training runs, the newest first.

    Or print what differs between two: whatsit runs diff RUN RUN.
    """
    words = words or ["runs"]
    if words[0] == "diff" and (len(words) > 1 or not Path("diff").is_dir()):
        if len(words) != 3:
            raise UsageError(f"whatsit runs diff takes two runs, received {len(words) - 1}")
        _diff(words[1], words[2], pictures, as_json)
        return
    if len(words) > 1:
        raise UsageError(
            f"whatsit runs takes one folder, or: whatsit runs diff RUN RUN; received {' '.join(map(shell_word, words))[:200]}"
        )
    from whatsit.run.summary import list_runs

    with TerminalReporter() as reporter:
        found = list_runs(words[0], sort, reporter=reporter)
    if as_json:
        print_json([vars(run) for run in found])
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
    out()
    out("Next: whatsit runs diff RUN RUN" if len(found) > 1 else "Next: whatsit train DATA")


def _diff(first: str, second: str, pictures: bool, as_json: bool) -> None:
    from whatsit.run.compare import compare
    from whatsit.run.data import known_data

    found = compare(first, second)
    pairs, reason = _pairs(first, second) if pictures else (None, "")
    if as_json:
        document = {"runs": list(found.runs), **found.parts, "same_test_pictures": found.same_test}
        print_json({**document, "pictures": pairs.to_json() if pairs else None})
        return
    for name, rows in found.parts.items():
        if not rows:
            out(f"{name}: the same")
        else:
            table((name, *found.runs), [(key, _text(a), _text(b)) for key, (a, b) in rows.items()])
        out()
    data = next(filter(None, map(known_data, found.runs)), "DATA")
    words = " ".join(map(shell_word, (*found.runs, data)))
    if pairs:
        print_comparison(pairs)
        out(f"Next: whatsit compare {words} --out compare.html, a page with the pictures")
        return
    out(found.verdict)
    if reason:
        out(f"Not compared picture by picture: {reason}")
    out(f"Next: whatsit compare {words}, picture by picture")


def _pairs(first: str, second: str) -> tuple[ModelComparison | None, str]:
    """Compare two runs picture by picture; return why not, where that is impossible."""
    from whatsit.verbs.compare import compare_runs

    try:
        with TerminalReporter() as reporter:
            return compare_runs(first, second, reporter=reporter), ""
    except WhatsitError as error:
        return None, str(error)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def track(
    models: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders.")],
    as_json: Json = False,
) -> None:
    """Copy finished runs to MLflow.

    To MLFLOW_TRACKING_URI, or to mlflow.db beside the run.
    """
    from whatsit.apps.tracking import track

    tracked = []
    for model in models:
        tracked.append(track(model))
        if not as_json:
            out(f"{model}: {'kept' if tracked[-1].new else 'is there already'} as run {tracked[-1].run_id}")
    if as_json:
        print_json([vars(one) for one in tracked])
    elif tracked[-1].address.startswith("sqlite:"):
        out(f"Next: mlflow ui --backend-store-uri {shell_word(tracked[-1].address)}")
