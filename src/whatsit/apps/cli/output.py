"""What several commands print: JSON documents, the metrics of a model, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from whatsit.apps.terminal import out, table
from whatsit.runtime.wording import percent

if TYPE_CHECKING:
    from whatsit.evaluation.criteria import Check
    from whatsit.evaluation.metrics import Metrics
    from whatsit.evaluation.paired import ModelComparison
    from whatsit.evaluation.prices import CostMetrics
    from whatsit.run.summary import RunSummary
    from whatsit.runtime.predictor import Overruled, Prediction


def print_json(value: object) -> None:
    """Print a value as JSON on one line, never with NaN or Infinity."""
    out(json.dumps(value, allow_nan=False))


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print a line for each name and value; no name continues the one before."""
    for name, value in pairs:
        out(f"{name + ':' if name else '':16s}{value}")


def criteria_rows(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """Return the verdict of the criteria, and a line for each that is not met."""
    missed, untested = [one for one in checks if one.missed], [one for one in checks if one.untested]
    if not missed and not untested:
        return [("Criteria", f"all {len(checks)} met" if checks else "none applies")]
    counts = [(len(missed), "not met"), (len(untested), "cannot be told")]
    verdict = ", ".join(f"{count} of {len(checks)} {word}" for count, word in counts if count)
    lines = [f"{one.what} {one.wanted}, found {one.found}" for one in missed]
    lines += [f"{one.what} {one.found}" for one in untested]
    return [("Criteria", f"{verdict}:"), *(("", line) for line in lines)]


def tested_json(test: Metrics | RunSummary) -> dict[str, Any]:
    """Return the metrics on the test images that every command gives."""
    return {"accuracy": test.accuracy, "accuracy_ci95": list(test.accuracy_ci95), "loss": test.loss, "n": test.n}


def accuracy_words(test: Metrics | RunSummary) -> str:
    """Return the accuracy with its interval and the number of images."""
    low, high = test.accuracy_ci95
    return f"{test.accuracy:.2%} (95 % interval {low:.1%} to {high:.1%}) on {test.n:,} pictures"


def probability_words(probability: float) -> str:
    """Format a probability such as `98.1%`; `100.0%` only where it is exactly 1."""
    return percent(probability).replace(" ", "")


def answer_line(answer: Prediction) -> str:
    """Return the prediction for an image as a line."""
    line = f"{'unknown, nearest to ' if answer.unknown else ''}{answer.label} {probability_words(answer.probability)}"
    if answer.labels is not None and not answer.unknown:
        line = f"{line}  {{{', '.join(answer.labels)}}}"
    return f"{line}  ({overruled_words(answer.overruled)})" if answer.overruled and not answer.unknown else line


def overruled_words(overruled: Overruled) -> str:
    """Return why the most probable class is not the answer."""
    costs = f"a mistake would cost {overruled.cost:.3g} on average, this answer {overruled.answer_cost:.3g}"
    return f"most probable: {overruled.label} {probability_words(overruled.probability)}; {costs}"


def print_classes(metrics: Metrics) -> None:
    """Print a table of the metrics of each class."""
    rows = [
        (label, f"{f.recall:.1%}", f"{f.precision:.1%}", f"{f.f1:.1%}", f"{f.n:,}")
        if f.n
        else (label, "not tested", "not tested", "not tested", "0")
        for label, f in metrics.per_class.items()
    ]
    for name, f in (("(macro)", metrics.macro), ("(weighted)", metrics.weighted)):
        rows.append((name, f"{f.recall:.1%}", f"{f.precision:.1%}", f"{f.f1:.1%}", f"{metrics.n:,}"))
    table(("class", "accuracy (recall)", "precision", "F1", "pictures"), rows)


def print_comparison(
    found: ModelComparison, names: tuple[str, str] = ("first", "second"), verdict: str | None = None
) -> None:
    """Print two models side by side, and pictures that they name differently.

    `names` stand above the columns; `verdict` replaces that of the comparison.
    """
    rows = [
        (
            label,
            f"{one.n:,}",
            f"{one.first:.1%}",
            f"{one.second:.1%}",
            str(one.won),
            str(one.lost),
            f"{one.p_value:.2g}",
        )
        for label, one in (("(all)", found.overall), *found.per_class.items())
    ]
    table(("class", "pictures", *names, "won", "lost", "p"), rows)
    out()
    out(f"They name {found.agreement:.1%} of the pictures the same")
    for one in found.differing[:5]:
        out(
            f"  {one.name} ({one.label}): {one.first} {probability_words(one.first_probability)}, "
            f"{one.second} {probability_words(one.second_probability)}"
        )
    if len(found.differing) > 5:
        out(f"  and {len(found.differing) - 5:,} more")
    out(verdict or found.verdict)


def print_costs(found: CostMetrics) -> None:
    """Print what mistakes cost, and how the promises did."""
    from whatsit.evaluation.prices import cost_words

    changed = f"{found.changed:,} of {found.n:,} pictures are answered otherwise than by the most probable class"
    print_pairs(
        [
            ("Cost a picture", cost_words(found.cost, found.cost_ci95)),
            ("Without costs", cost_words(found.most_probable_cost, found.most_probable_cost_ci95)),
            ("Saved", cost_words(found.saved, found.saved_ci95)),
            ("Accuracy", f"{found.accuracy:.2%}, without costs {found.most_probable_accuracy:.2%}; {changed}"),
            *(("Promise", promise.sentence) for promise in found.promises),
        ]
    )
