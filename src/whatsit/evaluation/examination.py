"""Everything that was found out about a model, gathered for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle
from whatsit.evaluation.criteria import Check
from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.leakage import LeakageFigures
from whatsit.evaluation.metrics import Interval, wilson_interval
from whatsit.evaluation.shortcuts import Shortcuts
from whatsit.evaluation.speed import Speed
from whatsit.evaluation.strangers import Strangers
from whatsit.images.decode import Pixels, decode, decode_within
from whatsit.images.scan import Dataset
from whatsit.runtime.explain import Explainer, Maps
from whatsit.runtime.predictor import Predictor

if TYPE_CHECKING:
    from whatsit.training.learning_curve import LearningCurve

PROMISES = (0.80, 0.90, 0.95, 0.99)


@dataclass(frozen=True)
class Mistake:
    """A wrong answer on a test picture."""

    name: str  # the picture's name in DATA
    label: str  # what it truly is
    answer: str
    probability: float  # of the answer
    unknown: bool  # the model also said that it does not know such pictures
    pixels: Pixels  # uint8 [H, W, 3]
    evidence: Maps  # for the answer, [h, w], 0 to 1

    def to_json(self) -> dict[str, Any]:
        """All but the pictures."""
        return {
            "name": self.name,
            "label": self.label,
            "answer": self.answer,
            "probability": self.probability,
            "unknown": self.unknown,
        }


@dataclass(frozen=True)
class Coverage:
    """What became of a promise: prediction sets on the test pictures."""

    promised: float
    measured: float
    measured_ci95: Interval
    size: float  # classes in a set, on average


@dataclass(frozen=True)
class Pair:
    """Two classes that are taken for each other."""

    one: str
    other: str
    one_as_other: int  # pictures of `one` that were called `other`
    other_as_one: int

    @property
    def count(self) -> int:
        """In both directions."""
        return self.one_as_other + self.other_as_one


@dataclass(frozen=True)
class Examination:
    """What is known about a model once it was trained, tested and questioned."""

    bundle: Bundle
    test: Evaluation
    history: Sequence[Mapping[str, Any]]  # every epoch, as in history.csv
    best: Mapping[str, Any]  # the epoch that was kept
    checks: Sequence[Check]
    speed: Speed
    megabytes: float  # of the bundle
    most_frequent: str  # the class with most training pictures
    curve: LearningCurve  # of the linear probe; its last point is the baseline
    mistakes: Sequence[Mistake]
    coverage: Sequence[Coverage]
    strangers: Sequence[Strangers]
    shortcuts: Shortcuts
    warnings: Sequence[str]  # signs that training went wrong, a line each with what to try
    notes: Sequence[str]  # about the data
    leakage: LeakageFigures  # test pictures that resemble training pictures
    unreadable: Sequence[tuple[str, str]]  # (name, reason)
    seconds: float  # from the first picture read to here

    @property
    def majority_accuracy(self) -> float:
        """Of always naming the most frequent class of the training pictures."""
        return float((self.test.labels == self.bundle.classes.index(self.most_frequent)).mean())

    @property
    def probe_alarms(self) -> Sequence[str]:
        """A line where a linear probe is clearly better on the test images than the model, with what to try."""
        high, probe = self.test.figures.accuracy_ci95[1], self.curve.accuracy[-1]
        if probe <= high:
            return ()
        return (
            f"a linear probe on the features of a pretrained network is right for {probe:.1%} of the test images, this model for "
            f"{self.test.figures.accuracy:.1%}: something went wrong in training, or this network does not suit these images; "
            f"try --recipe fast or --recipe finetune",
        )

    @property
    def alarms(self) -> Sequence[str]:
        """Everything that looks wrong about this model, a line each."""
        shortcuts = (f"it may have learned a shortcut: {alarm}" for alarm in self.shortcuts.alarms)
        return (*self.warnings, *self.probe_alarms, *shortcuts)

    @property
    def threshold(self) -> float:
        """Of the score, above which a picture is unknown."""
        return self.bundle.unknown.threshold if self.bundle.unknown else math.inf

    @property
    def refused(self) -> float:
        """The share of the test pictures that were called unknown."""
        return float(self.test.unknown.mean())

    @property
    def answered_accuracy(self) -> float:
        """The accuracy on the test pictures that were not called unknown; NaN where all were."""
        answered = ~self.test.unknown
        right = self.test.probabilities.argmax(axis=1) == self.test.labels
        return float(right[answered].mean()) if answered.any() else math.nan

    @property
    def pairs(self) -> list[Pair]:
        """The classes that are taken for each other, the most often first."""
        counts, names = self.test.figures.confusion, self.bundle.classes
        both = np.array(counts) + np.array(counts).T
        found = [
            Pair(names[i], names[j], counts[i][j], counts[j][i])
            for i, j in zip(*np.nonzero(np.triu(both, 1)), strict=True)
        ]
        return sorted(found, key=lambda pair: -pair.count)

    def to_json(self) -> dict[str, Any]:
        """The figures that `test` does not have, as plain dicts and lists."""
        return {
            "majority_accuracy": self.majority_accuracy,
            "linear_probe_accuracy": self.curve.accuracy[-1],
            "learning_curve": {
                "pictures": self.curve.pictures,
                "accuracy": self.curve.accuracy,
                "recall": [[None if np.isnan(r) else float(r) for r in row] for row in self.curve.recall],
            },
            "coverage": [vars(row) for row in self.coverage],
            "refused": self.refused,
            "answered_accuracy": None if math.isnan(self.answered_accuracy) else self.answered_accuracy,
            "strangers": [{"kind": s.kind, "n": s.n, "told": s.told, "auroc": s.auroc} for s in self.strangers],
            "shortcuts": vars(self.shortcuts),
            "criteria": [vars(check) for check in self.checks],
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
        }


def find_mistakes(explainer: Explainer, dataset: Dataset, test: Evaluation, count: int = 12) -> list[Mistake]:
    """The wrong answers that were given with the greatest probability, the worst first."""
    given = test.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(given != test.labels)
    worst = wrong[np.argsort(-test.probabilities[wrong, given[wrong]], kind="stable")][:count]
    found = []
    for place in worst:
        picture = test.pictures[place]
        data = dataset.read(picture)
        pixels = decode(data, explainer.predictor.size, rule=explainer.predictor.rule)
        _, maps = explainer.evidence(pixels[None], [given[place]])
        found.append(
            Mistake(
                picture.name,
                picture.label,
                test.classes[given[place]],
                float(test.probabilities[place].max()),
                bool(test.unknown[place]),
                decode_within(data, 240),
                maps[0],
            )
        )
    return found


def measure_coverage(predictor: Predictor, test: Evaluation) -> list[Coverage]:
    """Prediction sets for the test pictures at each of the `PROMISES`; none where the bundle makes no promise."""
    found = []
    for promise in PROMISES if predictor.bundle.conformal else ():
        inside = predictor.in_set(test.probabilities, promise)
        held = int(inside[np.arange(len(inside)), test.labels].sum())
        size = float(inside.sum(axis=1).mean())
        found.append(Coverage(promise, held / len(inside), wilson_interval(held, len(inside)), size))
    return found


def sample_pixels(dataset: Dataset, test: Evaluation, predictor: Predictor, count: int) -> npt.NDArray[np.uint8]:
    """Some test pictures, evenly spread over the set, as the model takes them: uint8 `[N, H, W, 3]`."""
    places = np.linspace(0, len(test.pictures) - 1, min(count, len(test.pictures))).round().astype(int)
    read = (dataset.read(test.pictures[place]) for place in places)
    return np.stack([decode(data, predictor.size, rule=predictor.rule) for data in read])
