"""Rebuilds a Keras model from a bundle's graph: the way back from `to_onnx`, operator by operator.

So every export is made of the graph that was measured, not of the model that it came from, and whatever is a bundle (a
trained model, an ensemble) can be exported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.errors import ModelError
from whatsit.graph.builder import PROBABILITIES, Array
from whatsit.graph.extract import extract
from whatsit.graph.product import Product, picking

if TYPE_CHECKING:
    import keras

# A value of the graph as Keras tensors, channels last: one of each view of the pictures that runs along.
Value = tuple[Any, ...]
_LAYOUTS = ([0, 3, 1, 2], [0, 2, 3, 1])  # permutations between channels first and last, which are no change here


@dataclass
class _Node:
    """An operator with what it needs to become a layer."""

    kind: str
    name: str  # of the layer, unique
    inputs: list[Value]  # those that are computed
    constants: list[Array]  # those that are not
    attributes: dict[str, Any]

    def apply(self, layer: Any, *values: Value) -> Value:
        """One layer, shared by all views of the pictures."""
        return tuple(layer(*track) for track in zip(*(values or self.inputs), strict=True))

    def combine(self, layer: Any) -> Value:
        """One layer of several values."""
        return tuple(layer(list(track)) for track in zip(*self.inputs, strict=True))


def to_keras(graph: bytes, *, pixels: str = "uint8") -> keras.Model:
    """A Keras model from `image` `[N, H, W, 3]`, 0 to 255, to `probabilities` float32 `[N, K]`.

    It is made of standard layers only, which every format of Keras can keep.

    Args:
        graph: a serialized ONNX graph that `to_onnx` made. Batch norms are folded into convolutions in it already.
        pixels: the dtype of the input, `uint8` or `float32`.

    Raises:
        ModelError: the graph holds what `to_onnx` does not make.
    """
    import keras
    from onnx import numpy_helper

    proto = extract(graph, PROBABILITIES).graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.initializer}
    shape = [int(size.dim_value) for size in proto.input[0].type.tensor_type.shape.dim[1:]]
    image = keras.Input(shape, dtype=pixels, name=proto.input[0].name)
    values: dict[str, Value] = {proto.input[0].name: (image,)}
    for node in proto.node:
        values |= zip(node.output, _rebuild(node, values, weights), strict=True)
    return keras.Model(image, values[PROBABILITIES][0], name="whatsit")


def _rebuild(node: Any, values: dict[str, Value], weights: dict[str, Array]) -> list[Value]:
    from onnx import helper

    if node.op_type not in _OPERATORS:
        known = ", ".join(sorted(_OPERATORS))
        raise ModelError(
            f"the model's graph has the operator {node.op_type}, which cannot be exported; known are: {known}"
        )
    missing = [name for name in node.input if name and name not in values and name not in weights]
    if missing:
        raise ModelError(f"the model's graph is damaged: nothing gives '{missing[0]}'")
    own = _Node(
        node.op_type,
        node.output[0].replace("/", "_"),
        [values[name] for name in node.input if name in values],
        [weights[name] for name in node.input if name in weights],
        {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
    )
    result = _OPERATORS[node.op_type](own)
    return result if isinstance(result, list) else [result]


def _cast(node: _Node) -> Value:
    from keras import layers

    return node.apply(layers.Rescaling(1.0, name="pixels"))


def _same(node: _Node) -> Value:
    return node.inputs[0]


def _transpose(node: _Node) -> Value:
    from keras import layers

    order = list(node.attributes["perm"])
    if order in _LAYOUTS:
        return node.inputs[0]
    if order != [0, 1, 3, 2]:
        raise _strange(node, f"the order {order}")
    return node.apply(layers.Permute((2, 1, 3), name=node.name))


def _mirror(node: _Node) -> Value:
    """As graphs had it before they had `Gather`."""
    starts, _, axes, steps = (int(constant[0]) for constant in node.constants)
    if (starts, axes, steps) != (-1, 2, -1):
        raise _strange(node, f"start {starts}, axis {axes}, step {steps}")
    return _picked(node, 2, np.arange(int(node.inputs[0][0].shape[2]))[::-1])


def _gather(node: _Node) -> Value:
    axis = int(node.attributes["axis"])
    if axis not in (1, 2):
        raise _strange(node, f"axis {axis}")
    return _picked(node, axis, node.constants[0])


def _picked(node: _Node, axis: int, places: Array) -> Value:
    have = int(node.inputs[0][0].shape[axis])
    return node.apply(Product(picking(places, have), axis=axis, name=node.name))


def _matmul(node: _Node) -> Value:
    return node.apply(Product(node.constants[0], axis=2, name=node.name))


def _concatenate(node: _Node) -> Value:
    from keras import layers

    if node.attributes["axis"] == 0:
        return tuple(track for value in node.inputs for track in value)
    return node.combine(layers.Concatenate(name=node.name))


def _split(node: _Node) -> list[Value]:
    if node.attributes["axis"] != 0 or len(node.inputs[0]) != node.attributes["num_outputs"]:
        raise _strange(node, f"axis {node.attributes['axis']} of {len(node.inputs[0])}")
    return [(track,) for track in node.inputs[0]]


def _multiply(node: _Node) -> Value:
    from keras import layers

    if len(node.inputs) == 2:
        return node.combine(layers.Multiply(name=node.name))
    return node.apply(layers.Rescaling(_figures(node.constants[0]), name=node.name))


def _add(node: _Node) -> Value:
    from keras import layers

    if len(node.inputs) == 2:
        return node.combine(layers.Add(name=node.name))
    return node.apply(layers.Rescaling(1.0, _figures(node.constants[0]), name=node.name))


def _figures(constant: Array) -> Any:
    """One figure, or one a channel, as a layer's configuration keeps it."""
    return float(constant) if constant.ndim == 0 else [float(figure) for figure in constant.reshape(-1)]


