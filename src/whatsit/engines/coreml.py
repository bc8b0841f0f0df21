"""Compute what a Core ML program says, on a system that has no Core ML.

The saved package is read back as it is, and its program is run operator by operator as an ONNX graph. So what was written is
tested: the operators, weights and labels, not Core ML itself, which runs on Apple's systems only.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whatsit.engines.base import Images, Probabilities
from whatsit.engines.onnxruntime import ONNXRuntimeEngine
from whatsit.process import silent_descriptor

Array = npt.NDArray[Any]
_WEIGHTS = "@model_path/weights/weight.bin"
_PLACE = Path("Data") / "com.apple.CoreML" / "weights" / "weight.bin"
_SENTINEL = 0xDEADBEEF  # before each blob of weights: this, the kind of its numbers, its size and where it begins
_KINDS = {1: np.float16, 2: np.float32, 14: np.int32}


class CoreMLProgram:
    """The program of a classifier in an `.mlpackage`."""

    def __init__(self, path: Path) -> None:
        """Read a package. Raises `ValueError` for what whatsit does not write."""
        with silent_descriptor(2):  # it prints what it has not been tested with
            import coremltools

            spec = coremltools.utils.load_spec(str(path))
        main = spec.mlProgram.functions["main"]
        [source] = main.inputs
        self._blob = (path / _PLACE).read_bytes()
        self.labels: tuple[str, ...] = ()
        graph = _Graph(source.name, [int(side.constant.size) for side in source.type.tensorType.dimensions])
        for operation in main.block_specializations[main.opset].operations:
            inputs = {
                name: [
                    graph.constants.get(one.name, one.name) if one.name else self._value(one.value)
                    for one in bound.arguments
                ]
                for name, bound in operation.inputs.items()
            }
            names = [output.name for output in operation.outputs]
            if operation.type == "const":
                graph.constants[names[0]] = self._value(operation.attributes["val"])
            elif operation.type == "classify":
                [probabilities], [labels] = inputs["probabilities"], inputs["classes"]
                self.labels = tuple(labels)
                self._engine = ONNXRuntimeEngine(graph.to_model(probabilities, len(labels)), ("out",), None)
            else:
                graph.add(operation.type, inputs, names)
        if not self.labels:
            raise ValueError("its program is no classifier")

    def run(self, images: Images) -> Probabilities:
        """Return the probabilities `[N, K]` of images uint8 `[N, H, W, 3]`."""
        first = [np.ascontiguousarray(image.transpose(2, 0, 1)[None].astype(np.float32)) for image in images]
        return np.concatenate([self._engine.run(image)[0] for image in first])

    def _value(self, value: Any) -> Any:
        """Return a constant: an array, or a list of texts."""
        shape = [int(side.constant.size) for side in value.type.tensorType.dimensions]
        if value.HasField("blobFileValue"):
            if value.blobFileValue.fileName != _WEIGHTS:
                raise ValueError("its weights are in a file of another name")
            return self._weights(int(value.blobFileValue.offset), shape)
        if value.type.HasField("listType"):
            return [self._value(one) for one in value.immediateValue.list.values]
        tensor = value.immediateValue.tensor
        kind = tensor.WhichOneof("value")
        numbers = list(getattr(tensor, kind).values)
        if kind == "strings":
            return numbers[0]
        dtype = {"floats": np.float32, "ints": np.int64, "bools": np.bool_}[kind]
        return np.array(numbers, dtype).reshape(shape)

    def _weights(self, place: int, shape: list[int]) -> Array:
        sentinel, kind, size, start = struct.unpack_from("<IIQQ", self._blob, place)
        dtype = np.dtype(_KINDS.get(kind, np.void))
        if sentinel != _SENTINEL or size != dtype.itemsize * math.prod(shape):
            raise ValueError("its weights are damaged")
        return np.frombuffer(self._blob, dtype, math.prod(shape), start).reshape(shape)


class _Graph:
    """The program as an ONNX graph."""

    def __init__(self, source: str, shape: list[int]) -> None:
        self.constants: dict[str, Any] = {}
        self._source, self._shape = source, shape
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def add(self, kind: str, inputs: Mapping[str, list[Any]], outputs: list[str]) -> None:
        """Append an operator of MIL. Raises `ValueError` for one that is not known."""
        if kind not in _OPERATORS:
            raise ValueError(f"its program has the operator {kind}")
        _OPERATORS[kind](self, {name: one[0] if len(one) == 1 else one for name, one in inputs.items()}, outputs)

    def op(self, kind: str, inputs: list[Any], outputs: list[str], **attributes: Any) -> None:
        """Append an operator of ONNX; inputs are names, or arrays that become constants."""
        from onnx import helper, numpy_helper

        names = []
        for value in inputs:
            if isinstance(value, np.ndarray):
                self._weights.append(numpy_helper.from_array(value, f"constant {len(self._weights)}"))
                value = self._weights[-1].name
            names.append(value)
        self._nodes.append(helper.make_node(kind, names, outputs, **attributes))

    def to_model(self, result: str, classes: int) -> bytes:
        """Return the serialized graph."""
        from onnx import TensorProto, helper

        self.op("Identity", [result], ["out"])
        source = helper.make_tensor_value_info(self._source, TensorProto.FLOAT, self._shape)
        out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, classes])
        graph = helper.make_graph(self._nodes, "program", [source], [out], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        content: bytes = model.SerializeToString()
        return content


Operator = Callable[[_Graph, dict[str, Any], list[str]], None]


def _simple(kind: str, *names: str) -> Operator:
    return lambda graph, given, out: graph.op(kind, [given[name] for name in names], out)


def _pads(given: dict[str, Any]) -> list[int]:
    """Return the padding of height and width as ONNX has it."""
    if given["pad_type"] != "custom":
        raise ValueError(f"its program has the padding {given['pad_type']}")
    top, bottom, left, right = given["pad"].tolist()
    return [top, left, bottom, right]


def _convolution(graph: _Graph, given: dict[str, Any], out: list[str]) -> None:
    numbers = {"strides": given["strides"].tolist(), "dilations": given["dilations"].tolist()}
    inputs = [given[name] for name in ("x", "weight", "bias") if name in given]
    graph.op("Conv", inputs, out, pads=_pads(given), group=int(given["groups"]), **numbers)


def _max_pooling(graph: _Graph, given: dict[str, Any], out: list[str]) -> None:
    numbers = {"strides": given["strides"].tolist(), "kernel_shape": given["kernel_sizes"].tolist()}
    graph.op("MaxPool", [given["x"]], out, pads=_pads(given), **numbers)


def _clip(graph: _Graph, given: dict[str, Any], out: list[str]) -> None:
    graph.op("Clip", [given["x"], given["alpha"], given["beta"]], out)


def _reduce(kind: str) -> Operator:
    def add(graph: _Graph, given: dict[str, Any], out: list[str]) -> None:
        graph.op(kind, [given["x"], given["axes"].astype(np.int64)], out, keepdims=int(given["keep_dims"]))

    return add


def _linear(graph: _Graph, given: dict[str, Any], out: list[str]) -> None:
    graph.op("Gemm", [given["x"], given["weight"], given["bias"]], out, transB=1)


def _matmul(graph: _Graph, given: dict[str, Any], out: list[str]) -> None:
    if given.get("transpose_x") or given.get("transpose_y"):
        raise ValueError("its program has a product of turned matrices")
    graph.op("MatMul", [given["x"], given["y"]], out)


def _pad(graph: _Graph, given: dict[str, Any], out: list[str]) -> None:
    pairs = given["pad"].reshape(-1, 2)
    graph.op("Pad", [given["x"], pairs.T.reshape(-1).astype(np.int64), given["constant_val"]], out)


def _silu(graph: _Graph, given: dict[str, Any], out: list[str]) -> None:
    graph.op("Sigmoid", [given["x"]], [f"{out[0]} sigmoid"])
    graph.op("Mul", [given["x"], f"{out[0]} sigmoid"], out)


_OPERATORS: dict[str, Operator] = {
    "add": _simple("Add", "x", "y"),
    "clip": _clip,
    "concat": lambda graph, given, out: graph.op("Concat", given["values"], out, axis=int(given["axis"])),
    "conv": _convolution,
    "gather": lambda graph, given, out: graph.op(
        "Gather", [given["x"], given["indices"]], out, axis=int(given["axis"])
    ),
    "identity": _simple("Identity", "x"),
    "linear": _linear,
    "matmul": _matmul,
    "max_pool": _max_pooling,
    "mul": _simple("Mul", "x", "y"),
    "pad": _pad,
    "reduce_max": _reduce("ReduceMax"),
    "reduce_mean": _reduce("ReduceMean"),
    "relu": _simple("Relu", "x"),
    "reshape": lambda graph, given, out: graph.op("Reshape", [given["x"], given["shape"].astype(np.int64)], out),
    "sigmoid": _simple("Sigmoid", "x"),
    "silu": _silu,
    "softmax": lambda graph, given, out: graph.op("Softmax", [given["x"]], out, axis=int(given["axis"])),
    "split": lambda graph, given, out: graph.op(
        "Split", [given["x"]], out, axis=int(given["axis"]), num_outputs=len(out)
    ),
    "transpose": lambda graph, given, out: graph.op("Transpose", [given["x"]], out, perm=given["perm"].tolist()),
}
