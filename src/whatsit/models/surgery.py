"""Take functional Keras models apart: fold batch norms, cut off the top, copy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.errors import ModelError
from whatsit.graph.from_keras import layer_inputs, scale_and_offset
from whatsit.models.fast_layers import fast_depthwise, fast_pointwise

if TYPE_CHECKING:
    import keras


def folded(model: keras.Model, *, dtype: str = "float32", for_training: bool = False) -> keras.Model:
    """Return the same function with batch norms folded into convolutions.

    Not where the convolution's own result is used elsewhere, is an output, or passes an activation first.
    Without batch norm a training step is a third faster. `dtype` is the Keras policy of convolutions and of what lies
    between them; with `for_training`, convolutions have faster gradients, and the model is not for saving. Layers keep their
    names; the folded batch norms are gone.
    """
    import keras
    from keras import layers

    followers, given = _followers(model), {id(output) for output in model.outputs}
    tensors: dict[int, Any] = {}
    weights: list[tuple[Any, list[Any]]] = []
    gone: set[str] = set()
    for layer in model.layers:
        if layer.name in gone:
            continue
        inputs = [tensors[id(tensor)] for tensor in layer_inputs(layer)]
        convolution = isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D)
        after = followers[id(layer.output)]
        alone = convolution and len(after) == 1 and id(layer.output) not in given and _is_linear(layer)
        norm = after[0] if alone and isinstance(after[0], layers.BatchNormalization) else None
        config = layer.get_config()
        kind = _fast_kind(layer) if for_training else type(layer)
        if convolution:
            config["use_bias"] = layer.use_bias or norm is not None
        between = isinstance(
            layer, layers.ReLU | layers.Add | layers.Activation | layers.ZeroPadding2D | layers.MaxPooling2D
        )
        if convolution or (between and id(layer.output) not in given):
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
    outputs = [tensors[id(output)] for output in model.outputs]
    return keras.Model(tensors[id(model.input)], outputs, name=model.name)


def _fast_kind(layer: Any) -> Any:
    """Return the class of a layer that trains faster."""
    from keras import layers

    if isinstance(layer, layers.DepthwiseConv2D):
        return fast_depthwise()
    return fast_pointwise() if type(layer) is layers.Conv2D and layer.kernel_size == (1, 1) else type(layer)


def _is_linear(layer: Any) -> bool:
    return getattr(layer.activation, "__name__", "") == "linear"


def _folded_weights(layer: Any, norm: Any) -> list[Any]:
    kernel, *bias = (np.asarray(value, np.float64) for value in layer.get_weights())
    scale, offset = scale_and_offset(norm)
    if bias:
        offset = offset + bias[0] * scale
    depthwise = type(layer).__name__ == "DepthwiseConv2D"
    return [kernel * (scale[:, None] if depthwise else scale), offset]


@dataclass(frozen=True)
class Cut:
    """A network in two parts: from an image to a vector, and on to the outputs."""

    bottom: keras.Model  # from `image` to its last map and a vector [N, F], the form of `pooled_features`
    top: keras.Model  # from the vector to the outputs of the whole network
    layers: int  # how many layers with weights the top has


def cut(model: keras.Model, count: int) -> Cut:
    """Cut off the deepest layers of a network of one input.

    At most `count` of them have weights; the cut is where the vector is smallest.
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
        inputs = [tensors[id(tensor)] for tensor in layer_inputs(layer)]
        tensors[id(layer.output)] = layer(inputs if isinstance(layer.input, list) else inputs[0])
    outputs = [tensors[id(output)] for output in model.outputs]
    return Cut(bottom, keras.Model(source, outputs), sum(1 for where in weighted if where >= place))


def _crossing(model: keras.Model, place: int) -> list[Any]:
    """Return the tensors that layers from `place` on, and outputs, take from before."""
    before = {id(layer.output) for layer in model.layers[:place]}
    wanted = [tensor for layer in model.layers[place:] for tensor in layer_inputs(layer)]
    found = {id(tensor): tensor for tensor in [*wanted, *model.outputs] if id(tensor) in before}
    return list(found.values())


def _volume(tensor: Any) -> int:
    return int(np.prod(tensor.shape[1:]))


def copied(model: keras.Model) -> keras.Model:
    """Return the same function with layers of its own, by the same names."""
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
        for tensor in layer_inputs(layer):
            found[id(tensor)].append(layer)
    return found
