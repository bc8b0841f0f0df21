"""The accuracy without the test pictures that resemble training or validation pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whatsit.evaluation.evaluate import Evaluation
from whatsit.evaluation.metrics import Interval, wilson_interval
from whatsit.evaluation.wording import percent
from whatsit.images.leakage import describe_leakage
from whatsit.images.scan import Leakage


@dataclass(frozen=True)
class LeakageFigures:
    """How many test pictures leak, and the accuracy on the others; all from answers that were given anyway."""

    near_duplicates: int
    exact_copies: int
    same_group: int
    tested: int  # pictures in all
    right: int  # answers on those that do not leak
    told: str  # what leaks, with an example; empty where nothing does

    @property
    def pictures(self) -> int:
        """Test pictures that leak."""
        return self.near_duplicates + self.exact_copies + self.same_group

    @property
    def n(self) -> int:
        """Test pictures that do not."""
        return self.tested - self.pictures

    @property
    def accuracy(self) -> float | None:
        """Of the answers on those; None where all leak."""
        return self.right / self.n if self.n else None

    @property
    def accuracy_ci95(self) -> Interval | None:
        """By Wilson (1927)."""
        return wilson_interval(self.right, self.n) if self.n else None

    @property
    def sentence(self) -> str:
        """What leaks and what is left without it, as a sentence without its full stop; empty where nothing leaks."""
        if not self.told:
            return ""
        if self.accuracy is None or self.accuracy_ci95 is None:
            return f"{self.told}; none is left to test without them"
        low, high = self.accuracy_ci95
        interval = f"95 % interval {percent(low)} to {percent(high)}, n {self.n:,}"
        return f"{self.told}; without them the accuracy is {percent(self.accuracy)} ({interval})"

    def to_json(self) -> dict[str, Any]:
        """As `metrics.json` has it."""
        return {
            "pictures": self.pictures,
            "share": self.pictures / self.tested,
            "near_duplicates": self.near_duplicates,
            "exact_copies": self.exact_copies,
            "same_group": self.same_group,
            "note": self.told,
            "without": {"accuracy": self.accuracy, "accuracy_ci95": self.accuracy_ci95, "n": self.n},
        }


def leakage_figures(test: Evaluation, leakage: Leakage) -> LeakageFigures:
    """Return what the answers on the test pictures say without those that leak."""
    given = test.probabilities.argmax(axis=1) == test.labels
    near, copies, grouped = (
        sum(picture.digest in kind for picture in test.pictures)
        for kind in (leakage.near, leakage.copies, leakage.grouped)
    )
    right = sum(bool(r) for r, picture in zip(given, test.pictures, strict=True) if picture not in leakage)
    return LeakageFigures(near, copies, grouped, len(test.pictures), right, describe_leakage(leakage, test.pictures))
