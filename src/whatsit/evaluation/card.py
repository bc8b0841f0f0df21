"""The model card that travels in a bundle (Mitchell et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whatsit.bundle.format import IMPORT, Bundle
from whatsit.evaluation.evaluate import LeakageMetrics
from whatsit.evaluation.examination import Examination
from whatsit.evaluation.prices import CostMetrics, cost_words
from whatsit.images.names import plain


def model_card(bundle: Bundle, exam: Examination | None = None, leakage: LeakageMetrics | None = None) -> str:
    """Describe a model, its data, its metrics and its limits as Markdown."""
    made, test = bundle.provenance, bundle.test or {}
    if not test:
        return _unmeasured(bundle)
    low, high = test["accuracy_ci95"]
    counts = {name: sum(labels.values()) for name, labels in made["data"]["pictures"].items()}
    rows = "\n".join(
        f"| {_escaped(label)} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['n']} |"
        if row["n"]
        else f"| {_escaped(label)} | not tested | not tested | not tested | 0 |"
        for label, row in test["per_class"].items()
    )
    return f"""# Image classifier: {_escaped(made["data"]["source"])}

{_about_making(made)}

## What it does

- Answers: {len(bundle.classes)} classes, with a calibrated probability each
- Takes: RGB pictures of {bundle.input.width} x {bundle.input.height} pixels, resized by the rule `{bundle.input.resize}`
- {_about_training(made, counts)}, tested on {test["n"]:,} that it never saw

## How well

- Test accuracy: {test["accuracy"]:.1%} (95 % interval {low:.1%} to {high:.1%}); log loss {test["loss"]:.3f}; calibration
  error {test["ece"]:.3f}
{_about_costs(bundle)}{_about_leakage(exam.leakage if exam else leakage)}{_about_examination(exam)}
| class | precision | recall | F1 | test pictures |
| --- | --- | --- | --- | --- |
{rows}

## What it is not for

These metrics hold for pictures like the test pictures. {_about_unknown(bundle)} Try it on pictures taken
where it will be used before anything depends on it.

This file holds {len(bundle.references)} of the test pictures, as a proof that it answers alike everywhere.
"""


def _about_making(made: Mapping[str, Any]) -> str:
    when = f"by whatsit {made['versions'].get('whatsit', '')} on {made['created']}"
    model = _escaped(str(made["recipe"]["model"]))
    if made["recipe"]["name"] == IMPORT:
        return f"Made elsewhere, and imported {when} from the file {model}."
    return f"Made {when} with the recipe `{made['recipe']['name']}`\n({model}, seed {made['recipe']['seed']})."


def _about_training(made: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    if made["recipe"]["name"] != IMPORT:
        return f"Trained on {counts['train']:,} pictures, chosen by {counts['validation']:,}"
    return f"Trained elsewhere, calibrated on {counts['train'] + counts['validation']:,} pictures"


def _unmeasured(bundle: Bundle) -> str:
    """Describe a model that was imported and not measured."""
    return f"""# Image classifier: {_escaped(bundle.provenance["data"]["source"])}

{_about_making(bundle.provenance)}

- Answers: {len(bundle.classes)} classes, with a probability each as its maker left it: not calibrated here, and not measured
- Takes: RGB pictures of {bundle.input.width} x {bundle.input.height} pixels, resized by the rule `{bundle.input.resize}`

It always names one of its classes, also for a picture of something else. Measure it on your own pictures before anything
depends on it: `whatsit evaluate MODEL DATA`, or import it again with `--calibrate DATA`.
"""


def _about_costs(bundle: Bundle) -> str:
    if bundle.costs is None or not bundle.test or "costs" not in bundle.test:
        return ""
    found = CostMetrics.from_json(bundle.test["costs"])
    lines = [
        "Mistakes have prices, and the class of the least expected cost is answered: "
        + "; ".join(bundle.costs.given.lines()),
        f"Cost a test picture: {cost_words(found.cost, found.cost_ci95)}; if the most probable class were answered "
        f"{cost_words(found.most_probable_cost, found.most_probable_cost_ci95)}, with an accuracy of "
        f"{found.most_probable_accuracy:.1%}",
        *(f"Promise: {one.sentence}" for one in found.promises),
    ]
    return "".join(f"- {_escaped(line)}\n" for line in lines)


def _about_leakage(leakage: LeakageMetrics | None) -> str:
    return f"- Warning: {_escaped(leakage.sentence)}\n" if leakage and leakage.pictures else ""


def _about_unknown(bundle: Bundle) -> str:
    if bundle.unknown is None:
        return "The model always names one of its classes, also for a picture of something else."
    return (
        f"A picture unlike the training pictures is called unknown ({bundle.unknown.method}, threshold "
        f"{bundle.unknown.threshold:.4g}, set to let {bundle.unknown.accepts:.0%} of pictures like the validation pictures "
        f"through); other pictures that resemble a class can still be taken for it."
    )


def _about_examination(exam: Examination | None) -> str:
    if exam is None:
        return ""
    met = sum(check.passed for check in exam.checks)
    lines = [
        f"Baselines: the most frequent class {exam.majority_accuracy:.1%}, a linear probe {exam.curve.accuracy[-1]:.1%}",
        f"Criteria met when it was made: {met} of {len(exam.checks)}",
        *(
            f"{check.what[0].upper()}{check.what[1:]} {_escaped(check.found)}"
            for check in exam.checks
            if check.untested
        ),
        *(f"Warning: {alarm}" for alarm in exam.alarms),
    ]
    return "".join(f"- {line}\n" for line in lines)


_MARKDOWN = frozenset("\\`*_[]()|~!#$")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "://": "&#58;//", "@": "&#64;", "www.": "www&#46;"}


def _escaped(text: str) -> str:
    """Escape text that could break out of a table, or become a link or HTML."""
    text = "".join(f"\\{character}" if character in _MARKDOWN else character for character in plain(text))
    for characters, safe in _HTML.items():
        text = text.replace(characters, safe)
    return text
