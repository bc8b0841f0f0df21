"""What was learned about a model, and what to do next, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whatsit.evaluation.criteria import is_from_scratch, name_some
from whatsit.evaluation.examination import Examination, Pair
from whatsit.evaluation.metrics import calibration_error_by_luck
from whatsit.evaluation.wording import percent

if TYPE_CHECKING:
    from whatsit.training.learning_curve import LearningCurve

FEW = 20  # training pictures of a class


@dataclass(frozen=True)
class Gain:
    """What twice as many training pictures, of all classes, would bring to one of them, by its learning curve."""

    label: str
    recall: float  # now, of the linear probe
    points: float  # more recall, 0 to 1
    noise: float  # the standard error of the recall on the test pictures

    @property
    def verdict(self) -> str:
        """`worth it` (at least a point, and more than noise), `hardly` (neither much) or `cannot tell`."""
        if self.points >= 0.01 and self.points > self.noise:
            return "worth it"
        return "hardly" if self.points < 0.01 and self.noise < 0.02 else "cannot tell"


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
        f"Of {figures.n:,} test pictures, which it never saw, it got {percent(figures.accuracy)} right (95 % interval "
        f"{percent(low)} to {percent(high)}). Always answering '{exam.most_frequent}' would get "
        f"{percent(exam.majority_accuracy)}; a very simple model (a linear probe), {percent(probe)}."
    ]
    if exam.leakage.pictures:
        found.append(f"{exam.leakage.sentence}.")
    if low <= probe <= high:
        found.append("So the very simple model does as well, as far as these test pictures can tell.")
    if exam.refused == 1:
        found.append("It called every one of the test pictures unknown. All figures count the nearest class instead.")
    elif exam.refused:
        found.append(
            f"It called {percent(exam.refused)} of the test pictures unknown. All figures count the nearest class there too; of "
            f"the pictures that it did answer, {percent(exam.answered_accuracy)} are right."
        )
    found.append(_about_mistakes(exam.pairs))
    found.append(_about_fit(exam))
    found.append(_about_calibration(exam))
    missed = [stranger for stranger in exam.strangers if stranger.told < 0.8]
    if missed:
        kinds = ", ".join(f"{s.kind} ({percent(s.told, 0)} called unknown)" for s in missed)
        found.append(f"It often takes meaningless pictures for one of its classes: {kinds}.")
    elif exam.strangers:
        found.append("It calls meaningless pictures (noise, plain colours, stripes) unknown, as it should.")
    return found


def _about_mistakes(pairs: list[Pair]) -> str:
    if not pairs:
        return "It made no mistake on the test pictures."
    pair, total = pairs[0], sum(pair.count for pair in pairs)
    ways = [
        f"{count:,} of '{truth}' {'was' if count == 1 else 'were'} called '{answer}'"
        for truth, answer, count in (
            (pair.one, pair.other, pair.one_as_other),
            (pair.other, pair.one, pair.other_as_one),
        )
        if count
    ]
    if total == 1:
        return f"Its only mistake on the test pictures: {ways[0]}."
    others = [other.count for other in pairs[1:2]]
    often = "" if not others else ", most often," if pair.count > others[0] else ", among others,"
    return f"It confuses{often} '{pair.one}' and '{pair.other}': {' and '.join(ways)} ({total:,} mistakes in all)."


OVERFITTED = 0.05  # how much better in training than on the test pictures


def _about_fit(exam: Examination) -> str:
    trained, tested = float(exam.best["accuracy"]), exam.test.figures.accuracy
    if trained > max(tested + OVERFITTED, exam.test.figures.accuracy_ci95[1]):
        return (
            f"In training it got {percent(trained)} right, on the test pictures {percent(tested)}: it has learned some of its "
            f"pictures by heart (overfitting)."
        )
    if trained < 0.75 and tested < 0.8:
        return f"In training it got only {percent(trained)} right, of pictures that it was shown: it could learn more."
    return f"In training it got {percent(trained)} right, near enough to the test pictures: no sign of overfitting."


def _about_calibration(exam: Examination) -> str:
    error = exam.test.figures.ece
    luck = calibration_error_by_luck(exam.test.probabilities)
    if error <= 0.03:
        return f"Its probabilities can be taken at their word: they are off by {percent(error)} on average."
    if error <= luck:
        return (
            f"Its probabilities are off by {percent(error)} on average. With {exam.test.figures.n:,} test pictures that may be "
            f"luck: perfect ones would be off by up to {percent(luck)}."
        )
    return f"Its probabilities are off by {percent(error)} on average, more than luck explains: do not rely on them."


def to_do(exam: Examination) -> list[str]:
    """What to do next, the most urgent first."""
    last = (
        "Before you rely on it, try it on pictures from the place where it will be used, sorted into class folders: "
        "whatsit evaluate MODEL FOLDER."
    )
    return [*_about_model(exam), *_about_data(exam), last]


def _about_model(exam: Examination) -> list[str]:
    figures, bundle = exam.test.figures, exam.bundle
    found = []
    if exam.shortcuts.alarms:
        found.append("It may have learned a shortcut: see 'Where it looks' before you trust this model.")
    failed = [f"{check.what} ({check.wanted}, found {check.found})" for check in exam.checks if check.missed]
    if failed:
        found.append(f"Not reached yet: {'; '.join(failed)}.")
    untested = [label for label, row in figures.per_class.items() if not row.n]
    if untested:
        found.append(
            f"Bring test pictures of {name_some(untested)}: without any, nobody can tell how well it knows them."
        )
    if is_from_scratch(bundle) and exam.curve.accuracy[-1] > figures.accuracy:
        found.append(
            f"Train by transfer: whatsit train DATA (the recipe 'fast'). Even the very simple model on a pretrained network's "
            f"features reaches {percent(exam.curve.accuracy[-1])}."
        )
    if exam.leakage.pictures:
        found.append(
            f"Have each picture and all that are nearly like it either in training or in test: {exam.leakage.pictures:,} test "
            f"pictures, listed in leakage.csv, have a counterpart among the others, and the test accuracy may flatter the model."
        )
    low, high = figures.accuracy_ci95
    if high - low > 0.06:
        found.append(
            f"Bring more test pictures: {figures.n:,} are few, so the true accuracy may be anywhere from {percent(low, 0)} to "
            f"{percent(high, 0)}. More pictures in DATA, or a test/ folder of your own, make it sharper."
        )
    pair = next((pair for pair in exam.pairs if pair.count >= 3), None)
    if pair:
        found.append(
            f"Look at the worst mistakes below: are pictures of '{pair.one}' and '{pair.other}' in the wrong folder? Add "
            f"pictures that show what tells the two apart."
        )
    return found


def _about_data(exam: Examination) -> list[str]:
    counts = exam.bundle.provenance["data"]["pictures"]["train"]
    found = [_about_more_pictures(exam)]
    few = sorted((n, label) for label, n in counts.items() if n < FEW)
    if few:
        found.append(f"'{few[0][1]}' has only {few[0][0]} training pictures; some dozens make a useful model.")
    least = min(counts, key=lambda label: counts[label])
    most = counts[exam.most_frequent]
    if most > 5 * counts[least]:
        found.append(
            f"The classes are uneven: '{least}' has {counts[least]:,} training pictures, '{exam.most_frequent}' has {most:,}."
        )
    if exam.unreadable:
        found.append(f"{len(exam.unreadable):,} pictures could not be read; they are listed in unreadable.csv.")
    return found


def _about_more_pictures(exam: Examination) -> str:
    counts = {label: figures.n for label, figures in exam.test.figures.per_class.items()}
    found = gains(exam.curve, exam.bundle.classes, counts)
    worth = [gain for gain in found if gain.verdict == "worth it"]
    if worth:
        names = ", ".join(
            f"'{gain.label}' (about {100 * gain.points:.1f} percentage points of recall)" for gain in worth[:3]
        )
        return f"Bring more training pictures. Twice as many of every class would help most of all {names}."
    if not found or any(gain.verdict == "cannot tell" for gain in found):
        return "Whether more training pictures would help cannot be told from so few test pictures; they seldom harm."
    return "More training pictures of the same kind would bring little; other kinds may (light, angles, places)."
