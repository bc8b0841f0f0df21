"""The result of cross-validation: every image is tested once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whatsit.evaluation.metrics import Interval, wilson_interval


@dataclass(frozen=True)
class CrossValidation:
    """The predictions of all folds; no model had seen an image it was tested on."""

    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]  # [true][predicted]
    folds: int

    @property
    def n(self) -> int:
        """The number of tested images."""
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        """The number of right predictions."""
        return sum(row[place] for place, row in enumerate(self.confusion))

    @property
    def accuracy(self) -> float:
        """The share of right predictions."""
        return self.right / self.n

    @property
    def accuracy_ci95(self) -> Interval:
        """The interval by Wilson (1927), as if all were tested by one model."""
        return wilson_interval(self.right, self.n)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        about = {"folds": self.folds, "accuracy": self.accuracy, "accuracy_ci95": list(self.accuracy_ci95), "n": self.n}
        return {
            **about,
            "recall": self.recall(),
            "classes": list(self.classes),
            "confusion": [*map(list, self.confusion)],
        }

    def recall(self) -> dict[str, float]:
        """Return, for each class, the share of its images that was predicted as it."""
        rows = zip(self.classes, self.confusion, strict=True)
        return {label: row[place] / sum(row) for place, (label, row) in enumerate(rows) if sum(row)}
