"""Store the weights of a graph in fewer bits; it still computes in float32.

A weight becomes a constant of 16 or 8 bits and the operators that make it float32 again. Runtimes compute those once, when they
open the graph (ONNX Runtime folds constants), so a smaller file is no slower, and only the rounding of weights changes answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from whatsit.arrays import Array
from whatsit.graph.builder import PROBABILITIES
from whatsit.graph.check import output_names
from whatsit.graph.extract import extract

if TYPE_CHECKING:
    import onnx

PRECISIONS = ("float32", "int16", "float16", "int8")
FEWEST = 1024  # numbers of a weight that is worth it; smaller ones are biases, scales and means
# From this size int8; smaller weights hold little, and to round those of depthwise convolutions doubles the error.
FEWEST_INT8 = 1 << 16
SCORE = "ood_score"
_LARGEST = float(np.finfo(np.float16).max)


def store_weights(model: onnx.ModelProto, precision: str) -> None:
    """Store the large float32 weights of a graph in fewer bits, in place.

    `precision` is one of `PRECISIONS`. Whole numbers have a scale for each output channel of their operator: of a convolution the
    first axis, of a product the one that is not summed. So int16 rounds to a 65,000th of the channel's largest weight, and
    changes probabilities a twentieth as much as float16, which is as large and keeps 11 bits of each. In int8 only the largest
    weights are stored, the others in int16. Weights that float16 cannot hold stay float32.
    """
    from onnx import TensorProto, helper, numpy_helper

    if precision == "float32":
        return
    kept, nodes = [], []
    axes, exact = _channel_axes(model), _of_score_alone(model)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor) if tensor.data_type == TensorProto.FLOAT else None
        if values is None or values.ndim < 2 or values.size < FEWEST or not np.abs(values).max() < _LARGEST:
            kept.append(tensor)
        elif precision != "float16":
            is_large = values.size >= FEWEST_INT8 and tensor.name not in exact
            kind = np.int8 if precision == "int8" and is_large else np.int16
            steps, scale = _rounded(values, axes.get(tensor.name, 0), kind)
            names = [f"{tensor.name}.{steps.dtype}", f"{tensor.name}.steps", f"{tensor.name}.scale"]
            kept += [numpy_helper.from_array(steps, names[0]), numpy_helper.from_array(scale, names[2])]
            nodes.append(helper.make_node("Cast", [names[0]], [names[1]], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", names[1:], [tensor.name]))
        else:
            name = f"{tensor.name}.float16"
            kept.append(numpy_helper.from_array(values.astype(np.float16), name))
            nodes.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
    nodes += model.graph.node
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def _of_score_alone(model: onnx.ModelProto) -> set[str]:
    """Return the weights that only the out-of-distribution score needs.

    It decides by a threshold, so they are never int8.
    """
    graph = model.SerializeToString()
    if SCORE not in output_names(graph):
        return set()
    score, answer = (
        {tensor.name for tensor in extract(graph, output).graph.initializer} for output in (SCORE, PROBABILITIES)
    )
    return score - answer


def _channel_axes(model: onnx.ModelProto) -> dict[str, int]:
    """Return the axis of the output channels of each weight of a product."""
    axes = {}
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Gemm") and len(node.input) > 1:
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            axes[node.input[1]] = 0 if transposed else -1
    return axes


def _rounded(values: Array, axis: int, kind: type[np.int8] | type[np.int16]) -> tuple[Array, Array]:
    """Round weights to whole numbers; return them and the scale that multiplies them."""
    most = np.iinfo(kind).max
    others = tuple(number for number in range(values.ndim) if number != axis % values.ndim)
    scale = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-12).astype(np.float32) / most
    return np.rint(values / scale).clip(-most, most).astype(kind), scale
