"""What a `.whatsit` file holds. It is a zip; nothing in it is ever run but a checked ONNX graph."""

from __future__ import annotations

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


@dataclass(frozen=True)
class InputSpec:
    """The picture that the graph takes: uint8 RGB, resized by the named rule (see `images/decode.py`)."""

    height: int
    width: int
    resize: str


@dataclass(frozen=True)
class Golden:
    """A picture whose answer is known: the proof that another machine or runtime answers alike."""

    file: str  # its member name, below golden/
    data: bytes  # the picture's file
    label: str  # what it truly is
    probabilities: tuple[float, ...]  # by the reference runtime, in the order of the classes


@dataclass(frozen=True)
class Bundle:
    """The contents of a `.whatsit` file, checked."""

    classes: tuple[str, ...]
    input: InputSpec
    graph: bytes  # ONNX: `image` uint8 [N, H, W, 3] -> `probabilities` float32 [N, K], and more
    temperature: float = 1.0  # already inside the graph
    unknown: Mapping[str, Any] | None = None  # how to tell strangers, where the bundle can
    test: Mapping[str, Any] | None = None  # figures on the test set, with confidence intervals
    provenance: Mapping[str, Any] = field(default_factory=dict)  # data fingerprint, recipe, seed, versions
    golden: tuple[Golden, ...] = ()
    card: str = ""
