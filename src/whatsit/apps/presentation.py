"""Results as JSON, in the words of the contract, and as text for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from whatsit.apps.terminal import out, table
from whatsit.run_files import REPORT

if TYPE_CHECKING:
    from whatsit.evaluation.benchmark import Benchmark
    from whatsit.evaluation.criteria import Check
    from whatsit.evaluation.metrics import Figures
    from whatsit.run.record import Run
    from whatsit.run.summary import RunSummary
    from whatsit.runtime.predictor import Prediction
    from whatsit.verbs.ensemble import Ensemble
    from whatsit.verbs.export import Exported


def as_document(value: object) -> str:
    """A value as JSON that every parser reads: on one line, and never NaN or Infinity."""
    return json.dumps(value, allow_nan=False)


def tested_json(test: Figures | RunSummary) -> dict[str, Any]:
    return {"accuracy": test.accuracy, "accuracy_ci95": list(test.accuracy_ci95), "loss": test.loss, "n": test.n}


def accuracy_words(test: Figures | RunSummary) -> str:
    low, high = test.accuracy_ci95
    return f"{test.accuracy:.2%} (95 % interval {low:.1%} to {high:.1%}) on {test.n:,} pictures"


def run_json(run: Run) -> dict[str, Any]:
    return {
        "run": str(run.folder),
        "model": str(run.model),
        "test": tested_json(run.test),
        "seconds": run.seconds,
        "recipe": run.recipe.name,
    }


def answer_json(answer: Prediction) -> dict[str, Any]:
    found = {
        "label": answer.label,
        "probability": answer.probability,
        "unknown": answer.unknown,
        "top": [{"label": label, "probability": probability} for label, probability in answer.top],
    }
    return found if answer.labels is None else {**found, "set": list(answer.labels)}


def answer_line(answer: Prediction) -> str:
    line = f"{'unknown, nearest to ' if answer.unknown else ''}{answer.label} {answer.probability:.1%}"
    return line if answer.labels is None or answer.unknown else f"{line}  {{{', '.join(answer.labels)}}}"


def print_run(run: Run) -> None:
    rows = [
        ("Model", f"{run.recipe.model} (recipe {run.recipe.name}), {run.model}"),
        ("Test accuracy", accuracy_words(run.test)),
        *([("Leakage", run.leakage.sentence)] if run.leakage.pictures else []),
        ("Test loss", f"{run.test.loss:.3f} (calibration error {run.test.ece:.3f})"),
        ("Inference time", f"{1000 * run.speed.median:.1f} ms a picture ({run.speed.runtime})"),
        ("Model size", f"{run.megabytes:.1f} MB"),
        ("Time in all", f"{run.seconds:.0f} s"),
    ]
    if run.examination:
        checks = run.examination.checks
        missed = [f"{check.what} {check.wanted}, found {check.found}" for check in checks if check.missed]
        told = ["; ".join(missed) + " NOT MET"] if missed else []
        told += [f"{check.what} {check.found}" for check in checks if check.untested]
        met = f"all {len(checks)} met" if checks else "none applies"
        rows.append(("Criteria", "; ".join(told) or met))
        rows.append(("Report", str(run.folder / REPORT)))
    for name, value in rows:
        out(f"{name + ':':16s}{value}")
    out()
    _print_classes(run.test)


def criteria_words(checks: Sequence[Check]) -> str:
    """How many criteria are not met, and of how many that cannot be told."""
    missed, untold = sum(check.missed for check in checks), sum(bool(check.untested) for check in checks)
    parts = [f"{missed} of {len(checks)} criteria not met"] if missed or not untold else []
    if untold:
        parts.append(
            f"{untold}{'' if parts else f' of {len(checks)} criteria'} cannot be told for want of test pictures"
        )
    return "; ".join(parts)


def print_figures(figures: Figures, unknown: float) -> None:
    top5 = f"   Top-5: {figures.top5_accuracy:.1%}" if len(figures.per_class) > 5 else ""
    out(f"Accuracy: {accuracy_words(figures)}{top5}")
    out(f"Loss:     {figures.loss:.3f}   Calibration error: {figures.ece:.3f}")
    out(f"Unknown:  {unknown:.1%} of the pictures (counted above by their nearest class)")
    out()
    _print_classes(figures)


def _print_classes(figures: Figures) -> None:
    rows = [
        (label, f"{f.recall:.1%}", f"{f.precision:.1%}", f"{f.f1:.1%}", f"{f.n:,}")
        if f.n
        else (label, "not tested", "not tested", "not tested", "0")
        for label, f in figures.per_class.items()
    ]
    for name, f in (("(macro)", figures.macro), ("(weighted)", figures.weighted)):
        rows.append((name, f"{f.recall:.1%}", f"{f.precision:.1%}", f"{f.f1:.1%}", f"{figures.n:,}"))
    table(("class", "accuracy (recall)", "precision", "F1", "pictures"), rows)


def exported_json(one: Exported) -> dict[str, Any]:
    gate = one.gate and {**vars(one.gate), "loss": one.gate.loss, "passed": one.gate.passed}
    return {
        "format": one.format,
        "file": str(one.path),
        "megabytes": one.megabytes,
        "max_difference": one.max_difference,
        "gate": gate,
        "rejected": one.rejected,
    }


def print_exported(exported: Sequence[Exported]) -> None:
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


def benchmark_json(result: Benchmark) -> dict[str, Any]:
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


def print_benchmark(result: Benchmark) -> None:
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


def ensemble_json(made: Ensemble) -> dict[str, Any]:
    return {
        "model": str(made.model),
        "members": [vars(vote) for vote in made.members],
        "test": tested_json(made.test),
        "seconds": made.seconds,
    }


def print_ensemble(made: Ensemble) -> None:
    rows = [(vote.model, f"{vote.weight:.0%}", f"{vote.accuracy:.2%}") for vote in made.members]
    table(("member", "vote", "test accuracy"), [*rows, (str(made.model), "", f"{made.test.accuracy:.2%}")])
    best = max(vote.accuracy for vote in made.members)
    out()
    out(
        f"Test accuracy {accuracy_words(made.test)}, "
        f"{100 * (made.test.accuracy - best):+.2f} points against the best member; test loss {made.test.loss:.3f}"
    )
