"""Rebuild a Keras model from a bundle's graph: the way back from `from_keras`.

So every export is made of the graph that was measured, not of the model that it came from, and every bundle (a trained
model, an ensemble) can be exported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whatsit.arrays import Array
from whatsit.errors import ModelError
from whatsit.graph.builder import EXPECTED_COSTS, PROBABILITIES
from whatsit.graph.check import output_names
from whatsit.graph.extract import extract
from whatsit.graph.from_keras import same_padding

if TYPE_CHECKING:
    import keras

# A value of the graph as Keras tensors, channels last: one for each view of the image.
Value = tuple[Any, ...]
_LAYOUTS = ([0, 3, 1, 2], [0, 2, 3, 1])  # permutations between channels first and last, which are no change here


class Product:
    """A product of the rows or columns of channels-last images with a matrix.

    Rows `[H]` have a matrix `[H, V]`, columns `[W]` a matrix `[W, V]`. It is made of standard layers, which every format of
    Keras can keep.
    """

    def __init__(self, matrix: npt.NDArray[Any], *, axis: int, name: str) -> None:
        """Take the matrix; `axis` is 1 for the height, 2 for the width."""
        from keras import layers

        self._matrix = matrix
        self._product = layers.Dense(matrix.shape[1], use_bias=False, trainable=False, name=name)
        order = (3, 2, 1) if axis == 1 else (1, 3, 2)
        self._there, self._back = (layers.Permute(order, name=f"{name}_{end}") for end in ("there", "back"))

    def __call__(self, images: Any) -> Any:
        """Return the product with float images, as a Keras tensor."""
        result = self._back(self._product(self._there(images)))
        self._product.set_weights([np.asarray(self._matrix, np.float32)])
        return result


def picking(places: npt.NDArray[np.int64], have: int) -> npt.NDArray[np.float32]:
    """Return the matrix `[have, V]` whose product picks those V places."""
    return np.eye(have, dtype=np.float32)[:, places]


def to_keras(graph: bytes, *, pixels: str = "uint8") -> keras.Model:
    """Return a Keras model of standard layers with the probabilities of a graph.

    Args:
        graph: a serialized ONNX graph that `from_keras` made. Batch norms are folded into convolutions in it already.
        pixels: the dtype of the input, `uint8` or `float32`.

    Returns:
        a model from `image` `[N, H, W, 3]`, 0 to 255, to `probabilities` float32 `[N, K]`; of a graph with expected costs to a
        dict with both.

    Raises:
        ModelError: the graph holds what `from_keras` does not make.
    """
    import keras
    from onnx import numpy_helper

    names = [name for name in (PROBABILITIES, EXPECTED_COSTS) if name in output_names(graph)]
    proto = extract(graph, *names).graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.initializer}
    shape = [int(size.dim_value) for size in proto.input[0].type.tensor_type.shape.dim[1:]]
    image = keras.Input(shape, dtype=pixels, name=proto.input[0].name)
    values: dict[str, Value] = {proto.input[0].name: (image,)}
    for node in proto.node:
        values |= zip(node.output, _rebuild(node, values, weights), strict=True)
    outputs = {name: values[name][0] for name in names}
    return keras.Model(image, outputs if len(names) > 1 else outputs[PROBABILITIES], name="whatsit")


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


@dataclass
class _Node:
    """An operator with what it needs to become a layer."""

    kind: str
    name: str  # of the layer, unique
    inputs: list[Value]  # those that are computed
    constants: list[Array]  # those that are not
    attributes: dict[str, Any]

    def layer(self, kind: str, *args: Any, **settings: Any) -> Any:
        """Return a new Keras layer of this kind, by the operator's name."""
        import keras

        return getattr(keras.layers, kind)(*args, **{"name": self.name, **settings})

    def apply(self, layer: Any, value: Value | None = None) -> Value:
        """Return the result of one layer, which all views share."""
        return tuple(layer(tensor) for tensor in (self.inputs[0] if value is None else value))

    def become(self, kind: str, *args: Any, **settings: Any) -> Value:
        """Return the result of a new layer of this kind."""
        return self.apply(self.layer(kind, *args, **settings))

    def combine(self, kind: str) -> Value:
        """Return the result of a new layer that takes all inputs."""
        layer = self.layer(kind)
        return tuple(layer(list(tensors)) for tensors in zip(*self.inputs, strict=True))

    def refuse(self, what: str) -> ModelError:
        """Return the error for something that `from_keras` does not write."""
        return ModelError(f"the operator {self.kind} '{self.name}' of the model's graph cannot be exported with {what}")


def _transpose(node: _Node) -> Value:
    order = list(node.attributes["perm"])
    if order in _LAYOUTS:
        return node.inputs[0]
    if order != [0, 1, 3, 2]:
        raise node.refuse(f"the order {order}")
    return node.become("Permute", (2, 1, 3))


def _mirror(node: _Node) -> Value:
    """Rebuild a mirror image as older bundles have it, without `Gather`."""
    starts, _, axes, steps = (int(constant[0]) for constant in node.constants)
    if (starts, axes, steps) != (-1, 2, -1):
        raise node.refuse(f"start {starts}, axis {axes}, step {steps}")
    return _pick(node, 2, np.arange(int(node.inputs[0][0].shape[2]))[::-1])


