"""What was learned about a model, and what to do next, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from whatsit.evaluation.criteria import is_from_scratch, name_some
from whatsit.evaluation.examination import Examination
from whatsit.evaluation.metrics import Pair, calibration_error_by_luck
from whatsit.runtime.wording import percent

FEW = 20  # training pictures of a class
OVERFITTED = 0.05  # how much better in training than on the test pictures
OOD_KNOWN = 0.8  # share of meaningless pictures that is to be called unknown


def learned(exam: Examination) -> list[str]:
    """Say what the metrics mean."""
    return [
        *_about_accuracy(exam),
        _about_mistakes(exam.pairs),
        _about_fit(exam),
        _about_calibration(exam),
        *_about_unknown(exam),
    ]


def _about_accuracy(exam: Examination) -> Iterator[str]:
    metrics, probe = exam.test.metrics, exam.curve.accuracy[-1]
    low, high = metrics.accuracy_ci95
    simple = f"; a very simple model (a linear probe), {percent(probe)}"
    yield (
        f"Of {metrics.n:,} test pictures, which it never saw, it got {percent(metrics.accuracy)} right (95 % interval "
        f"{percent(low)} to {percent(high)}). Always answering '{exam.most_frequent}' would get "
        f"{percent(exam.majority_accuracy)}{'' if exam.is_probe else simple}."
    )
    if exam.leakage.pictures:
        yield f"{exam.leakage.sentence}."
    if costs := exam.costs:
        saves, (least, most) = costs.saved >= 0, costs.saved_ci95
        yield (
            f"Mistakes have prices, so {costs.changed:,} pictures are not answered by their most probable class; by that one "
            f"{percent(costs.most_probable_accuracy)} of all would be right. It {'saves' if saves else 'costs'} "
            f"{abs(costs.saved):.3g} per picture at your prices{'' if least <= 0 <= most else ', more than luck explains'}."
        )
    low, high = exam.most_probable[1]
    if low <= probe <= high and not exam.is_probe:
        yield "So the very simple model does as well, as far as these test pictures can tell."
    if exam.refused == 1:
        yield "It called every one of the test pictures unknown. All metrics count the nearest class instead."
    elif exam.refused:
        yield (
            f"It called {percent(exam.refused)} of the test pictures unknown. All metrics count the nearest class there too; of "
            f"the pictures that it did answer, {percent(exam.answered_accuracy)} are right."
        )


def _about_unknown(exam: Examination) -> Iterator[str]:
    missed = [row for row in exam.ood if row.unknown < OOD_KNOWN]
    if missed:
        kinds = ", ".join(f"{row.kind} ({percent(row.unknown, 0)} called unknown)" for row in missed)
        yield f"It often takes meaningless pictures for one of its classes: {kinds}."
    elif exam.ood:
        yield "It calls meaningless pictures (noise, plain colours, stripes) unknown, as it should."


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


def _about_fit(exam: Examination) -> str:
    trained, (tested, (_, high)) = float(exam.best["accuracy"]), exam.most_probable
    if trained > max(tested + OVERFITTED, high):
        return (
            f"In training it got {percent(trained)} right, on the test pictures {percent(tested)}: it has learned some of its "
            f"pictures by heart (overfitting)."
        )
    if trained < 0.75 and tested < 0.8:
        return f"In training it got only {percent(trained)} right, of pictures that it was shown: it could learn more."
    return f"In training it got {percent(trained)} right, near enough to the test pictures: no sign of overfitting."


def _about_calibration(exam: Examination) -> str:
    error = exam.test.metrics.ece
    if error <= 0.03:
        return f"Its probabilities can be taken at their word: they are off by {percent(error)} on average."
    luck = calibration_error_by_luck(exam.test.probabilities)
    if error <= luck:
        return (
            f"Its probabilities are off by {percent(error)} on average. With {exam.test.metrics.n:,} test pictures that may be "
            f"luck: perfect ones would be off by up to {percent(luck)}."
        )
    return f"Its probabilities are off by {percent(error)} on average, more than luck explains: do not rely on them."


def to_do(exam: Examination) -> list[str]:
    """Say what to do next, the most urgent first."""
    last = (
        "Before you rely on it, try it on pictures from the place where it will be used, sorted into class folders: "
        "whatsit evaluate MODEL FOLDER."
    )
    return [*_to_do_about_model(exam), *_to_do_about_test(exam), *_to_do_about_data(exam), last]


def _to_do_about_model(exam: Examination) -> Iterator[str]:
    metrics = exam.test.metrics
    if exam.shortcuts.alarms:
        yield "It may have learned a shortcut: see 'Where it looks' before you trust this model."
    failed = [f"{check.what} ({check.wanted}, found {check.found})" for check in exam.checks if check.missed]
    if exam.costs and exam.costs.saved_ci95[1] < 0:
        yield (
            f"Your promises and thresholds cost {-exam.costs.saved:.3g} per picture more than they save at your prices: is that "
            f"what you want? Less strict ones cost less; so do more pictures of these classes."
        )
    if failed:
        yield f"Not reached yet: {'; '.join(failed)}."
    untested = [label for label, row in metrics.per_class.items() if not row.n]
    if untested:
        yield f"Bring test pictures of {name_some(untested)}: without any, nobody can tell how well it knows them."
    if is_from_scratch(exam.bundle) and exam.curve.accuracy[-1] > metrics.accuracy:
        yield (
            f"Train by transfer: whatsit train DATA (the recipe 'fast'). Even the very simple model on a pretrained network's "
            f"features reaches {percent(exam.curve.accuracy[-1])}."
        )


def _to_do_about_test(exam: Examination) -> Iterator[str]:
    if exam.leakage.pictures:
        yield (
            f"Have each picture and all that are nearly like it either in training or in test: {exam.leakage.pictures:,} test "
            f"pictures, listed in leakage.csv, have a counterpart among the others, and the test accuracy may flatter the model."
        )
    n, (low, high) = exam.test.metrics.n, exam.test.metrics.accuracy_ci95
    if high - low > 0.06:
        yield (
            f"Bring more test pictures: {n:,} are few, so the true accuracy may be anywhere from {percent(low, 0)} "
            f"to {percent(high, 0)}. More pictures in DATA, or a test/ folder of your own, make it sharper."
        )
    pair = next((pair for pair in exam.pairs if pair.count >= 3), None)
    if pair:
        yield (
            f"Look at the worst mistakes below: are pictures of '{pair.one}' and '{pair.other}' in the wrong folder? Add "
            f"pictures that show what tells the two apart."
        )


def _to_do_about_data(exam: Examination) -> Iterator[str]:
    worth = [gain for gain in exam.gains if gain.verdict == "worth it"]
    told = _pictures_for_a_point(exam)
    if worth:
        points = (f"'{gain.label}' (about {100 * gain.points:.1f} percentage points of recall)" for gain in worth[:3])
        yield f"Bring more training pictures. Twice as many of every class would help most of all {', '.join(points)}."
    elif not told and (not exam.gains or any(gain.verdict == "cannot tell" for gain in exam.gains)):
        yield "Whether more training pictures would help cannot be told from so few test pictures; they seldom harm."
    elif not told:
        yield "More training pictures of the same kind would bring little; other kinds may (light, angles, places)."
    if told:
        yield told
    counts = exam.bundle.provenance["data"]["pictures"]["train"]
    few = sorted((n, label) for label, n in counts.items() if n < FEW)
    if few:
        yield f"'{few[0][1]}' has only {few[0][0]} training pictures; some dozens make a useful model."
    least = min(counts, key=lambda label: counts[label])
    most = counts[exam.most_frequent]
    if most > 5 * counts[least]:
        yield (
            f"The classes are uneven: '{least}' has {counts[least]:,} training pictures, '{exam.most_frequent}' has {most:,}."
        )
    if exam.unreadable:
        yield f"{len(exam.unreadable):,} pictures could not be read; they are listed in unreadable.csv."


def _pictures_for_a_point(exam: Examination) -> str:
    """Say how many more pictures a point takes, where the curve does; else nothing."""
    needed = [(gain.needed.about, gain.needed.of(f"of '{gain.label}'")) for gain in exam.gains if gain.needed]
    rest = "(in brackets: 80 % ranges). Which pictures to label: whatsit suggest MODEL PICTURES."
    if needed:
        some = ", ".join(text for _, text in sorted(needed)[:3])
        return f"For one percentage point more of recall it takes {some}, if the others grow in proportion {rest}"
    if exam.needed_in_all:
        some = exam.needed_in_all.of("training pictures")
        return f"For one percentage point more of accuracy it takes {some}, spread over the classes as now {rest}"
    return ""
