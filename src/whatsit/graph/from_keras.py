"""Turn a Keras model into an ONNX graph, channels first, batch norms folded.

A general converter takes seven seconds for a small network and, for what it does not know, writes an invalid file
without raising (docs/decisions/0002). This one knows the layers that whatsit's networks are made of, takes a tenth of a
second, and refuses every other layer by name.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.arrays import Array
from whatsit.errors import ModelError
from whatsit.graph.builder import Graph
from whatsit.images.views import ORIGINAL, places_in

if TYPE_CHECKING:
    import keras


def trace(
    model: keras.Model, *, views: Sequence[str] = (ORIGINAL,), behind: tuple[Graph, str] | None = None
) -> tuple[Graph, Callable[[Any], str]]:
    """Convert every layer of a functional model of uint8 images `[N, H, W, 3]`.

    With `behind`, a graph and a value of it, the model's layers are added there, and that value is the model's input.

    Returns the graph, whose input is called `image`, and a function from a Keras tensor of the model to the name of
    its value in the graph. With V `views` of each image, values have `V N` rows (see `Graph.each_view`).
    Raises `ModelError` for a layer that has no exact counterpart here or is used more than once.
    """
    graph, start = behind or (Graph(tuple(views)), "")
    names: dict[int, str] = {id(model.input): start} if start else {}
    uses = Counter(id(tensor) for layer in model.layers for tensor in layer_inputs(layer))
    uses.update(id(tensor) for tensor in model.outputs)

    def value(tensor: Any) -> str:
        if id(tensor) not in names:
            raise _untraceable(model, tensor)
        return names[id(tensor)]

    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer" and start:
            continue
        if kind not in _LAYERS:
            known = ", ".join(sorted(_LAYERS))
            raise ModelError(
                f"layer '{layer.name}' is a {kind}, which cannot be exported exactly; known layers: {known}"
            )
        inputs = [value(tensor) for tensor in layer_inputs(layer)]
        shape = tuple(int(size) for size in layer.output.shape[1:])
        result = _LAYERS[kind](_Layer(graph, layer, inputs, shape))
        if kind == "BatchNormalization" and result == inputs[0]:  # a fold: its input is no value of the graph any more
            names = {tensor: name for tensor, name in names.items() if name != result}
        names[id(layer.output)] = result
        if uses[id(layer.output)] > 1:
            graph.shared.add(result)
    return graph, value


def layer_inputs(layer: Any) -> list[Any]:
    """Return the tensors that a layer takes where it is used first."""
    if type(layer).__name__ == "InputLayer":
        return []
    return list(layer.input) if isinstance(layer.input, list) else [layer.input]


def calibrate(graph: Graph, logits: str, scale: float) -> str:
    """Add the softmax of the logits times `scale`; return its name."""
    scaled = add_affine(graph, "calibration", logits, np.asarray(scale, np.float32), np.zeros((), np.float32))
    return graph.op("Softmax", [scaled], graph.shapes[logits], axis=-1)


def scale_and_offset(norm: Any) -> tuple[Array, Array]:
    """Return what a trained batch norm multiplies by and adds, float64 `[C]`."""
    mean, variance = (np.asarray(w, np.float64) for w in (norm.moving_mean, norm.moving_variance))
    scale = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma, np.float64)
    offset = -mean * scale
    if norm.center:
        offset = offset + np.asarray(norm.beta, np.float64)
    return scale, offset


def same_padding(sizes: Sequence[int], window: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return TensorFlow's "same" padding as `pads`: odd pixels at bottom and right."""
    totals = [
        max((-(-int(size) // stride) - 1) * stride + side - int(size), 0)
        for size, side, stride in zip(sizes, window, strides, strict=True)
    ]
    before = [total // 2 for total in totals]
    return [*before, *(total - first for total, first in zip(totals, before, strict=True))]


def _untraceable(model: keras.Model, tensor: Any) -> ModelError:
    """Return the error for a tensor that no layer's first use gives."""
    for layer in model.get_config()["layers"]:
        if len(layer["inbound_nodes"]) > 1:
            times = len(layer["inbound_nodes"])
            return ModelError(f"layer '{layer['name']}' is used {times} times, which cannot be exported exactly")
    return ModelError(f"'{tensor.name}' is not a value of the exported graph of '{model.name}'")


@dataclass(frozen=True)
class _Layer:
    """A Keras layer on its way into a graph."""

    graph: Graph
    keras: Any
    inputs: list[str]
    shape: tuple[int, ...]  # of its output, channels last, without the batch

    @property
    def name(self) -> str:
        return str(self.keras.name)

    def op(self, kind: str, inputs: list[str] | None = None, **attributes: Any) -> str:
        """Append a node whose output has the layer's shape; return its name."""
        return self.graph.op(kind, self.inputs if inputs is None else inputs, self.shape, **attributes)

    def constant(self, name: str, value: Array) -> str:
        """Store a constant of the layer; return its name."""
        return self.graph.constant(f"{self.name}.{name}", value)

    def bias(self, weights: Sequence[Array]) -> str:
        """Store the bias, zeros where the layer has none; return its name."""
        return self.constant("bias", weights[1] if len(weights) > 1 else np.zeros(self.shape[-1], np.float32))

    def refuse(self, what: str) -> ModelError:
        """Return the error for a setting that has no exact counterpart."""
        return ModelError(f"layer '{self.name}' {what}, which cannot be exported exactly")

    def activate(self, value: str) -> str:
        """Append the layer's activation; return its name."""
        name = getattr(self.keras.activation, "__name__", str(self.keras.activation))
        if name == "linear":
            return value
        if name == "relu":
            return self.op("Relu", [value])
        if name == "relu6":
            return self.clip(value, 6.0)
        if name == "silu":
            return self.op("Mul", [value, self.op("Sigmoid", [value])])
        if name == "softmax":
            return self.op("Softmax", [value], axis=-1)
        raise self.refuse(f"has the activation '{name}'")

    def clip(self, value: str, high: float) -> str:
        """Append a cut at zero and `high`; return its name."""
        low, top = self.graph.constant("clip.0", np.array(0.0)), self.graph.constant(f"clip.{high:g}", np.array(high))
        return self.op("Clip", [value, low, top])

    def pads(self, window: Sequence[int]) -> list[int]:
        """Return ONNX `pads` for the layer's padding."""
        if self.keras.padding == "valid":
            return [0, 0, 0, 0]
        return same_padding(self.graph.shapes[self.inputs[0]][:2], window, self.keras.strides)


def add_input(graph: Graph, shape: tuple[int, ...]) -> str:
    """Add the input `image` uint8 `[N, H, W, 3]`; return its views as float pixels."""
    import onnx

    graph.shapes["image"] = shape
    pixels = graph.op("Cast", ["image"], shape, to=onnx.TensorProto.FLOAT)
    if len(graph.views) > 1:
        pixels = graph.op("Concat", [_view(graph, pixels, view) for view in graph.views], shape, axis=0)
    return graph.op("Transpose", [pixels], shape, perm=[0, 3, 1, 2])


def _view(graph: Graph, pixels: str, view: str) -> str:
    shape = graph.shapes["image"]
    for name, axis, places in zip(("rows", "columns"), (1, 2), places_in(view, *shape[:2]), strict=True):
        if not np.array_equal(places, np.arange(len(places))):
            chosen = graph.constant(f"{view}.{name}", places)
            pixels = graph.op("Gather", [pixels, chosen], shape, axis=axis)
    return pixels


def _rescaling(layer: _Layer) -> str:
    scale, offset = (np.asarray(value, np.float32) for value in (layer.keras.scale, layer.keras.offset))
    return add_affine(layer.graph, layer.name, layer.inputs[0], scale, offset)


def add_affine(graph: Graph, name: str, value: str, scale: Array, offset: Array) -> str:
    """Add `value * scale + offset`, of one number or one a channel; return its name."""
    shape = graph.shapes[value]
    if scale.ndim and len(shape) == 3:
        scale, offset = scale.reshape(-1, 1, 1), offset.reshape(-1, 1, 1)
    value = graph.op("Mul", [value, graph.constant(f"{name}.scale", scale)], shape)
    if np.any(offset):
        value = graph.op("Add", [value, graph.constant(f"{name}.offset", offset)], shape)
    return value


def _convolution(layer: _Layer) -> str:
    weights = [np.asarray(weight) for weight in layer.keras.get_weights()]
    depthwise = type(layer.keras).__name__ == "DepthwiseConv2D"
    # Keras: [h, w, in, out] and, depthwise, [h, w, channels, 1]; ONNX: [out, in / groups, h, w].
    kernel = weights[0].transpose(2, 3, 0, 1) if depthwise else weights[0].transpose(3, 2, 0, 1)
    grouped = getattr(layer.keras, "groups", 1) != 1 or (depthwise and kernel.shape[1] != 1)
    if grouped or layer.keras.dilation_rate not in (1, (1, 1)):
        raise layer.refuse("uses dilation, groups or a depth multiplier")
    convolved = layer.op(
        "Conv",
        [layer.inputs[0], layer.constant("kernel", kernel), layer.bias(weights)],
        name=f"{layer.name}.conv",
        kernel_shape=list(layer.keras.kernel_size),
        strides=list(layer.keras.strides),
        pads=layer.pads(layer.keras.kernel_size),
        group=len(kernel) if depthwise else 1,
    )
    return layer.activate(convolved)


def _batch_normalization(layer: _Layer) -> str:
    graph, value = layer.graph, layer.inputs[0]
    scale, offset = scale_and_offset(layer.keras)
    last = graph.nodes[-1]
    if last.op_type == "Conv" and last.output[0] == value and value not in graph.shared:
        # Only this layer uses the convolution just before: fold into it.
        kernel, bias = last.input[1], last.input[2]
        graph.weights[kernel] = (graph.weights[kernel] * scale.reshape(-1, 1, 1, 1)).astype(np.float32)
        graph.weights[bias] = (graph.weights[bias] * scale + offset).astype(np.float32)
        return value
    return add_affine(graph, layer.name, value, scale.astype(np.float32), offset.astype(np.float32))


def _relu(layer: _Layer) -> str:
    if layer.keras.negative_slope or layer.keras.threshold:
        raise layer.refuse("is a leaky or thresholded ReLU")
    high = layer.keras.max_value
    return layer.op("Relu") if high is None else layer.clip(layer.inputs[0], float(high))


def _max_pooling(layer: _Layer) -> str:
    window, strides = list(layer.keras.pool_size), list(layer.keras.strides)
    return layer.op("MaxPool", kernel_shape=window, strides=strides, pads=layer.pads(window))


def _zero_padding(layer: _Layer) -> str:
    (top, bottom), (left, right) = layer.keras.padding
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    return layer.op("Pad", [layer.inputs[0], layer.constant("pads", pads)])


def _upsampling(layer: _Layer) -> str:
    if layer.keras.interpolation != "bilinear":
        raise layer.refuse(f"interpolates by '{layer.keras.interpolation}'")
    return add_enlarged(layer.graph, layer.name, layer.inputs[0], layer.keras.size)


def add_enlarged(graph: Graph, name: str, value: str, factors: Sequence[int]) -> str:
    """Add a map enlarged bilinearly by whole factors of its height and width."""
    height, width, channels = graph.shapes[value]
    scales = graph.constant(f"{name}.scales", np.array([1, 1, *factors], np.float32))
    shape = (height * factors[0], width * factors[1], channels)
    # Pixel centres at half coordinates, as TensorFlow's resize has them.
    half: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return graph.op("Resize", [value, "", scales], shape, **half)


def _dense(layer: _Layer) -> str:
    weights = [np.asarray(weight) for weight in layer.keras.get_weights()]
    return layer.activate(
        layer.op("Gemm", [layer.inputs[0], layer.constant("kernel", weights[0]), layer.bias(weights)])
    )


_LAYERS: dict[str, Callable[[_Layer], str]] = {
    "Activation": lambda layer: layer.activate(layer.inputs[0]),
    "Add": lambda layer: functools.reduce(lambda total, other: layer.op("Add", [total, other]), layer.inputs),
    "BatchNormalization": _batch_normalization,
    "Concatenate": lambda layer: layer.op("Concat", axis=1),
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "Dropout": lambda layer: layer.inputs[0],
    "Flatten": lambda layer: layer.op("Flatten", [layer.graph.channels_last(layer.inputs[0])], axis=1),
    "GlobalAveragePooling2D": lambda layer: layer.op("Flatten", [layer.op("GlobalAveragePool")], axis=1),
    "GlobalMaxPooling2D": lambda layer: layer.op("Flatten", [layer.op("GlobalMaxPool")], axis=1),
    "InputLayer": lambda layer: add_input(layer.graph, layer.shape),
    "MaxPooling2D": _max_pooling,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Softmax": lambda layer: layer.op("Softmax", axis=-1),
    "UpSampling2D": _upsampling,
    "ZeroPadding2D": _zero_padding,
}
