"""Change a graph so that less is lost where it is rounded to 8 bits.

What rounded weights add to the results of a layer has a mean that is not zero, which its bias makes up for (Nagel et al. 2019, on
training images instead of statistics of batch norms).

A head standardizes its features. One that is nearly always zero gets a huge scale, and so a weight a hundred times as large as
others, which are then all rounded to nothing, for a feature that says nothing. So what is around a dense layer is folded into it,
and its weights are clipped where that, with the features as training images have them, makes the error of its results smallest.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.arrays import Array, Images
from whatsit.engines.onnxruntime import ONNXRuntimeEngine

if TYPE_CHECKING:
    import onnx

STEPS = 127  # of a rounded weight, either way
CLIPS = tuple(0.8**number for number in range(32))  # shares of the largest weight that are tried, down to a thousandth
BATCH = 32


def for_int8(graph: bytes, pixels: Images) -> bytes:
    """Return a graph to quantize, whose probabilities are nearly the same.

    Args:
        graph: an ONNX graph from images uint8 `[N, H, W, 3]`.
        pixels: training images `[N, H, W, 3]`.
    """
    import onnx

    model = onnx.load_from_string(graph)
    while _fold_one(model.graph):
        pass
    for node in model.graph.node:
        if _is_plain(node):
            _clip(model, node, _values(model, node.input[0], pixels))
    _correct_biases(model, pixels)
    content: bytes = model.SerializeToString()
    return content


def _correct_biases(model: onnx.ModelProto, pixels: Images) -> None:
    """Take from the bias of each convolution what rounding its kernel adds on average."""
    import onnx
    from onnx import helper, numpy_helper

    constants = {tensor.name: np.asarray(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    convolutions = [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and len(node.input) == 3 and {*node.input[1:]} <= constants.keys()
    ]
    if not convolutions:
        return
    beside = onnx.ModelProto()
    beside.CopyFrom(model)
    del beside.graph.output[:]
    beside.graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 3]), "every axis but the channels"))
    for number, node in enumerate(convolutions):
        kernel = constants[node.input[1]]
        step = np.maximum(np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / STEPS, 1e-30)
        beside.graph.initializer.append(
            numpy_helper.from_array(step * np.rint(kernel / step) - kernel, f"lost {number}")
        )
        error = beside.graph.node.add()
        error.CopyFrom(node)
        del error.input[1:]
        error.input.append(f"lost {number}")
        error.output[0] = f"error {number}"
        inputs = [f"error {number}", "every axis but the channels"]
        beside.graph.node.append(helper.make_node("ReduceMean", inputs, [f"mean {number}"], keepdims=0))
        beside.graph.output.append(onnx.ValueInfoProto(name=f"mean {number}"))
    names = tuple(f"mean {number}" for number in range(len(convolutions)))
    for node, mean in zip(convolutions, _means(beside, names, pixels), strict=True):
        _set(model.graph, node, constants[node.input[1]], constants[node.input[2]] - mean)


def _means(model: onnx.ModelProto, names: tuple[str, ...], pixels: Images) -> list[Array]:
    """Return the mean over images of outputs that are means over a batch."""
    engine = ONNXRuntimeEngine(model.SerializeToString(), names, None)
    parts = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    sums = [np.zeros(())] * len(names)
    for part in parts:
        sums = [total + len(part) * mean for total, mean in zip(sums, engine.run(part), strict=True)]
    return [total / len(pixels) for total in sums]


def _values(model: onnx.ModelProto, name: str, pixels: Images) -> Array:
    """Return a value `[N, F]` for images."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.append(onnx.ValueInfoProto(name=name))
    engine = ONNXRuntimeEngine(copy.SerializeToString(), (name,), None)
    parts = [engine.run(pixels[start : start + BATCH])[0] for start in range(0, len(pixels), BATCH)]
    return np.concatenate(parts).astype(np.float64)


def _clip(model: onnx.ModelProto, dense: onnx.NodeProto, values: Array) -> None:
    """Clip the weights of a dense layer.

    Its bias makes up for the mean of what is lost.
    """
    from onnx import numpy_helper

    constants = {
        tensor.name: np.asarray(numpy_helper.to_array(tensor), np.float64) for tensor in model.graph.initializer
    }
    kernel, bias = (constants[name] for name in dense.input[1:])
    best, least = kernel, np.full(kernel.shape[1], np.inf)
    for share in CLIPS:
        limit = share * np.abs(kernel).max(axis=0)
        step = np.maximum(limit / STEPS, 1e-30)
        rounded = step * np.rint(np.clip(kernel, -limit, limit) / step)
        error = np.square((values - values.mean(axis=0)) @ (rounded - kernel)).mean(axis=0)
        better = error < least
        best, least = np.where(better, rounded, best), np.where(better, error, least)
    _set(model.graph, dense, best, bias + values.mean(axis=0) @ (kernel - best))


def _fold_one(graph: onnx.GraphProto) -> bool:
    """Fold the first operator that can be; return whether there was one."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)

    def array(name: str) -> Array:
        return np.asarray(numpy_helper.to_array(constants[name]), np.float64)

    for node in graph.node:
        if node.op_type not in ("Mul", "Add") or not _is_with_constant(node, constants):
            continue
        source, other = node.input
        dense = _alone(makers.get(source), source, uses)
        if dense is not None:  # dense, then this
            kernel, bias = (array(name) for name in dense.input[1:])
            scale, offset = (array(other), 0.0) if node.op_type == "Mul" else (1.0, array(other))
            _set(graph, dense, kernel * scale, bias * scale + offset)
            dense.output[0] = node.output[0]
        else:
            dense = next((one for one in graph.node if one.op_type == "Gemm" and one.input[0] == node.output[0]), None)
            if dense is None or uses[node.output[0]] > 1 or not _is_plain(dense):
                continue
            kernel, bias = (array(name) for name in dense.input[1:])
            value = np.broadcast_to(array(other).reshape(-1), (len(kernel),))
            if node.op_type == "Mul":
                _set(graph, dense, kernel * value[:, None], bias)
            else:
                _set(graph, dense, kernel, bias + value @ kernel)
            dense.input[0] = source
        graph.node.remove(node)
        return True
    return False


def _is_with_constant(node: onnx.NodeProto, constants: dict[str, Any]) -> bool:
    return node.input[0] not in constants and node.input[1] in constants


def _alone(node: onnx.NodeProto | None, output: str, uses: Counter[str]) -> onnx.NodeProto | None:
    """Return a dense layer whose result only one operator uses, else None."""
    return node if node is not None and _is_plain(node) and uses[output] == 1 else None


def _is_plain(node: onnx.NodeProto) -> bool:
    return node.op_type == "Gemm" and len(node.input) == 3 and not node.attribute


def _set(graph: onnx.GraphProto, dense: onnx.NodeProto, kernel: Array, bias: Array) -> None:
    """Give a dense layer weights of its own."""
    from onnx import numpy_helper

    for place, (part, values) in enumerate((("kernel", kernel), ("bias", bias)), 1):
        name = f"{dense.name or dense.output[0]}.folded.{part}.{len(graph.initializer)}"
        graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        dense.input[place] = name
