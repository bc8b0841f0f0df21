"""Compute everything of a foreign graph that does not depend on the picture.

Exporters write how long a row is into the graph: `Shape`, `Expand`, `Range` and their kin, which make arrays of any size. For
pictures of a known size all of it is known beforehand, so it is computed once, within bounds, and only arithmetic on the
picture is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.arrays import Array
from whatsit.errors import ModelError
from whatsit.graph.check import OPERATORS

if TYPE_CHECKING:
    import onnx

MAX_VALUES = 2**28  # numbers in a value, and in all that are computed beforehand
SMALL = 4096  # numbers in a constant that decides about the shape of another


@dataclass
class Body:
    """The operators of a network for one picture, in the order they run."""

    source: str  # the name of its input
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of every value, the batch of 1 included
    types: dict[str, int] = field(default_factory=dict)  # `TensorProto.DataType`
    outputs: tuple[str, ...] = ()
    computed: int = 0  # numbers in the constants that are not weights of the file

    def infer(self, node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, tuple[int, ...]]]:
        """Return type and shape of a node's outputs, for inputs of these shapes.

        Raises `ModelError` where they do not fit, or depend on the picture.
        """
        import onnx
        from onnx import helper, numpy_helper
        from onnx.shape_inference import infer_node_outputs

        schema = onnx.defs.get_schema(node.op_type, self.opset, "")
        given = {name: helper.make_tensor_type_proto(self.types[name], shapes[name]) for name in node.input if name}
        known = {
            name: numpy_helper.from_array(self.constants[name], name)
            for name in node.input
            if name in self.constants and self.constants[name].size <= SMALL
        }
        try:
            found = infer_node_outputs(schema, node, given, known, opset_imports=[helper.make_opsetid("", self.opset)])
        except Exception as error:  # `InferenceError`, and what protobuf raises
            reason = " ".join(str(error).split())[:160]
            raise ModelError(f"its operator {node.op_type} does not fit pictures of this size: {reason}") from None
        return {name: _type_and_shape(node, name, found) for name in node.output if name}

    def add(self, node: onnx.NodeProto, found: dict[str, tuple[int, tuple[int, ...]]]) -> None:
        """Append a node with the types and shapes of its outputs."""
        self.nodes.append(node)
        for name, (kind, shape) in found.items():
            self.types[name], self.shapes[name] = kind, shape

    def constant(self, name: str, value: Array) -> str:
        """Add a constant; return its name, which is `name` where that is free."""
        from onnx import helper

        self.computed += value.size
        if self.computed > MAX_VALUES:
            raise ModelError(f"its constants take more than {MAX_VALUES:,} numbers once they are computed")
        while name in self.shapes:
            name += "_"
        self.constants[name], self.shapes[name] = value, value.shape
        self.types[name] = helper.np_dtype_to_tensor_dtype(value.dtype)
        return name

    def needed(self, outputs: Sequence[str]) -> list[onnx.NodeProto]:
        """Return the nodes that these values need."""
        wanted, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                nodes.append(node)
                wanted |= set(node.input)
        return nodes[::-1]

    def to_model(self, outputs: Sequence[str], batch: int | str = "N") -> onnx.ModelProto:
        """Return a model from the input to these values."""
        from onnx import helper, numpy_helper

        nodes = self.needed(outputs)
        used = {name for node in nodes for name in node.input} | set(outputs)
        source = helper.make_tensor_value_info(
            self.source, self.types[self.source], [batch, *self.shapes[self.source][1:]]
        )
        ends = [helper.make_tensor_value_info(name, self.types[name], None) for name in outputs]
        weights = [numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used]
        graph = helper.make_graph(nodes, "network", [source], ends, weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        model.ir_version = helper.find_min_ir_version_for(model.opset_import)
        return model


def fold(model: onnx.ModelProto, shape: Sequence[int]) -> Body:
    """Return what a model computes of one picture; `shape` is that of its input.

    Raises `ModelError` where an array would be too large, its size depends on the picture, or an operator is left that a
    bundle may not have.
    """
    from onnx import numpy_helper

    graph = model.graph
    body = Body(image_input(model).name, next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")))
    for tensor in graph.initializer:
        body.constant(tensor.name, numpy_helper.to_array(tensor))
        body.computed = 0
    body.types[body.source] = image_input(model).type.tensor_type.elem_type
    body.shapes[body.source] = tuple(shape)
    for node in graph.node:
        _fold_node(body, node)
    body.outputs = tuple(value.name for value in graph.output)
    return body


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """Return the only input of a model.

    Raises `ModelError` where it has another number.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs[:5])
        raise ModelError(
            f"it has {len(inputs)} inputs ({names}), a network of pictures has one; export that part alone"
        )
    return inputs[0]


