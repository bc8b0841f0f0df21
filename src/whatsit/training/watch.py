"""Signs that a training went wrong, each with the likely cause and what to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.training.history import Epoch

RISING = 1.1  # the last training loss against the first
RISEN = 0.05  # nats, below which a rise is the noise of few steps
FAR_BELOW = 0.1  # of training accuracy below a linear probe's on images that it never saw
ENOUGH = 3  # validation images of a class, without one of which being predicted as it says something
NAMED = 3  # classes by name in a warning


@dataclass(frozen=True)
class Outcome:
    """What came out of a training."""

    epochs: tuple[Epoch, ...]  # of the stage that ships, in order
    best: Epoch  # the one that ships
    predicted: npt.NDArray[Any]  # int [N], the class predicted for each validation image
    labels: npt.NDArray[Any]  # int [N], its true class
    classes: tuple[str, ...]
    probe: float | None = None  # validation accuracy of a linear probe on frozen features, where there is one


def signs_of_trouble(outcome: Outcome) -> tuple[str, ...]:
    """Return a line for each sign, the worst first; none for a training that went as it should."""
    signs = [
        _rising_loss(outcome),
        _no_better_than_the_largest(outcome),
        _never_predicted(outcome),
        _below_probe(outcome),
    ]
    return tuple(sign for sign in signs if sign)


def _rising_loss(outcome: Outcome) -> str:
    losses = [float(epoch["loss"]) for epoch in outcome.epochs]
    if len(losses) < 2 or losses[-1] <= max(RISING * losses[0], losses[0] + RISEN):
        return ""
    return (
        f"the training loss rose from {losses[0]:.3f} to {losses[-1]:.3f}: the learning rate is likely too high; try a lower one "
        f"(--set learning_rate=..., or finetune_learning_rate=... where layers are fine-tuned)"
    )


def _no_better_than_the_largest(outcome: Outcome) -> str:
    counts = np.bincount(outcome.labels, minlength=len(outcome.classes))
    largest, accuracy = int(counts.argmax()), float((outcome.predicted == outcome.labels).mean())
    share = counts[largest] / len(outcome.labels)
    if accuracy > share:
        return ""
    return (
        f"in validation it is right for {accuracy:.1%}, always saying '{outcome.classes[largest]}' would be for {share:.1%}: it "
        f"learned nothing of use; look for labels in the wrong folders (whatsit explore DATA), or bring more images"
    )


def _never_predicted(outcome: Outcome) -> str:
    counts = np.bincount(outcome.labels, minlength=len(outcome.classes))
    given = np.bincount(outcome.predicted, minlength=len(outcome.classes))
    missing = np.flatnonzero((counts >= ENOUGH) & (given == 0))
    if not len(missing):
        return ""
    names = ", ".join(f"'{outcome.classes[place]}'" for place in missing[:NAMED])
    more = f" and {len(missing) - NAMED} more classes" if len(missing) > NAMED else ""
    return (
        f"{names}{more} {'is' if len(missing) == 1 else 'are'} never predicted for any of the {len(outcome.labels):,} validation "
        f"images: too few training images, or too like another class; bring more of them, or try --recipe finetune or "
        f"--set class_weights=balanced"
    )


def _below_probe(outcome: Outcome) -> str:
    trained, held = float(outcome.best["accuracy"]), float(outcome.best["val_accuracy"])
    if outcome.probe is None or trained > outcome.probe - FAR_BELOW or held >= outcome.probe:
        return ""
    return (
        f"in training it is right for {trained:.1%}, a linear probe on frozen features for {outcome.probe:.1%} of images that it "
        f"never saw: it did not learn what is there; try more epochs, another learning rate, or --recipe fast"
    )
