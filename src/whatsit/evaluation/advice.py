"""What was learned about a model, and what to do next, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whatsit.evaluation.criteria import is_from_scratch
from whatsit.evaluation.examination import Examination

if TYPE_CHECKING:
    from whatsit.training.probe import LearningCurve


@dataclass(frozen=True)
class Gain:
    """What twice as many training pictures of a class would bring, by its learning curve."""

    label: str
    recall: float  # now, of the linear probe
    points: float  # more recall, 0 to 1
    noise: float  # the standard error of the recall on the test pictures

    @property
    def worth_it(self) -> bool:
        """At least a point, and more than noise."""
        return self.points >= 0.01 and self.points > self.noise


def gains(curve: LearningCurve, classes: tuple[str, ...], counts: dict[str, int]) -> list[Gain]:
    """For each class with test pictures (`counts`), what doubling would bring, the most first.

    The error is taken to fall as a power of the number of pictures (Hestness et al. 2017); the power is fitted to the
    whole curve.
    """
    if len(curve.shares) < 2:
        return []
    found = []
    steps = np.log2(np.array(curve.shares))
    for k, label in enumerate(classes):
        n = counts.get(label, 0)
        if not n:
            continue
        error = 1.0 - curve.recall[:, k]
        floor = 0.5 / n  # an error of nothing in n pictures may be as much
        slope, now = np.polyfit(steps, np.log2(np.maximum(error, floor)), 1)
        fitted = min(2.0**now, 1.0)
        points = fitted * (1.0 - 2.0 ** min(slope, 0.0)) if error[-1] > 0 else 0.0
        share = max(float(error[-1]), floor)
        found.append(Gain(label, 1.0 - float(error[-1]), points, float(np.sqrt(share * (1 - share) / n))))
    return sorted(found, key=lambda gain: -gain.points)


def learned(exam: Examination) -> list[str]:
    """What the figures say, in sentences."""
    figures = exam.test.figures
    low, high = figures.accuracy_ci95
    probe = exam.curve.accuracy[-1]
    found = [
        f"Of {figures.n:,} pictures that it never saw, it got {figures.accuracy:.1%} right (95 % interval {low:.1%} to "
        f"{high:.1%}). Always answering '{exam.most_frequent}' would get {exam.majority_accuracy:.1%}; a linear probe on a "
        f"pretrained network's features, {probe:.1%}."
    ]
    if probe > high:
        found.append("The linear probe, which takes a second to train, does better than this model.")
    elif is_from_scratch(exam.bundle) and low > probe:
        found.append(
            "It does better than the linear probe: these pictures are unlike the photos that one was trained on."
        )
    if exam.pairs:
        pair = exam.pairs[0]
        found.append(
            f"'{pair.one}' and '{pair.other}' are taken for each other most often: {pair.one_as_other} pictures of "
            f"'{pair.one}' were called '{pair.other}', {pair.other_as_one} the other way round."
        )
    else:
        found.append("It made no mistake on the test pictures.")
    found.append(_fit_sentence(exam))
    if figures.ece <= 0.03:
        found.append(f"Its probabilities can be taken at their word (calibration error {figures.ece:.3f}).")
    else:
        found.append(
            f"Its probabilities are off by {figures.ece:.1%} on average"
            + (f", which {figures.n:,} test pictures alone can cause." if figures.n < 1000 else ".")
        )
    told = [s for s in exam.strangers if s.told < 0.8]
    if told:
        kinds = ", ".join(f"{s.kind} ({s.told:.0%} told)" for s in told)
        found.append(f"It often takes pictures of nothing for one of its classes: {kinds}.")
    elif exam.strangers:
        found.append(
            f"It tells pictures of nothing (noise, plain colours, stripes) as unknown, and refuses {exam.refused:.1%} of "
            f"the test pictures for it."
        )
    return found


def _fit_sentence(exam: Examination) -> str:
    trained, held = float(exam.best["accuracy"]), float(exam.best["val_accuracy"])
    if trained - held > 0.10:
        return (
            f"It knows its training pictures better ({trained:.0%}) than new ones ({held:.0%}): it has learned some by "
            f"heart (overfitting)."
        )
    if trained < 0.75 and held < 0.8:
        return f"It has not fully learned even its training pictures ({trained:.0%} right): it could learn more."
    return f"It does about as well on new pictures ({held:.0%}) as on its training pictures ({trained:.0%})."


def to_do(exam: Examination) -> list[str]:
    """What to do next, the most urgent first."""
    figures, bundle = exam.test.figures, exam.bundle
    counts = bundle.provenance["data"]["pictures"]["train"]
    found = [
        f"{alarm} Look at the pictures in 'Where it looks' before you trust this model."
        for alarm in exam.shortcuts.alarms
    ]
    failed = [check.what for check in exam.checks if not check.passed]
    if failed:
        found.append(f"Not reached yet: {'; '.join(failed)}.")
    if is_from_scratch(bundle) and exam.curve.accuracy[-1] > figures.accuracy:
        found.append(
            f"Train by transfer: whatsit train DATA (the recipe 'fast'). The linear probe alone reaches "
            f"{exam.curve.accuracy[-1]:.1%}."
        )
    low, high = figures.accuracy_ci95
    if high - low > 0.06:
        found.append(
            f"The true accuracy may be anywhere from {low:.0%} to {high:.0%}, because {figures.n:,} test pictures are few: "
            f"set more aside before you compare models."
        )
    pair = next((pair for pair in exam.pairs if pair.count >= 3), None)
    if pair:
        found.append(
            f"Look through '{pair.one}' and '{pair.other}' for wrong labels, and add pictures that show what tells them apart."
        )
    more = [
        gain
        for gain in gains(exam.curve, bundle.classes, {k: f.n for k, f in figures.per_class.items()})
        if gain.worth_it
    ]
    if more:
        names = ", ".join(f"'{gain.label}' (about {100 * gain.points:.0f} points)" for gain in more[:3])
        found.append(f"More pictures would help, most of all of {names}, if they were doubled.")
    else:
        found.append(
            "More pictures of the same kind would bring little; other kinds of pictures may (light, angles, places)."
        )
    few = sorted((n, label) for label, n in counts.items() if n < 20)
    if few:
        found.append(f"'{few[0][1]}' has only {few[0][0]} training pictures; some dozens make a useful model.")
    if counts and max(counts.values()) > 5 * min(counts.values()):
        least = min(counts, key=lambda label: counts[label])
        found.append(f"The classes are uneven: '{least}' has {counts[least]:,} training pictures, '{exam.most_frequent}' "
                     f"{counts[exam.most_frequent]:,}.")  # fmt: skip
    if exam.unreadable:
        found.append(f"{len(exam.unreadable):,} pictures could not be read; they are listed in unreadable.csv.")
    found.append(
        "Before you rely on it, try it on pictures taken where it will be used: whatsit evaluate MODEL NEW_PICTURES."
    )
    return found