def _fold_node(body: Body, node: onnx.NodeProto) -> None:
    node = _bare(node)
    if node.op_type == "Shape":
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        sizes = body.shapes[node.input[0]][attributes.get("start", 0) : attributes.get("end")]
        body.constant(node.output[0], np.array(sizes, np.int64))
        return
    if node.op_type == "Size":
        body.constant(node.output[0], np.array(math.prod(body.shapes[node.input[0]]), np.int64))
        return
    found = body.infer(node, body.shapes)
    if all(name in body.constants for name in node.input if name):
        for name, value in zip([n for n in node.output if n], _evaluate(body, node), strict=True):
            body.constant(name, value)
        return
    node = _without_sizes(body, node, found)
    if node.op_type not in OPERATORS:
        raise ModelError(f"it uses the operator {node.op_type} on pictures, which whatsit does not run")
    body.add(node, found)


def _bare(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return a copy without names, comments and the paths that exporters leave there."""
    import onnx

    copy = onnx.NodeProto(op_type=node.op_type, input=node.input, output=node.output)
    copy.attribute.extend(node.attribute)
    for attribute in copy.attribute:
        attribute.doc_string = ""
    return copy


def _without_sizes(body: Body, node: onnx.NodeProto, found: dict[str, tuple[int, tuple[int, ...]]]) -> onnx.NodeProto:
    """Return an operator that says a size by one that follows from its input."""
    from onnx import TensorProto, helper

    if node.op_type == "Gather" and _gathers_all(body, node):
        target = body.constant(f"{node.output[0]}.shape", np.array(found[node.output[0]][1], np.int64))
        return helper.make_node("Reshape", [node.input[0], target], [node.output[0]])
    if node.op_type not in ("Expand", "Tile", "Dropout"):
        return node
    output, (kind, shape) = node.output[0], found[node.output[0]]
    if shape == body.shapes[node.input[0]]:
        return helper.make_node("Identity", [node.input[0]], [output])
    if node.op_type == "Expand" and kind in (TensorProto.FLOAT, TensorProto.FLOAT16):
        ones = body.constant(f"{output}.ones", np.ones(shape, helper.tensor_dtype_to_np_dtype(kind)))
        return helper.make_node("Mul", [node.input[0], ones], [output])
    return node


def _gathers_all(body: Body, node: onnx.NodeProto) -> bool:
    """Return whether every number of a row is taken in its order.

    Some exporters reshape in this way.
    """
    places = body.constants.get(node.input[1])
    size = body.shapes[node.input[0]]
    return places is not None and len(size) == 1 and np.array_equal(places.reshape(-1), np.arange(size[0]))


def _type_and_shape(node: onnx.NodeProto, name: str, found: dict[str, Any]) -> tuple[int, tuple[int, ...]]:
    tensor = found[name].tensor_type if name in found else None
    if (
        tensor is None
        or not tensor.HasField("shape")
        or any(not size.HasField("dim_value") for size in tensor.shape.dim)
    ):
        raise ModelError(f"its operator {node.op_type} gives arrays whose size depends on the picture")
    shape = tuple(int(size.dim_value) for size in tensor.shape.dim)
    if math.prod(shape) > MAX_VALUES:
        raise ModelError(
            f"its operator {node.op_type} gives an array {shape}; at most {MAX_VALUES:,} numbers are computed"
        )
    return int(tensor.elem_type), shape


def _evaluate(body: Body, node: onnx.NodeProto) -> list[Array]:
    """Return the outputs of a node that takes constants only."""
    from onnx import numpy_helper

    from whatsit.engines.onnxruntime import evaluate

    if node.op_type == "Constant" and node.attribute[0].name == "value":
        return [numpy_helper.to_array(node.attribute[0].t)]
    from onnx import helper

    used = [name for name in dict.fromkeys(node.input) if name]
    inputs = [helper.make_tensor_value_info(name, body.types[name], body.shapes[name]) for name in used]
    names = [name for name in node.output if name]
    outputs = [helper.make_empty_tensor_value_info(name) for name in names]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", body.opset)])
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    return evaluate(model.SerializeToString(), {name: body.constants[name] for name in used}, names)
