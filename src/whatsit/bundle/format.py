"""What a `.whatsit` file holds. It is a zip; nothing in it is ever run but a checked ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1
MANIFEST = "bundle.json"
GRAPH = "model.onnx"
CARD = "card.md"
GOLDEN_ANSWERS = "golden/answers.json"
MAX_BUNDLE = 2 * 1024**3  # bytes, packed and unpacked
GOLDEN_COUNT = 16
MAX_MEMBERS = 128
# Bytes of a member, unpacked. The texts hold some numbers for each class, of which there may be thousands.
MAX_TEXT = 16 * 1024**2
MAX_GOLDEN = 4 * 1024**2


@dataclass(frozen=True)
class InputSpec:
    """The picture that the graph takes: uint8 RGB, resized by the named rule (see `images/decode.py`)."""

    height: int
    width: int
    resize: str


@dataclass(frozen=True)
class UnknownRule:
    """A picture belongs to none of the classes where the graph's `ood_score` is above the threshold."""

    method: str  # of the score
    threshold: float
    accepts: float  # the chance, 0 to 1, that a new picture of the classes is let through

    def refuses(self, score: float) -> bool:
        """Whether a picture with this score is unknown; one whose score is not a number is."""
        return not score <= self.threshold


@dataclass(frozen=True)
class Conformal:
    """What prediction sets with a promised coverage are made by.

    Split conformal prediction with the score 1 - probability of the true class (Sadinle, Lei & Wasserman 2019). The
    scores are of the validation pictures, which also chose the epoch and the temperature: with few of them the promise
    holds about, not exactly; what became of it on the test pictures is in the report.
    """

    scores: tuple[float, ...]  # ascending

    def smallest(self, coverage: float) -> float:
        """The least probability of a class in a set that holds the true class with the given probability, 0 to 1.

        0, so that every class is in the set, where there are too few scores to promise that much.
        """
        place = math.ceil((len(self.scores) + 1) * coverage)
        return 1.0 - self.scores[place - 1] if place <= len(self.scores) else 0.0


@dataclass(frozen=True)
class Golden:
    """A picture whose answer is known: the proof that another machine or runtime answers alike."""

    file: str  # its member name, below golden/
    data: bytes  # the picture's file
    label: str  # what it truly is
    probabilities: tuple[float, ...]  # by the reference runtime, in the order of the classes
    ood_score: float | None = None


@dataclass(frozen=True)
class Bundle:
    """The contents of a `.whatsit` file, checked."""

    classes: tuple[str, ...]
    input: InputSpec
    graph: bytes  # ONNX: `image` uint8 [N, H, W, 3] -> `probabilities` float32 [N, K], and more (models/classifier.py)
    temperature: float = 1.0  # already inside the graph
    unknown: UnknownRule | None = None  # how to tell strangers, where the graph can
    conformal: Conformal | None = None
    test: Mapping[str, Any] | None = None  # figures on the test set, with confidence intervals
    provenance: Mapping[str, Any] = field(default_factory=dict)  # data fingerprint, recipe, seed, versions
    golden: tuple[Golden, ...] = ()
    card: str = ""