def _gather(node: _Node) -> Value:
    axis = int(node.attributes["axis"])
    if axis not in (1, 2):
        raise node.refuse(f"axis {axis}")
    return _pick(node, axis, node.constants[0])


def _pick(node: _Node, axis: int, places: Array) -> Value:
    have = int(node.inputs[0][0].shape[axis])
    return node.apply(Product(picking(places, have), axis=axis, name=node.name))


def _concatenate(node: _Node) -> Value:
    if node.attributes["axis"] == 0:
        return tuple(tensor for value in node.inputs for tensor in value)
    return node.combine("Concatenate")


def _split(node: _Node) -> list[Value]:
    if node.attributes["axis"] != 0 or len(node.inputs[0]) != node.attributes["num_outputs"]:
        raise node.refuse(f"axis {node.attributes['axis']} of {len(node.inputs[0])}")
    return [(tensor,) for tensor in node.inputs[0]]


def _multiply(node: _Node) -> Value:
    return node.combine("Multiply") if len(node.inputs) == 2 else node.become("Rescaling", _numbers(node.constants[0]))


def _add(node: _Node) -> Value:
    return node.combine("Add") if len(node.inputs) == 2 else node.become("Rescaling", 1.0, _numbers(node.constants[0]))


def _numbers(constant: Array) -> Any:
    """Return one number, or one for each channel, as a layer's configuration keeps it."""
    return float(constant) if constant.ndim == 0 else [float(number) for number in constant.reshape(-1)]


def _convolution(node: _Node) -> Value:
    kernel, bias = node.constants
    window, strides = tuple(node.attributes["kernel_shape"]), tuple(node.attributes["strides"])
    value, padding = _pad(node, window, strides)
    settings = {"strides": strides, "padding": padding, "name": node.name.removesuffix(".conv")}
    if node.attributes["group"] == 1:
        layer, kernel = node.layer("Conv2D", len(kernel), window, **settings), kernel.transpose(2, 3, 1, 0)
    else:
        layer, kernel = node.layer("DepthwiseConv2D", window, **settings), kernel.transpose(2, 3, 0, 1)
    result = node.apply(layer, value)
    layer.set_weights([kernel, bias])
    return result


def _max_pooling(node: _Node) -> Value:
    window, strides = tuple(node.attributes["kernel_shape"]), tuple(node.attributes["strides"])
    value, padding = _pad(node, window, strides, may_pad=False)
    return node.apply(node.layer("MaxPooling2D", window, strides, padding), value)


def _pad(node: _Node, window: tuple[int, ...], strides: tuple[int, ...], *, may_pad: bool = True) -> tuple[Value, str]:
    """Return the value to work on, and Keras' name for the padding.

    Where Keras has no name for it, the value has a frame of zeros.
    """
    value, pads = node.inputs[0], [int(pad) for pad in node.attributes["pads"]]
    if not any(pads):
        return value, "valid"
    if pads == same_padding(value[0].shape[1:3], window, strides):
        return value, "same"
    if not may_pad:
        raise node.refuse(f"the padding {pads}")
    top, left, bottom, right = pads
    return node.become("ZeroPadding2D", ((top, bottom), (left, right)), name=f"{node.name}_frame"), "valid"


def _zero_padding(node: _Node) -> Value:
    _, _, top, left, _, _, bottom, right = (int(pad) for pad in node.constants[0])
    return node.become("ZeroPadding2D", ((top, bottom), (left, right)))


def _upsampling(node: _Node) -> Value:
    factors = tuple(int(factor) for factor in node.constants[0][2:])
    return node.become("UpSampling2D", factors, interpolation="bilinear")


def _clip(node: _Node) -> Value:
    low, high = (float(constant) for constant in node.constants)
    if low != 0.0:
        raise node.refuse(f"the least value {low:g}")
    return node.become("ReLU", max_value=high)


def _flatten(node: _Node) -> Value:
    # Behind a global pooling, which leaves no height and width in Keras, there is nothing to do.
    return node.inputs[0] if len(node.inputs[0][0].shape) == 2 else node.become("Flatten")


def _dense(node: _Node) -> Value:
    kernel, bias = node.constants
    layer = node.layer("Dense", kernel.shape[1])
    result = node.apply(layer)
    layer.set_weights([kernel, bias])
    return result


_OPERATORS: dict[str, Callable[[_Node], Value | list[Value]]] = {
    "Add": _add,
    "Cast": lambda node: node.become("Rescaling", 1.0, name="pixels"),
    "Clip": _clip,
    "Concat": _concatenate,
    "Conv": _convolution,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _dense,
    "GlobalAveragePool": lambda node: node.become("GlobalAveragePooling2D"),
    "GlobalMaxPool": lambda node: node.become("GlobalMaxPooling2D"),
    "Identity": lambda node: node.inputs[0],
    "MatMul": lambda node: node.apply(Product(node.constants[0], axis=2, name=node.name)),
    "MaxPool": _max_pooling,
    "Mul": _multiply,
    "Pad": _zero_padding,
    "Relu": lambda node: node.become("ReLU"),
    "Resize": _upsampling,
    "Sigmoid": lambda node: node.become("Activation", "sigmoid"),
    "Slice": _mirror,
    "Softmax": lambda node: node.become("Softmax"),
    "Split": _split,
    "Transpose": _transpose,
}