def _convolution(node: _Node) -> Value:
    from keras import layers

    kernel, bias = node.constants
    window, strides = tuple(node.attributes["kernel_shape"]), tuple(node.attributes["strides"])
    value, padding = _padded(node, node.inputs[0], window, strides)
    about = {"strides": strides, "padding": padding, "name": node.name.removesuffix(".conv")}
    layer: Any
    if node.attributes["group"] == 1:
        layer, kernel = layers.Conv2D(len(kernel), window, **about), kernel.transpose(2, 3, 1, 0)
    else:
        layer, kernel = layers.DepthwiseConv2D(window, **about), kernel.transpose(2, 3, 0, 1)
    result = node.apply(layer, value)
    layer.set_weights([kernel, bias])
    return result


def _max_pooling(node: _Node) -> Value:
    from keras import layers

    window, strides = tuple(node.attributes["kernel_shape"]), tuple(node.attributes["strides"])
    value, padding = _padded(node, node.inputs[0], window, strides, may_pad=False)
    return node.apply(layers.MaxPooling2D(window, strides, padding, name=node.name), value)


def _padded(
    node: _Node, value: Value, window: tuple[int, ...], strides: tuple[int, ...], *, may_pad: bool = True
) -> tuple[Value, str]:
    """The value to work on, and Keras' name for the padding; a frame of zeros where Keras has no name for it."""
    from keras import layers

    top, left, bottom, right = (int(pad) for pad in node.attributes["pads"])
    if not (top or left or bottom or right):
        return value, "valid"
    totals = [
        max((-(-int(size) // stride) - 1) * stride + side - int(size), 0)
        for size, side, stride in zip(value[0].shape[1:3], window, strides, strict=True)
    ]
    if [top, left, bottom, right] == [totals[0] // 2, totals[1] // 2, -(-totals[0] // 2), -(-totals[1] // 2)]:
        return value, "same"
    if not may_pad:
        raise _strange(node, f"the padding {[top, left, bottom, right]}")
    frame = layers.ZeroPadding2D(((top, bottom), (left, right)), name=f"{node.name}_frame")
    return node.apply(frame, value), "valid"


def _zero_padding(node: _Node) -> Value:
    from keras import layers

    _, _, top, left, _, _, bottom, right = (int(pad) for pad in node.constants[0])
    return node.apply(layers.ZeroPadding2D(((top, bottom), (left, right)), name=node.name))


def _upsampling(node: _Node) -> Value:
    from keras import layers

    factors = tuple(int(factor) for factor in node.constants[0][2:])
    return node.apply(layers.UpSampling2D(factors, interpolation="bilinear", name=node.name))


def _relu(node: _Node) -> Value:
    from keras import layers

    return node.apply(layers.ReLU(name=node.name))


def _clip(node: _Node) -> Value:
    from keras import layers

    low, high = (float(constant) for constant in node.constants)
    if low != 0.0:
        raise _strange(node, f"the least value {low:g}")
    return node.apply(layers.ReLU(max_value=high, name=node.name))


def _sigmoid(node: _Node) -> Value:
    from keras import layers

    return node.apply(layers.Activation("sigmoid", name=node.name))


def _softmax(node: _Node) -> Value:
    from keras import layers

    return node.apply(layers.Softmax(name=node.name))


def _global_average(node: _Node) -> Value:
    from keras import layers

    return node.apply(layers.GlobalAveragePooling2D(name=node.name))


def _global_max(node: _Node) -> Value:
    from keras import layers

    return node.apply(layers.GlobalMaxPooling2D(name=node.name))


def _flatten(node: _Node) -> Value:
    from keras import layers

    if len(node.inputs[0][0].shape) == 2:  # behind a global pooling, which leaves no height and width here
        return node.inputs[0]
    return node.apply(layers.Flatten(name=node.name))


def _dense(node: _Node) -> Value:
    from keras import layers

    kernel, bias = node.constants
    layer = layers.Dense(kernel.shape[1], name=node.name)
    result = node.apply(layer)
    layer.set_weights([kernel, bias])
    return result


def _strange(node: _Node, what: str) -> ModelError:
    return ModelError(f"the operator {node.kind} '{node.name}' of the model's graph cannot be exported with {what}")


_OPERATORS: dict[str, Callable[[_Node], Value | list[Value]]] = {
    "Add": _add,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concatenate,
    "Conv": _convolution,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _dense,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_max,
    "Identity": _same,
    "MatMul": _matmul,
    "MaxPool": _max_pooling,
    "Mul": _multiply,
    "Pad": _zero_padding,
    "Relu": _relu,
    "Resize": _upsampling,
    "Sigmoid": _sigmoid,
    "Slice": _mirror,
    "Softmax": _softmax,
    "Split": _split,
    "Transpose": _transpose,
}
