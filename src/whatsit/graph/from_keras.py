"""Turns a Keras graph into an ONNX graph: channels first, batch normalisation folded, nothing left to chance.

A general converter takes seven seconds for a small network and, for what it does not know, writes an invalid file
without raising (docs/decisions/0002). This one knows the dozen layers that whatsit's networks are made of, takes a
tenth of a second, and refuses every other layer by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.errors import ModelError
from whatsit.graph.builder import Array, Graph
from whatsit.images.views import ORIGINAL, places_in

if TYPE_CHECKING:
    import keras


def trace(model: keras.Model, *, views: Sequence[str] = (ORIGINAL,)) -> tuple[Graph, Callable[[Any], str]]:
    """Convert every layer of a functional Keras model whose one input is a uint8 picture `[N, H, W, 3]`.

    Returns the graph, whose input is called `image`, and a function from a Keras tensor of the model to the name of
    its value in the graph. With V `views` of each picture, values have `V N` rows (see `Graph.each_view`).
    Raises `ModelError` for a layer that has no exact counterpart here or is used more than once.
    """
    graph = Graph(tuple(views))
    names: dict[int, str] = {}
    uses = Counter(id(tensor) for layer in model.layers for tensor in _inputs(layer))
    uses.update(id(tensor) for tensor in model.outputs)

    def value(tensor: Any) -> str:
        if id(tensor) not in names:
            raise _untraceable(model, tensor)
        return names[id(tensor)]

    for layer in model.layers:
        kind = type(layer).__name__
        if kind not in _LAYERS:
            known = ", ".join(sorted(_LAYERS))
            raise ModelError(
                f"layer '{layer.name}' is a {kind}, which cannot be exported exactly; known layers: {known}"
            )
        inputs = [value(tensor) for tensor in _inputs(layer)]
        shape = tuple(int(size) for size in layer.output.shape[1:])
        result = _LAYERS[kind](graph, layer, inputs, shape)
        if kind == "BatchNormalization" and result == inputs[0]:  # a fold: what went into it is nowhere any more
            names = {tensor: name for tensor, name in names.items() if name != result}
        names[id(layer.output)] = result
        if uses[id(layer.output)] > 1:
            graph.shared.add(result)
    return graph, value


def _inputs(layer: Any) -> list[Any]:
    """The tensors that a layer takes. Of a layer that is used several times, Keras gives those of the first."""
    if type(layer).__name__ == "InputLayer":
        return []
    return list(layer.input) if isinstance(layer.input, list) else [layer.input]


def _untraceable(model: keras.Model, tensor: Any) -> ModelError:
    """What to say of a tensor that no layer's first use gives."""
    for layer in model.get_config()["layers"]:
        if len(layer["inbound_nodes"]) > 1:
            times = len(layer["inbound_nodes"])
            return ModelError(f"layer '{layer['name']}' is used {times} times, which cannot be exported exactly")
    return ModelError(f"'{tensor.name}' is not a value of the exported graph of '{model.name}'")


