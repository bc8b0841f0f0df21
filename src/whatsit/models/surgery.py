"""Takes functional Keras models apart: batch norm folded into convolutions, the top cut off to be trained alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.errors import ModelError

if TYPE_CHECKING:
    import keras


def folded(model: keras.Model, *, dtype: str = "float32", for_training: bool = False) -> keras.Model:
    """The same function with every batch norm that follows a convolution folded into it (statistics frozen for good).

    Not where the convolution's own result is used elsewhere, goes out, or passes an activation first.
    Without batch norm a training step is a third faster. `dtype` is the Keras policy of the convolutions that are not
    depthwise (those are slower in bfloat16); with `for_training`, depthwise ones have a faster gradient, and the model
    is not for saving. Layers keep their names; the folded batch norms are gone.
    """
    from keras import layers

    followers, given = _followers(model), {id(output) for output in model.outputs}
    tensors: dict[int, Any] = {}
    weights: list[tuple[Any, list[Any]]] = []
    gone: set[str] = set()
    for layer in model.layers:
        if layer.name in gone:
            continue
        inputs = [tensors[id(tensor)] for tensor in _inputs(layer)]
        convolution = isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D)
        after = followers[id(layer.output)]
        alone = convolution and len(after) == 1 and id(layer.output) not in given and _is_linear(layer)
        norm = after[0] if alone and isinstance(after[0], layers.BatchNormalization) else None
        config = layer.get_config()
        kind = type(layer)
        if convolution:
            config["use_bias"] = layer.use_bias or norm is not None
            if isinstance(layer, layers.DepthwiseConv2D):
                kind = fast_depthwise() if for_training else kind
            else:
                config["dtype"] = dtype
        copy = kind.from_config(config)
        output = copy.output if not inputs else copy(inputs if isinstance(layer.input, list) else inputs[0])
        tensors[id(layer.output)] = output
        if norm is not None:
            tensors[id(norm.output)] = output
            gone.add(norm.name)
            weights.append((copy, _folded_weights(layer, norm)))
        elif layer.weights:
            weights.append((copy, layer.get_weights()))
    for copy, values in weights:
        copy.set_weights(values)
    return _model(tensors[id(model.input)], [tensors[id(output)] for output in model.outputs], model.name)


def _is_linear(layer: Any) -> bool:
    return getattr(layer.activation, "__name__", "") == "linear"


def _folded_weights(layer: Any, norm: Any) -> list[Any]:
    kernel, *bias = (np.asarray(value, np.float64) for value in layer.get_weights())
    scale = 1.0 / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma, np.float64)
    offset = -np.asarray(norm.moving_mean, np.float64) * scale
    if norm.center:
        offset = offset + np.asarray(norm.beta, np.float64)
    if bias:
        offset = offset + bias[0] * scale
    depthwise = type(layer).__name__ == "DepthwiseConv2D"
    return [kernel * (scale[:, None] if depthwise else scale), offset]


@dataclass(frozen=True)
class Cut:
    """A network in two parts: `bottom` says of a picture a vector, from which `top` goes on."""

    bottom: keras.Model  # from `image` to its last map and a vector [N, F], the form of `pooled_features`
    top: keras.Model  # from the vector to the outputs of the whole network
    layers: int  # how many layers with weights the top has


def cut(model: keras.Model, count: int) -> Cut:
    """Cut off the deepest layers of a network of one input: at most `count` with weights, where least crosses the cut.

    Raises `ModelError` where there are no more than `count` layers with weights.
    """
    import keras
    from keras import layers as kinds

    weighted = [place for place, layer in enumerate(model.layers) if layer.weights]
    if not 0 < count < len(weighted):
        raise ModelError(f"there are {len(weighted)} layers with weights; {count} cannot be cut off")
    places = [weighted[-number] for number in range(count, max(0, count - 3), -1)]
    place = min(places, key=lambda place: sum(_volume(tensor) for tensor in _crossing(model, place)))
    crossing = _crossing(model, place)
    flat = [kinds.Flatten()(tensor) if len(tensor.shape) > 2 else tensor for tensor in crossing]
    vector = kinds.Concatenate()(flat) if len(flat) > 1 else flat[0]
    maps = [tensor for tensor in crossing if len(tensor.shape) == 4]
    bottom = keras.Model(model.input, [maps[-1], vector])
    source = keras.Input((int(vector.shape[-1]),), name="vector")
    tensors: dict[int, Any] = {}
    start = 0
    for tensor in crossing:
        part = source[:, start : start + _volume(tensor)]
        tensors[id(tensor)] = kinds.Reshape(tensor.shape[1:])(part)
        start += _volume(tensor)
    for layer in model.layers[place:]:
        inputs = [tensors[id(tensor)] for tensor in _inputs(layer)]
        tensors[id(layer.output)] = layer(inputs if isinstance(layer.input, list) else inputs[0])
    outputs = [tensors[id(output)] for output in model.outputs]
    return Cut(bottom, keras.Model(source, outputs), sum(1 for where in weighted if where >= place))


def _crossing(model: keras.Model, place: int) -> list[Any]:
    """The tensors that the layers from `place` on take from those before it, outputs of the model among them."""
    before = {id(layer.output) for layer in model.layers[:place]}
    wanted = [tensor for layer in model.layers[place:] for tensor in _inputs(layer)]
    found = {id(tensor): tensor for tensor in [*wanted, *model.outputs] if id(tensor) in before}
    return list(found.values())


def _volume(tensor: Any) -> int:
    return int(np.prod(tensor.shape[1:]))


def copied(model: keras.Model) -> keras.Model:
    """The same function with layers of its own, by the same names: what is attached to it leaves the model as it was."""
    import keras

    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Set the weights of every layer of `target` that `source` has by the same name."""
    theirs: Mapping[str, Any] = {layer.name: layer for layer in source.layers if layer.weights}
    for layer in target.layers:
        if layer.weights and layer.name in theirs:
            layer.set_weights(theirs[layer.name].get_weights())


