"""The contents of a `.whatsit` file.

It is a zip; nothing in it is ever run but a checked ONNX graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whatsit.bundle.costs import Costs

FORMAT = 1
COSTS_FORMAT = 2  # with costs: a whatsit that does not know them must not answer otherwise
MANIFEST = "bundle.json"
GRAPH = "model.onnx"
CARD = "card.md"
REFERENCE_PREDICTIONS = "golden/answers.json"
MAX_BUNDLE = 2 * 1024**3  # bytes, packed and unpacked
REFERENCE_COUNT = 16
MAX_MEMBERS = 128
IMPORT = "import"  # the recipe of a model that was made elsewhere
# Bytes of a member, unpacked. The texts hold some numbers for each class, of which there may be thousands.
MAX_TEXT = 16 * 1024**2
MAX_GOLDEN = 4 * 1024**2


@dataclass(frozen=True)
class InputSpec:
    """The image that a graph takes: uint8 RGB, resized by a rule of `decode.py`."""

    height: int
    width: int
    resize: str


@dataclass(frozen=True)
class UnknownRule:
    """The rule for unknown images: their `ood_score` is above the threshold."""

    method: str  # of the score
    threshold: float
    accepts: float  # the chance, 0 to 1, that a new image of the classes is accepted

    def refuses(self, score: float) -> bool:
        """Return whether an image with this score is unknown, as one without a number is."""
        return not score <= self.threshold


@dataclass(frozen=True)
class Conformal:
    """The scores that make prediction sets of a promised coverage.

    Split conformal prediction with the score 1 - probability of the true class (Sadinle, Lei & Wasserman 2019). The
    scores are of the validation images, which also chose the epoch and the temperature: with few of them the promise
    holds about, not exactly; the coverage on the test images is in the report.
    """

    scores: tuple[float, ...]  # ascending

    def smallest(self, coverage: float) -> float:
        """Return the least probability of a class in a set of this coverage, 0 to 1.

        It is 0, so that every class is in the set, where there are too few scores to promise that much.
        """
        place = math.ceil((len(self.scores) + 1) * coverage)
        return 1.0 - self.scores[place - 1] if place <= len(self.scores) else 0.0


@dataclass(frozen=True)
class Reference:
    """An image with its prediction, to prove that another machine gives the same."""

    file: str  # its member name, below golden/
    data: bytes  # the image's file
    label: str  # its true class
    probabilities: tuple[float, ...]  # by the reference runtime, in the order of the classes
    ood_score: float | None = None


@dataclass(frozen=True)
class Bundle:
    """The contents of a `.whatsit` file, checked."""

    classes: tuple[str, ...]
    input: InputSpec
    graph: bytes  # ONNX: `image` uint8 [N, H, W, 3] -> `probabilities` float32 [N, K], and more (models/classifier.py)
    temperature: float = 1.0  # already inside the graph
    unknown: UnknownRule | None = None  # where the graph has an out-of-distribution score
    conformal: Conformal | None = None
    costs: Costs | None = None  # of mistakes; None: the most probable class is answered
    test: Mapping[str, Any] | None = None  # metrics on the test set, with confidence intervals
    provenance: Mapping[str, Any] = field(default_factory=dict)  # data fingerprint, recipe, seed, versions
    references: tuple[Reference, ...] = ()
    card: str = ""