def _input(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    import onnx

    graph.shapes["image"] = shape
    pixels = graph.op("Cast", ["image"], shape, to=onnx.TensorProto.FLOAT)
    if len(graph.views) > 1:
        shown = [_shown(graph, pixels, view, shape) for view in graph.views]
        pixels = graph.op("Concat", shown, shape, axis=0)
    return graph.op("Transpose", [pixels], shape, perm=[0, 3, 1, 2])


def _shown(graph: Graph, pixels: str, view: str, shape: tuple[int, ...]) -> str:
    for name, axis, places in zip(("rows", "columns"), (1, 2), places_in(view, *shape[:2]), strict=True):
        if not np.array_equal(places, np.arange(len(places))):
            pixels = graph.op("Gather", [pixels, graph.constant(f"{view}.{name}", places)], shape, axis=axis)
    return pixels


def _identity(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    return inputs[0]


def _rescaling(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    scale, offset = np.asarray(layer.scale, np.float32), np.asarray(layer.offset, np.float32)
    return _affine(graph, layer.name, inputs[0], scale, offset)


def calibrate(graph: Graph, logits: str, scale: float) -> str:
    """The softmax of the logits times `scale`, as the layers `calibration` and `probabilities` have it."""
    scaled = _affine(graph, "calibration", logits, np.asarray(scale, np.float32), np.zeros((), np.float32))
    return graph.op("Softmax", [scaled], graph.shapes[logits], axis=-1)


def _affine(graph: Graph, name: str, value: str, scale: Array, offset: Array) -> str:
    shape = graph.shapes[value]
    if scale.ndim and len(shape) == 3:
        scale, offset = scale.reshape(-1, 1, 1), offset.reshape(-1, 1, 1)
    value = graph.op("Mul", [value, graph.constant(f"{name}.scale", scale)], shape)
    if np.any(offset):
        value = graph.op("Add", [value, graph.constant(f"{name}.offset", offset)], shape)
    return value


def _padding(layer: Any, height: int, width: int, window: tuple[int, int]) -> list[int]:
    """ONNX `pads` for a Keras layer: TensorFlow's "same" puts the odd pixel at the bottom and the right."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    totals = []
    for size, kernel, stride in zip((height, width), window, layer.strides, strict=True):
        totals.append(max((-(-size // stride) - 1) * stride + kernel - size, 0))
    (top, left) = (total // 2 for total in totals)
    return [top, left, totals[0] - top, totals[1] - left]


def _convolution(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    kernel, *bias = (np.asarray(weight) for weight in layer.get_weights())
    depthwise = type(layer).__name__ == "DepthwiseConv2D"
    groups = 1 if not depthwise else kernel.shape[2]
    # Keras: [h, w, in, out] and, depthwise, [h, w, channels, 1]; ONNX: [out, in / groups, h, w].
    kernel = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
    if (
        layer.dilation_rate not in (1, (1, 1))
        or getattr(layer, "groups", 1) != 1
        or (depthwise and kernel.shape[1] != 1)
    ):
        raise ModelError(
            f"layer '{layer.name}' uses dilation, groups or a depth multiplier, which cannot be exported exactly"
        )
    height, width, _ = graph.shapes[inputs[0]]
    values = [
        inputs[0],
        graph.constant(f"{layer.name}.kernel", kernel),
        graph.constant(f"{layer.name}.bias", bias[0] if bias else np.zeros(len(kernel), np.float32)),
    ]
    output = graph.op(
        "Conv",
        values,
        shape,
        name=f"{layer.name}.conv",
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.strides),
        pads=_padding(layer, height, width, layer.kernel_size),
        group=groups,
    )
    return _apply_activation(graph, layer, output)


def _batch_normalization(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    mean, variance = (np.asarray(w, np.float64) for w in (layer.moving_mean, layer.moving_variance))
    scale = 1.0 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * np.asarray(layer.gamma, np.float64)
    offset = -mean * scale
    if layer.center:
        offset = offset + np.asarray(layer.beta, np.float64)
    last = graph.nodes[-1]
    if last.op_type == "Conv" and last.output[0] == inputs[0] and inputs[0] not in graph.shared:
        # Only this layer uses the convolution just before: fold into it.
        kernel, bias = last.input[1], last.input[2]
        graph.weights[kernel] = (graph.weights[kernel] * scale.reshape(-1, 1, 1, 1)).astype(np.float32)
        graph.weights[bias] = (graph.weights[bias] * scale + offset).astype(np.float32)
        return inputs[0]
    return _affine(graph, layer.name, inputs[0], scale.astype(np.float32), offset.astype(np.float32))


def _apply_activation(graph: Graph, layer: Any, value: str) -> str:
    name = getattr(layer.activation, "__name__", str(layer.activation))
    shape = graph.shapes[value]
    if name == "linear":
        return value
    if name == "relu":
        return graph.op("Relu", [value], shape)
    if name == "relu6":
        return _clip(graph, value, 6.0)
    if name == "silu":
        return graph.op("Mul", [value, graph.op("Sigmoid", [value], shape)], shape)
    if name == "softmax":
        return graph.op("Softmax", [value], shape, axis=-1)
    raise ModelError(f"layer '{layer.name}' has the activation '{name}', which cannot be exported exactly")


def _activation(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    return _apply_activation(graph, layer, inputs[0])


def _relu(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    if layer.negative_slope or layer.threshold:
        raise ModelError(f"layer '{layer.name}' is a leaky or thresholded ReLU, which cannot be exported exactly")
    if layer.max_value is None:
        return graph.op("Relu", inputs, shape)
    return _clip(graph, inputs[0], float(layer.max_value))


def _clip(graph: Graph, value: str, high: float) -> str:
    low, top = graph.constant("clip.0", np.array(0.0)), graph.constant(f"clip.{high:g}", np.array(high))
    return graph.op("Clip", [value, low, top], graph.shapes[value])


def _softmax(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    return graph.op("Softmax", inputs, shape, axis=-1)


def _max_pooling(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    height, width, _ = graph.shapes[inputs[0]]
    pads = _padding(layer, height, width, layer.pool_size)
    return graph.op(
        "MaxPool", inputs, shape, kernel_shape=list(layer.pool_size), strides=list(layer.strides), pads=pads
    )


def _zero_padding(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    (top, bottom), (left, right) = layer.padding
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    return graph.op("Pad", [inputs[0], graph.constant(f"{layer.name}.pads", pads)], shape)


def _upsampling(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    if layer.interpolation != "bilinear":
        raise ModelError(
            f"layer '{layer.name}' interpolates by '{layer.interpolation}', which cannot be exported exactly"
        )
    scales = graph.constant(f"{layer.name}.scales", np.array([1, 1, *layer.size], np.float32))
    # Pixel centres at half coordinates, as TensorFlow's resize has them.
    return graph.op(
        "Resize", [inputs[0], "", scales], shape, mode="linear", coordinate_transformation_mode="half_pixel"
    )


def _global_average(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    return _drop_picture_axes(graph, graph.op("GlobalAveragePool", inputs, shape), shape)


def _global_max(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    return _drop_picture_axes(graph, graph.op("GlobalMaxPool", inputs, shape), shape)


def _drop_picture_axes(graph: Graph, value: str, shape: tuple[int, ...]) -> str:
    return graph.op("Flatten", [value], shape, axis=1)


def _flatten(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    return graph.op("Flatten", [graph.channels_last(inputs[0])], shape, axis=1)


def _dense(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    kernel, *bias = (np.asarray(weight) for weight in layer.get_weights())
    values = [
        inputs[0],
        graph.constant(f"{layer.name}.kernel", kernel),
        graph.constant(f"{layer.name}.bias", bias[0] if bias else np.zeros(kernel.shape[1], np.float32)),
    ]
    return _apply_activation(graph, layer, graph.op("Gemm", values, shape))


def _add(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    total = inputs[0]
    for other in inputs[1:]:
        total = graph.op("Add", [total, other], shape)
    return total


def _concatenate(graph: Graph, layer: Any, inputs: list[str], shape: tuple[int, ...]) -> str:
    return graph.op("Concat", inputs, shape, axis=1)


_LAYERS: dict[str, Callable[[Graph, Any, list[str], tuple[int, ...]], str]] = {
    "Activation": _activation,
    "Add": _add,
    "BatchNormalization": _batch_normalization,
    "Concatenate": _concatenate,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "Dropout": _identity,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_average,
    "GlobalMaxPooling2D": _global_max,
    "InputLayer": _input,
    "MaxPooling2D": _max_pooling,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Softmax": _softmax,
    "UpSampling2D": _upsampling,
    "ZeroPadding2D": _zero_padding,
}
