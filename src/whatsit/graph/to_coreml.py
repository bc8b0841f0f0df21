"""Write a bundle's graph as a Core ML program, operator by operator.

Apple's converter wants PyTorch, or a TensorFlow that is years old; the graph has two dozen operators, each with a counterpart in
MIL, Core ML's own language (coremltools' `Builder`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whatsit.arrays import Array, Float32
from whatsit.errors import ModelError
from whatsit.graph.builder import PROBABILITIES
from whatsit.graph.tflite_file import Description


def write_coreml(graph: bytes, about: Description, path: Path) -> None:
    """Write an `.mlpackage`: a classifier of images with labels.

    It is for iOS 15, macOS 12 and later. The precision is float32, so that answers are the model's.

    Args:
        graph: an ONNX graph from `image` to `probabilities` alone.
        about: what the file says about the model.
        path: of the new package.

    Raises:
        ModelError: the graph holds an operator without a counterpart here.
    """
    import coremltools

    width, height = about.size
    pixels = coremltools.ImageType(
        name="image",
        shape=(1, 3, height, width),
        color_layout=coremltools.colorlayout.RGB,
        scale=1.0,
        bias=[0.0, 0.0, 0.0],
    )
    model = coremltools.convert(
        _program(graph, about.size),
        convert_to="mlprogram",
        inputs=[pixels],
        classifier_config=coremltools.ClassifierConfig(list(about.labels)),
        minimum_deployment_target=coremltools.target.iOS15,
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
    )
    model.short_description, model.author, model.license = about.text, about.author, about.license
    model.input_description["image"] = f"An RGB picture of {width} x {height} pixels"
    model.output_description["classLabel"] = "The most probable class"
    model.output_description["classLabel_probs"] = "The calibrated probability of each class"
    if about.costs is not None:
        model.output_description["classLabel"] = (
            "The most probable class. As mistakes have prices, the class to answer may be another: that of the least sum over "
            "truth of classLabel_probs[truth] * costs[truth][answer], with the costs in the metadata"
        )
        model.user_defined_metadata["costs"] = json.dumps([list(row) for row in about.costs])
    model.save(str(path))


def _program(graph: bytes, size: tuple[int, int]) -> Any:
    """Return the graph as a MIL program."""
    import coremltools
    import onnx
    from coremltools.converters.mil import Builder
    from onnx import numpy_helper

    proto = onnx.load_from_string(graph).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.initializer}
    width, height = size

    def program(image: Any) -> Any:
        # Core ML has images channels first, the graph takes them channels last.
        values = {proto.input[0].name: Builder.transpose(x=image, perm=[0, 2, 3, 1])}
        for node in proto.node:
            values |= zip(node.output, _translate(Builder, node, values, constants), strict=True)
        return Builder.identity(x=values[PROBABILITIES], name=PROBABILITIES)

    pixels = Builder.TensorSpec(shape=(1, 3, height, width))
    return Builder.program(input_specs=[pixels], opset_version=coremltools.target.iOS15)(program)


@dataclass
class _Node:
    """An operator with what it needs."""

    make: Any  # MIL's builder
    kind: str
    inputs: list[Any]  # values of the program
    constants: list[Array]
    attributes: dict[str, Any]

    def pads(self) -> list[int]:
        """Return the padding as MIL has it: top, bottom, left, right."""
        top, left, bottom, right = self.attributes.get("pads", [0, 0, 0, 0])
        return [top, bottom, left, right]


def _translate(make: Any, node: Any, values: dict[str, Any], constants: dict[str, Array]) -> list[Any]:
    from onnx import helper

    if node.op_type not in _OPERATORS:
        raise ModelError(
            f"the model's graph has the operator {node.op_type}, which whatsit does not write as Core ML; export it as onnx"
        )
    own = _Node(
        make,
        node.op_type,
        [values[name] for name in node.input if name in values],
        [constants[name] for name in node.input if name in constants],
        {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
    )
    if strange := own.attributes.keys() - _ATTRIBUTES:
        raise ModelError(
            f"the operator {node.op_type} of the model's graph has '{min(strange)}', which whatsit does not write as Core ML; "
            f"export it as onnx"
        )
    result = _OPERATORS[node.op_type](own)
    return result if isinstance(result, list) else [result]


def _elementwise(kind: str) -> Callable[[_Node], Any]:
    def combine(node: _Node) -> Any:
        other = node.inputs[1] if len(node.inputs) == 2 else np.asarray(node.constants[0], np.float32)
        return getattr(node.make, kind)(x=node.inputs[0], y=other)

    return combine


def _plain(kind: str, **settings: Any) -> Callable[[_Node], Any]:
    return lambda node: getattr(node.make, kind)(x=node.inputs[0], **settings)


def _convolution(node: _Node) -> Any:
    kernel, *bias = node.constants
    return node.make.conv(
        x=node.inputs[0],
        weight=np.ascontiguousarray(kernel),
        bias=bias[0] if bias else np.zeros(len(kernel), np.float32),
        strides=node.attributes.get("strides", [1, 1]),
        pad_type="custom",
        pad=node.pads(),
        dilations=node.attributes.get("dilations", [1, 1]),
        groups=node.attributes.get("group", 1),
    )


def _max_pooling(node: _Node) -> Any:
    window = node.attributes["kernel_shape"]
    strides = node.attributes.get("strides", [1, 1])
    return node.make.max_pool(
        x=node.inputs[0], kernel_sizes=window, strides=strides, pad_type="custom", pad=node.pads()
    )


def _padding(node: _Node) -> Any:
    pads = [int(pad) for pad in node.constants[0]]
    pairs = [pad for axis in range(4) for pad in (pads[axis], pads[4 + axis])]
    return node.make.pad(x=node.inputs[0], pad=pairs, mode="constant", constant_val=np.float32(0.0))


def _upsampling(node: _Node) -> Any:
    """Enlarge by products with matrices.

    Their meaning does not depend on a version of Core ML.
    """
    wanted = {"mode": b"linear", "coordinate_transformation_mode": b"half_pixel"}
    if {name: node.attributes.get(name) for name in wanted} != wanted:
        raise ModelError(
            "the model's graph enlarges in a way that whatsit does not write as Core ML; export it as onnx"
        )
    height, width = (int(side) for side in node.inputs[0].shape[2:])
    down, across = (int(factor) for factor in node.constants[0][2:])
    rows = node.make.matmul(x=_bilinear(height, down), y=node.inputs[0])
    return node.make.matmul(x=rows, y=np.ascontiguousarray(_bilinear(width, across).T))


def _bilinear(have: int, factor: int) -> Float32:
    """Return the matrix `[factor * have, have]` of an interpolation.

    It is linear, between the centres of pixels.
    """
    places = np.clip((np.arange(factor * have) + 0.5) / factor - 0.5, 0, have - 1)
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(have))).astype(np.float32)


def _flatten(node: _Node) -> Any:
    return node.make.reshape(x=node.inputs[0], shape=[int(node.inputs[0].shape[0]), -1])


def _dense(node: _Node) -> Any:
    kernel, *bias = node.constants
    weight = kernel if node.attributes.get("transB") else np.ascontiguousarray(kernel.T)
    return node.make.linear(
        x=node.inputs[0], weight=weight, bias=bias[0] if bias else np.zeros(len(weight), np.float32)
    )


def _split(node: _Node) -> list[Any]:
    count = node.attributes["num_outputs"]
    return list(node.make.split(x=node.inputs[0], num_splits=count, axis=node.attributes["axis"]))


def _gather(node: _Node) -> Any:
    places = node.constants[0].astype(np.int32)
    return node.make.gather(x=node.inputs[0], indices=places, axis=node.attributes["axis"])


def _mirror(node: _Node) -> Any:
    """Mirror images as older bundles have it, without `Gather`."""
    starts, _, axes, steps = (int(constant[0]) for constant in node.constants)
    if (starts, axes, steps) != (-1, 2, -1):
        raise ModelError(
            "the model's graph cuts images in a way that whatsit does not write as Core ML; export it as onnx"
        )
    places = np.arange(int(node.inputs[0].shape[2]), dtype=np.int32)[::-1]
    return node.make.gather(x=node.inputs[0], indices=np.ascontiguousarray(places), axis=2)


def _clip(node: _Node) -> Any:
    low, high = (float(constant) for constant in node.constants)
    return node.make.clip(x=node.inputs[0], alpha=low, beta=high)


# Others change what an operator means.
_ATTRIBUTES = {
    "axis", "coordinate_transformation_mode", "dilations", "group", "kernel_shape", "mode", "num_outputs", "pads", "perm",
    "strides", "to", "transB",
}  # fmt: skip
_OPERATORS: dict[str, Callable[[_Node], Any]] = {
    "Add": _elementwise("add"),
    "Cast": lambda node: node.inputs[0],
    "Clip": _clip,
    "Concat": lambda node: node.make.concat(values=node.inputs, axis=node.attributes["axis"]),
    "Conv": _convolution,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _dense,
    "GlobalAveragePool": _plain("reduce_mean", axes=[2, 3], keep_dims=True),
    "GlobalMaxPool": _plain("reduce_max", axes=[2, 3], keep_dims=True),
    "Identity": lambda node: node.inputs[0],
    "MatMul": lambda node: node.make.matmul(x=node.inputs[0], y=np.asarray(node.constants[0], np.float32)),
    "MaxPool": _max_pooling,
    "Mul": _elementwise("mul"),
    "Pad": _padding,
    "Relu": _plain("relu"),
    "Resize": _upsampling,
    "Sigmoid": _plain("sigmoid"),
    "Slice": _mirror,
    "Softmax": _plain("softmax", axis=-1),
    "Split": _split,
    "Transpose": lambda node: node.make.transpose(x=node.inputs[0], perm=node.attributes["perm"]),
}
