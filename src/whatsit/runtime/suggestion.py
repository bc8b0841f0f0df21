"""What to label next, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from whatsit.runtime.predictor import Prediction

SURE = 0.8  # margin of the two most probable classes from which a picture is not called unsure


@dataclass(frozen=True)
class Suggestion:
    """A picture that is worth a label."""

    image: str
    prediction: Prediction
    alike: tuple[str, ...] = ()  # near-duplicates, which surely have the same label

    @property
    def kind(self) -> str:
        """Return why it is suggested: `unknown`, `unsure`, or `varied`."""
        (_, first), (_, second) = (*self.prediction.top, ("", 0.0))[:2]
        return "unknown" if self.prediction.unknown else "unsure" if first - second < SURE else "varied"

    @property
    def why(self) -> str:
        """Return the reason in words."""
        others = [label for label, _ in self.prediction.others[:1]]
        unsure = f"unsure: {self.prediction.label} or {others[0]}" if others else "unsure"
        said = {"unknown": "unlike anything it has seen", "unsure": unsure, "varied": "fairly sure; for variety"}[
            self.kind
        ]
        return f"{said}; stands for {len(self.alike):,} look-alikes" if self.alike else said

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"image": self.image, **self.prediction.to_json(), "why": self.why, "alike": list(self.alike)}


@dataclass(frozen=True)
class Suggestions:
    """What to label next, in order."""

    pictures: list[Suggestion]
    images: int  # unlabelled pictures that were looked at
    labelled: int  # pictures that were left out, as they have a label
    errors: dict[str, str] = field(default_factory=dict)  # of files that cannot be read
