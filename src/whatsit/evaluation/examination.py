"""Everything that was measured on a model, gathered for the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.bundle.costs import decide
from whatsit.bundle.format import Bundle
from whatsit.evaluation.criteria import Check
from whatsit.evaluation.evaluate import Coverage, Evaluation, LeakageMetrics
from whatsit.evaluation.metrics import Interval, Pair, confused_pairs, wilson_interval
from whatsit.evaluation.mistakes import Mistake
from whatsit.evaluation.more_pictures import Gain, Needed, gains, needed_in_all
from whatsit.evaluation.out_of_distribution import OodResult
from whatsit.evaluation.prices import CostMetrics, measure_costs
from whatsit.evaluation.shortcuts import Shortcuts
from whatsit.evaluation.speed import Speed
from whatsit.evaluation.update import Update

if TYPE_CHECKING:
    from whatsit.training.learning_curve import LearningCurve

UNTELLING = 0.5  # width of the accuracy's 95 % interval, above which nobody can say what went wrong
TRIED = {"best": ("fast", "finetune")}  # the recipes that are part of another


@dataclass(frozen=True)
class Examination:
    """All that is known about a model once it was trained, tested and examined."""

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
    ood: Sequence[OodResult]
    shortcuts: Shortcuts
    warnings: Sequence[str]  # signs that training went wrong, a line each with what to try
    notes: Sequence[str]  # about the data
    leakage: LeakageMetrics  # test pictures that resemble training pictures
    unreadable: Sequence[tuple[str, str]]  # (name, reason)
    seconds: float  # from the first picture read to here
    training_notes: Sequence[str] = ()  # about the training, which need nothing to be done
    update: Update | None = None  # what changed against the run that it was made from

    @property
    def majority_accuracy(self) -> float:
        """Return the accuracy of always predicting the most frequent training class."""
        return float((self.test.labels == self.bundle.classes.index(self.most_frequent)).mean())

    @property
    def is_probe(self) -> bool:
        """Return whether what ships is a linear probe of frozen features."""
        return str(self.best["stage"]).endswith("probe")

    @property
    def probe_alarms(self) -> Sequence[str]:
        """Return a line where a linear probe is clearly better than the model."""
        (accuracy, (low, high)), probe = self.most_probable, self.curve.accuracy[-1]
        if probe <= high:
            return ()
        both = (
            f"a linear probe on the features of a pretrained network is right for {probe:.1%} of the test images, this model for "
            f"{accuracy:.1%}"
        )
        if high - low > UNTELLING:
            return (
                f"{both}: {len(self.test.labels)} test pictures are too few to tell why; bring more pictures first",
            )
        used = str(self.bundle.provenance["recipe"]["name"])
        others = [f"--recipe {name}" for name in ("fast", "finetune") if name not in TRIED.get(used, (used,))]
        advice = " or ".join(others) or "another --backbone"
        return (f"{both}: something went wrong in training, or this network does not suit these images; try {advice}",)

    @property
    def alarms(self) -> Sequence[str]:
        """Return everything that looks wrong about this model, a line each."""
        shortcuts = (f"it may have learned a shortcut: {alarm}" for alarm in self.shortcuts.alarms)
        return (*self.warnings, *self.probe_alarms, *shortcuts)

    @cached_property
    def most_probable(self) -> tuple[float, Interval]:
        """Return the accuracy of the most probable classes, with its interval.

        It tells how training went also where costs choose other answers.
        """
        right = decide(None, self.test.probabilities) == self.test.labels
        return float(right.mean()), wilson_interval(int(right.sum()), len(right))

    @cached_property
    def costs(self) -> CostMetrics | None:
        """Return what mistakes cost on the test pictures; None for a model without costs."""
        return measure_costs(self.test)

    @property
    def threshold(self) -> float:
        """Return the out-of-distribution score above which a picture is unknown."""
        return self.bundle.unknown.threshold if self.bundle.unknown else math.inf

    @property
    def refused(self) -> float:
        """Return the share of the test pictures that were called unknown."""
        return float(self.test.unknown.mean())

    @property
    def answered_accuracy(self) -> float:
        """Return the accuracy on test pictures that are not unknown, or NaN."""
        answered = ~self.test.unknown
        return float(self.test.right[answered].mean()) if answered.any() else math.nan

    @property
    def pairs(self) -> list[Pair]:
        """Return the classes that are taken for each other, the most often first."""
        return confused_pairs(self.test.metrics)

    @cached_property
    def gains(self) -> list[Gain]:
        """Return what more training pictures would bring to each class, the most first."""
        counts = {label: row.n for label, row in self.test.metrics.per_class.items()}
        return gains(self.curve, self.bundle.classes, counts)

    @cached_property
    def needed_in_all(self) -> Needed | None:
        """Return how many more training pictures are worth a point of accuracy."""
        tests = np.array([self.test.metrics.per_class[label].n for label in self.bundle.classes])
        return needed_in_all(self.curve, tests)

    def to_json(self) -> dict[str, Any]:
        """Return what `test` does not have, as plain dicts and lists."""
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
            "strangers": [{"kind": o.kind, "n": o.n, "told": o.unknown, "auroc": o.auroc} for o in self.ood],
            "shortcuts": vars(self.shortcuts),
            "criteria": [vars(check) for check in self.checks],
            "mistakes": [mistake.to_json() for mistake in self.mistakes],
        }
