"""A classifier from an ONNX file: what it gives, and what its last layer sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.arrays import Array
from whatsit.errors import ModelError
from whatsit.graph.builder import FOREIGN, ORIGIN, Graph
from whatsit.graph.fold import Body
from whatsit.graph.lift import lift, require_same
from whatsit.graph.tail import Dense, FeatureMap, Tail
from whatsit.models.classifier import Ending
from whatsit.models.onnx_file import OnnxFile, add_body
from whatsit.models.onnx_network import add_flat, add_map
from whatsit.models.unknown import Mahalanobis

if TYPE_CHECKING:
    import onnx

LOGITS, PROBABILITIES = "logits", "probabilities"
SMALLEST = 1e-30  # probability whose logarithm is taken
_SUM = 1e-2  # by which the sum of probabilities may differ from one: of float16, and of labels by the thousand


@dataclass(frozen=True)
class OnnxClassifier:
    """A classifier that was made elsewhere, for any number of pictures."""

    file: OnnxFile
    body: Body
    output: str  # the value that the probabilities are made of
    meaning: str  # LOGITS or PROBABILITIES
    classes: int
    dense: Dense | None  # its last layer, where one is recognized
    map: FeatureMap | None  # whose mean that layer sees, where it does
    note: str  # what was found out about its output

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its pictures."""
        return self.file.size

    def scaled(self, scaling: str) -> OnnxClassifier:
        """Return the classifier for pixels that are scaled in another way."""
        about = self.file.about.changed({"scaling": scaling}, "scaling")
        return replace(self, file=replace(self.file, about=about))

    def to_onnx(self, known: Mahalanobis | None, about: Mapping[str, str], temperature: float = 1.0) -> onnx.ModelProto:
        """Return the graph of a bundle, as `classifier.to_onnx` has it.

        Without `known` it has no out-of-distribution score; `embedding` and the maps only where they were recognized.
        """
        graph = Graph()
        names = add_body(graph, self.body, self.file.add_pixels(graph, 1))
        values = {"logits": self._add_logits(graph, names[self.output])}
        if self.dense:
            width = len(self.dense.kernel)
            values["embedding"] = add_flat(graph, names[self.dense.value], width, self.body.types[self.dense.value])
        if self.map:
            values["feature_map"] = add_map(graph, self.map, names[self.map.value], self.body)
        graph.shared |= set(values.values())
        ending = Ending({"logits": _Layer(self._kernel())}, 1.0 / temperature, known)
        return ending.add_to(graph, values, values.get("embedding", ""), {**about, ORIGIN: FOREIGN})

    def _kernel(self) -> Array:
        """Return the last layer's weights `[F, K]`.

        Of one output for two classes the first has zeros.
        """
        if self.dense is None:
            return np.zeros((1, self.classes), np.float32)
        kernel = self.dense.kernel.astype(np.float32)
        return kernel if kernel.shape[1] == self.classes else np.concatenate([np.zeros_like(kernel), kernel], axis=1)

    def _add_logits(self, graph: Graph, value: str) -> str:
        count = math.prod(self.body.shapes[self.output])
        value = add_flat(graph, value, count, self.body.types[self.output])
        if self.meaning == LOGITS:
            if count == self.classes:
                return value
            zero = graph.op("Mul", [value, graph.constant("logits.zero", np.array(0.0))], (1,))
            return graph.op("Concat", [zero, value], (2,), axis=1)
        if count != self.classes:
            other = graph.op("Sub", [graph.constant("logits.one", np.array(1.0)), value], (1,))
            value = graph.op("Concat", [other, value], (2,), axis=1)
        least = graph.constant("logits.least", np.array(SMALLEST))
        return graph.op("Log", [graph.op("Max", [value, least], (self.classes,))], (self.classes,))


@dataclass(frozen=True)
class _Layer:
    """The last layer, as `Ending` asks for it."""

    kernel: Array

    def get_weights(self) -> list[Array]:
        """Return its kernel `[F, K]`."""
        return [self.kernel]


def open_classifier(file: OnnxFile, classes: int) -> OnnxClassifier:
    """Return the classifier in a file, for that number of classes.

    Raises `ModelError`.
    """
    folded = file.folded(file.size)
    output = _output(file, folded, classes)
    tail = Tail(folded)
    softmax, sigmoid = tail.softmax(output), tail.sigmoid(output)
    logits = softmax or sigmoid
    value = logits or output
    dense = tail.dense(value)
    where = tail.pooled(dense.value) if dense else None
    found = [value, *([dense.value] if dense else []), *([where.value] if where else [])]
    values = list(dict.fromkeys(found))
    try:
        body = lift(folded, values)
        require_same(file.model, body, values)
    except ModelError as error:
        raise ModelError(f"{file.path}: {error}") from None
    meaning = LOGITS if logits or not _are_probabilities(body, value, classes) else PROBABILITIES
    told = "the softmax" if softmax else "the sigmoid" if sigmoid else ""
    note = f"the logits before {told} at its end are used" if told else f"its output '{value}' gives {meaning}"
    if sigmoid and classes > 2:
        note += ", as if just one class could be right"
    return OnnxClassifier(file, body, value, meaning, classes, dense, where, note)


def _output(file: OnnxFile, body: Body, classes: int) -> str:
    """Return the output that has a number for each class. Raises `ModelError`."""
    names = file.about.output or body.outputs
    wanted = [classes, 1] if classes == 2 else [classes]
    for count in wanted:
        for name in names:
            shape = body.shapes.get(name, ())
            if name not in body.constants and math.prod(shape) == count == max(shape, default=0):
                return name
    found = ", ".join(f"'{name}' {body.shapes.get(name, ())}" for name in names[:5])
    raise ModelError(
        f"{file.path}: no output has a number for each of the {classes} labels; its outputs for one picture: {found}"
    )


def _are_probabilities(body: Body, value: str, classes: int) -> bool:
    """Return whether the rows of an output are probabilities, on noise.

    They are from 0 to 1 and have a sum of 1.
    """
    from onnx import helper

    from whatsit.engines.onnxruntime import evaluate

    shape = (4, *body.shapes[body.source][1:])
    dtype: Any = helper.tensor_dtype_to_np_dtype(body.types[body.source])
    pictures = np.random.default_rng(1).normal(0, 2, shape).astype(dtype)
    [found] = evaluate(body.to_model([value]).SerializeToString(), {body.source: pictures}, [value])
    rows = found.reshape(4, -1).astype(np.float64)
    inside = bool(rows.min() >= 0 and rows.max() <= 1)
    return inside and (rows.shape[1] < classes or bool(np.abs(rows.sum(axis=1) - 1).max() <= _SUM))