def _followers(model: keras.Model) -> defaultdict[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for layer in model.layers:
        for tensor in _inputs(layer):
            found[id(tensor)].append(layer)
    return found


def _inputs(layer: Any) -> list[Any]:
    if type(layer).__name__ == "InputLayer":
        return []
    return list(layer.input) if isinstance(layer.input, list) else [layer.input]


def _model(image: Any, outputs: list[Any], name: str) -> keras.Model:
    import keras

    return keras.Model(image, outputs, name=name)


def fast_depthwise() -> Any:
    """A `DepthwiseConv2D` whose kernel gradient is a matrix product of all places of the map with all others.

    TensorFlow's own takes 10 ms for a 5x5 kernel on 64 maps of 3 x 3 x 1152; this takes 2, and gives the same figures.
    On maps larger than 12 x 12, and for other kernels, TensorFlow's is the faster one and is used.
    """
    import tensorflow as tf
    from keras import layers

    class FastDepthwiseConv2D(layers.DepthwiseConv2D):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            side, channels = inputs.shape[1], inputs.shape[3]
            usual = self.kernel_size != (5, 5) or self.padding != "same" or side != inputs.shape[2] or side > 12
            if usual or self.depth_multiplier != 1 or tf.config.list_physical_devices("GPU"):
                return super().call(inputs)
            stride = self.strides[0]
            small = -(-side // stride)
            placement = tf.constant(_placement(side, 5, stride).reshape(-1, 25))

            # The gradient assumes a square map of known side with odd or even length, "same" padding, one stride and a 5 x 5
            # kernel without depth multiplier, which is asked just above, and float32, which `folded` holds depthwise layers to.
            @tf.custom_gradient  # type: ignore[untyped-decorator]
            def convolve(x: Any, kernel: Any) -> Any:
                steps = [1, stride, stride, 1]

                def gradient(g: Any) -> Any:
                    count = tf.shape(x)[0]
                    seen = tf.transpose(tf.reshape(x, (count, side * side, channels)), (2, 1, 0))
                    wanted = tf.transpose(tf.reshape(g, (count, small * small, channels)), (2, 0, 1))
                    pairs = tf.reshape(tf.matmul(seen, wanted), (channels, -1))
                    for_kernel = tf.reshape(tf.transpose(tf.matmul(pairs, placement)), (5, 5, channels, 1))
                    back = tf.nn.depthwise_conv2d_backprop_input(tf.shape(x), kernel, g, steps, "SAME")
                    return back, for_kernel

                return tf.nn.depthwise_conv2d(x, kernel, steps, "SAME"), gradient

            result = convolve(inputs, tf.convert_to_tensor(self.kernel))
            return result + self.bias if self.use_bias else result

    return FastDepthwiseConv2D


def _placement(side: int, kernel: int, stride: int) -> Any:
    """float32 `[side^2, small^2, kernel^2]`: 1 where a place of the input meets a place of the output at that tap."""
    small = -(-side // stride)
    before = max((small - 1) * stride + kernel - side, 0) // 2
    taps = np.zeros((side, side, small, small, kernel, kernel), np.float32)
    for y in range(small):
        for x in range(small):
            for v in range(kernel):
                for u in range(kernel):
                    row, column = y * stride + v - before, x * stride + u - before
                    if 0 <= row < side and 0 <= column < side:
                        taps[row, column, y, x, v, u] = 1.0
    return taps.reshape(side**2, small**2, kernel**2)
