"""Recognize how a network ends: a pooled map, a last dense layer, a softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.arrays import Array
from whatsit.graph.fold import Body

if TYPE_CHECKING:
    import onnx

NCHW, NHWC = "nchw", "nhwc"
_RESHAPES = frozenset(["Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"])


@dataclass(frozen=True)
class Dense:
    """The last dense layer: `value @ kernel + bias`."""

    value: str
    kernel: Array  # [F, K]
    bias: Array  # [K]


@dataclass(frozen=True)
class FeatureMap:
    """A map whose mean over height and width a value is."""

    value: str
    layout: str  # NCHW or NHWC


class Tail:
    """The way back from a value of a network."""

    def __init__(self, body: Body) -> None:
        """Look at the operators of a network for one picture."""
        self._body = body
        self._makers: Mapping[str, onnx.NodeProto] = {name: node for node in body.nodes for name in node.output if name}

    def softmax(self, value: str) -> str | None:
        """Return the logits where a value `[1, K]` is their softmax."""
        node = self._maker(value)
        if node is None or node.op_type != "Softmax":
            return None
        shape = self._body.shapes[node.input[0]]
        axis = _attributes(node).get("axis", -1) % len(shape)
        return node.input[0] if shape[axis] == math.prod(shape) else None

    def sigmoid(self, value: str) -> str | None:
        """Return the logits where a value is their sigmoid."""
        node = self._maker(value)
        return node.input[0] if node is not None and node.op_type == "Sigmoid" else None

    def dense(self, value: str) -> Dense | None:
        """Return the dense layer that computes a value `[1, K]`, or a multiple of it."""
        node, factor = self._unscaled(self._maker(value))
        biases: list[Array | None] = []
        if node is not None and node.op_type == "Add":
            biases = [self._body.constants[name] for name in node.input if name in self._body.constants]
            others = [name for name in node.input if name not in self._body.constants]
            node = self._maker(others[0]) if len(biases) == len(others) == 1 else None
        kernel = None if node is None else self._kernel(node)
        if node is None or kernel is None:
            return None
        biases += [self._body.constants.get(name) for name in node.input[2:] if name]
        count = math.prod(self._body.shapes[value])
        if len(biases) > 1 or any(bias is None for bias in biases):
            return None
        if kernel.shape != (math.prod(self._body.shapes[node.input[0]]), count):
            return None
        flat = np.broadcast_to(np.asarray(biases[0]).reshape(-1) if biases else np.zeros(1), (count,))
        return Dense(node.input[0], factor * np.asarray(kernel), factor * np.array(flat))

    def _unscaled(self, node: onnx.NodeProto | None) -> tuple[onnx.NodeProto | None, float]:
        """Return the operator before a scaling, such as a temperature, and the factor."""
        factor = 1.0
        while node is not None and node.op_type in ("Mul", "Div"):
            numbers = [self._body.constants[name] for name in node.input if name in self._body.constants]
            others = [name for name in node.input if name not in self._body.constants]
            if len(others) != 1 or numbers[0].size != 1 or (node.op_type == "Div" and others[0] != node.input[0]):
                break
            number = float(numbers[0].reshape(-1)[0])
            factor *= number if node.op_type == "Mul" else 1.0 / number
            node = self._maker(others[0])
        return node, factor

    def _kernel(self, node: onnx.NodeProto) -> Array | None:
        """Return what an operator multiplies a row `[1, F]` by, `[F, K]`."""
        kernel = self._body.constants.get(node.input[1]) if len(node.input) > 1 else None
        if kernel is None:
            return None
        attributes = _attributes(node)
        if node.op_type == "Conv" and kernel.shape[2:] == (1, 1) and attributes.get("group", 1) == 1:
            return kernel[:, :, 0, 0].T if math.prod(self._body.shapes[node.input[0]][2:]) == 1 else None
        if node.op_type == "Gemm" and not attributes.get("transA"):
            plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0
            return (kernel.T if attributes.get("transB") else kernel) if plain else None
        return kernel if node.op_type == "MatMul" and kernel.ndim == 2 else None

    def pooled(self, value: str) -> FeatureMap | None:
        """Return the map whose mean a value `[1, C]` is."""
        node = self._maker(value)
        if node is None or len(self._body.shapes[node.input[0]]) != 4:
            return None
        source = node.input[0]
        shape = self._body.shapes[source]
        if node.op_type == "GlobalAveragePool":
            return FeatureMap(source, NCHW)
        if node.op_type == "AveragePool":
            whole = tuple(_attributes(node).get("kernel_shape", ())) == shape[2:]
            return (
                FeatureMap(source, NCHW) if whole and math.prod(self._body.shapes[node.output[0]]) == shape[1] else None
            )
        if node.op_type != "ReduceMean":
            return None
        axes = self._body.constants.get(node.input[1]) if len(node.input) > 1 else None
        over = None if axes is None else {int(axis) % 4 for axis in np.asarray(axes).reshape(-1)}
        return FeatureMap(source, NCHW) if over == {2, 3} else FeatureMap(source, NHWC) if over == {1, 2} else None

    def _maker(self, value: str) -> onnx.NodeProto | None:
        """Return the operator that made a value, behind those that only reshape it."""
        node = self._makers.get(value)
        while node is not None and node.op_type in _RESHAPES:
            shape = self._body.shapes[node.input[0]]
            if node.op_type not in ("Identity", "Cast") and math.prod(shape) != max(shape, default=1):
                return node
            node = self._makers.get(node.input[0])
        return node


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
