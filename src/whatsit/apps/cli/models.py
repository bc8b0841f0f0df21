"""Commands about finished models: evaluate, check, compare, rename, ensemble."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whatsit.apps.cli.options import Data, Json, Model, RunData, Runtime
from whatsit.apps.cli.output import (
    accuracy_words,
    print_classes,
    print_comparison,
    print_costs,
    print_json,
    tested_json,
)
from whatsit.apps.terminal import TerminalReporter, out, shell_word, table
from whatsit.errors import UsageError

if TYPE_CHECKING:
    from whatsit.evaluation.criteria import Check
    from whatsit.evaluation.metrics import Metrics
    from whatsit.verbs.ensemble import Ensemble


def evaluate(model: Model, data: Data, runtime: Runtime = "auto", as_json: Json = False) -> None:
    """Measure a model on labelled pictures.

    These are DATA's test split where it has one, else all of it.
    """
    from whatsit.evaluation.prices import measure_costs
    from whatsit.verbs.evaluate import evaluate

    with TerminalReporter() as reporter:
        evaluation = evaluate(model, data, runtime=runtime, reporter=reporter)
    unknown = float(evaluation.unknown.mean())
    costs = measure_costs(evaluation)
    if as_json:
        priced = {"costs": costs.to_json()} if costs else {}
        print_json({**evaluation.metrics.to_json(), "unknown": unknown, **priced})
    else:
        _print_figures(evaluation.metrics, unknown)
        if costs:
            out()
            print_costs(costs)
        out()
        out(f"Next: whatsit explain {shell_word(model)} PICTURE, to see where it looks")


def _print_figures(metrics: Metrics, unknown: float) -> None:
    """Print the metrics of an evaluation."""
    top5 = f"   Top-5: {metrics.top5_accuracy:.1%}" if len(metrics.per_class) > 5 else ""
    out(f"Accuracy: {accuracy_words(metrics)}{top5}")
    out(f"Loss:     {metrics.loss:.3f}   Calibration error: {metrics.ece:.3f}")
    out(f"Unknown:  {unknown:.1%} of the pictures (counted above by their nearest class)")
    out()
    print_classes(metrics)


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
    """Check a model's test metrics, size and speed against criteria.

    The exit code is 1 if any is not met.
    """
    from whatsit.verbs.check import check

    checks = check(model, criteria)
    passed = all(one.passed for one in checks)
    if as_json:
        print_json({"passed": passed, "checks": [vars(one) for one in checks]})
    else:
        words = {True: "FAIL", False: "CANNOT BE TOLD"}
        rows = [
            (one.what, one.wanted, one.found, "pass" if one.passed else words[one.missed], one.note) for one in checks
        ]
        table(("criterion", "wanted", "found", "", ""), rows)
        out()
        out("PASS: every criterion is met" if passed else f"FAIL: {criteria_words(checks)}")
        better = (
            "whatsit explore DATA shows what is wrong in the data; whatsit train DATA --time-limit 20m takes more time"
        )
        out(f"Next: whatsit export {shell_word(model)} --format web" if passed else f"Next: {better}")
    if not passed:
        sys.exit(1)


def criteria_words(checks: Sequence[Check]) -> str:
    """Return how many criteria are not met, and how many are without test images."""
    missed, untested = sum(check.missed for check in checks), sum(bool(check.untested) for check in checks)
    parts = [f"{missed} of {len(checks)} criteria not met"] if missed or not untested else []
    if untested:
        parts.append(
            f"{untested}{'' if parts else f' of {len(checks)} criteria'} cannot be told for want of test pictures"
        )
    return "; ".join(parts)


def compare(
    first: Annotated[str, typer.Argument(metavar="MODEL", help="A .whatsit file or a run folder.")],
    second: Annotated[str, typer.Argument(metavar="MODEL", help="What is compared with it.")],
    data: Data,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", help="A page to write, with the pictures that they name differently.")
    ] = None,
    runtime: Runtime = "auto",
    as_json: Json = False,
) -> None:
    """Compare two models on the same pictures, one by one."""
    from whatsit.verbs.compare import compare

    with TerminalReporter() as reporter:
        found = compare(first, second, data, out=out_, runtime=runtime, reporter=reporter)
    if as_json:
        print_json(found.to_json())
        return
    print_comparison(found)
    if out_:
        out(f"Page: {out_}")
    else:
        words = " ".join(map(shell_word, (first, second, data)))
        out(f"Next: whatsit compare {words} --out compare.html, a page with these pictures")


def rename(
    model: Model,
    names: Annotated[list[str], typer.Argument(metavar="OLD=NEW...", help="Two with the same new name are merged.")],
    out_: Annotated[Path, typer.Option("--out", "-o", help="The .whatsit file to write.")],
    data: RunData = None,
    as_json: Json = False,
) -> None:
    """Give classes other names, or merge some.

    A model with merged classes is measured again.
    """
    from whatsit.verbs.rename import rename

    new: dict[str, str] = {}
    for pair in names:
        old, sign, name = pair.partition("=")
        if not sign or not old:
            raise UsageError(f"'{pair[:100]}' is no OLD=NEW, such as cat=kitten")
        if new.setdefault(old, name) != name:
            raise UsageError(f"the class '{old}' is given two names: {new[old]} and {name}")
    with TerminalReporter() as reporter:
        made = rename(model, new, out_, data=data, reporter=reporter)
    if as_json:
        accuracy = made.test["accuracy"] if made.test else None
        print_json(
            {"model": str(made.model), "classes": made.classes, "merged": made.merged, "test_accuracy": accuracy}
        )
        return
    out(f"Classes:       {', '.join(made.classes)}")
    if made.test:
        low, high = made.test["accuracy_ci95"]
        again = "measured again" if made.merged else "as before"
        out(f"Test accuracy: {made.test['accuracy']:.2%} (95 % interval {low:.1%} to {high:.1%}), {again}")
    out(f"Model:         {made.model}")
    out()
    out(f"Next: whatsit predict {shell_word(made.model)} PICTURE...")


def ensemble(
    models: Annotated[list[str], typer.Argument(metavar="MODEL MODEL...", help="Run folders of the same classes.")],
    out_: Annotated[Path, typer.Option("--out", "-o", help="The run folder to make, or a .whatsit file.")],
    data: RunData = None,
    as_json: Json = False,
) -> None:
    """Make one model that averages several.

    The votes are fitted on pictures that no member was trained on.
    """
    from whatsit.verbs.ensemble import ensemble

    with TerminalReporter() as reporter:
        made = ensemble(models, out_, data=data, reporter=reporter)
    if as_json:
        print_json(_ensemble_json(made))
        return
    _print_ensemble(made)
    out()
    out(f"Next: whatsit predict {shell_word(made.model)} PICTURE...")
    out(f"Next: whatsit verify {shell_word(made.model)}")


def _ensemble_json(made: Ensemble) -> dict[str, Any]:
    """Return an ensemble as JSON."""
    return {
        "model": str(made.model),
        "members": [vars(vote) for vote in made.members],
        "test": tested_json(made.test),
        "seconds": made.seconds,
    }


def _print_ensemble(made: Ensemble) -> None:
    """Print an ensemble as a table."""
    rows = [(vote.model, f"{vote.weight:.0%}", f"{vote.accuracy:.2%}") for vote in made.members]
    table(("member", "vote", "test accuracy"), [*rows, (str(made.model), "", f"{made.test.accuracy:.2%}")])
    best = max(vote.accuracy for vote in made.members)
    out()
    out(
        f"Test accuracy {accuracy_words(made.test)}, "
        f"{100 * (made.test.accuracy - best):+.2f} points against the best member; test loss {made.test.loss:.3f}"
    )
