"""Test an exported file against the model that it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from whatsit.bundle.format import Bundle
from whatsit.engines import Images, open_engine
from whatsit.engines.exported import Probabilities, open_exported
from whatsit.errors import ModelError
from whatsit.evaluation.gate import LEAST_AGREEMENT, MOST_LOSS, Gate, answers_of, compare
from whatsit.evaluation.parity import TOLERANCE
from whatsit.events import Reporter
from whatsit.graph.formats import WEB
from whatsit.images.scan import Dataset

FEW = 100  # test images, of which one is a point
TOLERANCES = {"int16": 1e-3, "float16": 0.01}  # of a probability, where weights are stored in 16 bits


def largest_difference(path: Path, pixels: Images, expected: npt.NDArray[np.float64]) -> float:
    """Return the largest difference of the file's probabilities `[N, K]`."""
    probabilities = open_exported(path)(pixels).astype(np.float64)
    return float(np.abs(probabilities - expected).max()) if probabilities.shape == expected.shape else 1.0


def require_same(name: str, difference: float, precision: str = "float32") -> None:
    """Raise `ModelError` where an exported file gives other probabilities."""
    allowed = TOLERANCES.get(precision, TOLERANCE)
    if not difference <= allowed:
        hint = "; try --precision float32" if precision in TOLERANCES else ""
        raise ModelError(
            f"{name}: the exported file gives the reference pictures of the model probabilities up to {difference:.2g} "
            f"away from the model, where {allowed:g} is allowed; it was thrown away{hint}"
        )


def gate_of(bundle: Bundle, path: Path, dataset: Dataset, name: str, reporter: Reporter) -> Gate:
    """Compare an int8 file with the graph of the bundle on the test images."""
    engine, images = open_engine(bundle.graph, ["probabilities"]), dataset.of("test")

    def by_float(pixels: Images) -> Probabilities:
        probabilities: Probabilities = engine.run(pixels)[0]
        return probabilities

    models = {"int8": open_exported(path), "float": by_float}
    labels, found = answers_of(models, dataset, images, bundle.input, reporter.stage(f"Testing {name}"))
    if len(labels) < len(images):
        reporter.warn(f"{len(images) - len(labels):,} test pictures cannot be read and were left out")
    if len(labels) < FEW:
        reporter.warn(
            f"the exported file was checked on only {len(labels)} test pictures, too few to tell a loss of one point"
        )
    return compare(labels, found["int8"], found["float"], bundle.costs)


def why_rejected(gate: Gate, name: str) -> str:
    """Return the gate's reason, and what to try instead of the format of that name."""
    other = (
        "--precision float32" if name == WEB else "the other int8 format (tflite-int8, openvino-int8), the float one"
    )
    return (
        f"it is right for {gate.accuracy:.2%} of {gate.n:,} test pictures (the float model: {gate.float_accuracy:.2%}; at most "
        f"{100 * MOST_LOSS:g} point may be lost) and agrees on {gate.agreement:.2%} (at least {LEAST_AGREEMENT:.0%} wanted); try "
        f"{other}, or training efficientnet-lite0 where it is not that"
    )
