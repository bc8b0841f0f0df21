"""A whole classifier: a network's features, the head, and the graph that ships.

The same named layers end every classifier, and everything later on finds its way by them:
`feature_map` (what Grad-CAM weighs), `embedding` (what the head sees), `hidden`, `logits`,
`calibration`, `probabilities`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whatsit.graph.builder import LAYER_OUTPUTS, PROBABILITIES, Graph
from whatsit.graph.from_keras import calibrate, trace
from whatsit.graph.to_keras import Product, picking
from whatsit.images.views import ORIGINAL, places_in
from whatsit.models.unknown import Mahalanobis

if TYPE_CHECKING:
    import keras
    import onnx

# Scores of about 1 and 0 become logits whose softmax is about as sure as the regression is; calibration does the rest.
SHARPNESS = 10.0
_HEAD = ("standardize", "hidden", "dropout", "logits")  # the layers of `add_head`


def pooled_features(backbone: keras.Model, depths: str = "all") -> keras.Model:
    """Return a backbone with its taps pooled.

    It goes from `image` to `feature_map` `[N, h, w, C]` and `embedding` `[N, F]`. The embedding is the global average of
    every tap's map side by side, the deepest last (`all`), or of the deepest map only (`last`).
    """
    import keras
    from keras import layers

    maps = backbone.outputs if depths == "all" else backbone.outputs[-1:]
    feature_map = layers.Activation("linear", name="feature_map")(maps[-1])
    pooled = [
        layers.GlobalAveragePooling2D(name=f"pool_{i}")(value) for i, value in enumerate([*maps[:-1], feature_map])
    ]
    joined = layers.Concatenate(name="join")(pooled) if len(pooled) > 1 else pooled[0]
    return keras.Model(backbone.input, [feature_map, layers.Activation("linear", name="embedding")(joined)])


def flat_features(network: keras.Model) -> keras.Model:
    """Return a network of (`feature_map`, flattened map) like `pooled_features`."""
    import keras
    from keras import layers

    feature_map, flat = network.outputs
    return keras.Model(network.input, [feature_map, layers.Activation("linear", name="embedding")(flat)])


def add_head(embedding: Any, classes: int, *, hidden: int, dropout: float, standardize: bool) -> Any:
    """Return the logits `[N, classes]` of an embedding `[N, F]`, as Keras tensors.

    They are dense ReLU, dropout, dense. Without hidden units there is only the last dense layer, behind the dropout. With
    `standardize`, a layer of that name first shifts and scales every feature by fixed numbers (`set_standard`).
    """
    from keras import layers

    x = embedding
    if standardize:
        fixed = layers.BatchNormalization(center=False, scale=False, epsilon=1e-6, trainable=False, name="standardize")
        x = fixed(x)
    if hidden:
        x = layers.Dense(hidden, activation="relu", name="hidden")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    # On fixed features a start at random would stay in the directions that no training picture has.
    start = "zeros" if standardize and not hidden else "glorot_uniform"
    return layers.Dense(classes, kernel_initializer=start, name="logits")(x)


def linear_head(mean: Any, scale: Any, weights: Any, offset: Any) -> keras.Model:
    """Return a head without hidden units, of a regression to 0 or 1 for each class.

    Its logits are `SHARPNESS * (((x - mean) / scale) @ weights + offset)`, for float `[F]` mean and scale, `[F, K]` weights
    and `[K]` offset.
    """
    import keras

    embedding = keras.Input((len(mean),), name="features")
    logits = add_head(embedding, len(offset), hidden=0, dropout=0.0, standardize=True)
    model = keras.Model(embedding, logits)
    set_standard(model, mean, np.square(scale))
    epsilon = model.get_layer("standardize").epsilon
    kernel = weights * (np.sqrt(np.square(scale) + epsilon) / scale)[:, None]
    model.get_layer("logits").set_weights([SHARPNESS * kernel, SHARPNESS * offset])
    return model


def set_standard(model: keras.Model, mean: Any, variance: Any) -> None:
    """Set mean and variance `[F]` of the layer `standardize`."""
    model.get_layer("standardize").set_weights([np.asarray(mean, np.float32), np.asarray(variance, np.float32)])


def complete(features: keras.Model, head: keras.Model, temperature: float = 1.0) -> keras.Model:
    """Return the classifier that ships, from `image` to calibrated `probabilities`.

    `features` ends in (feature_map, embedding); `head` is a trained model that ends in the layers of `add_head`, whose
    weights are copied. Probabilities are `softmax(logits / temperature)` (Guo et al. 2017).
    """
    import keras

    return keras.Model(features.input, _calibrated(_copy_head(head, features.outputs[1]), temperature))


def head_alone(model: keras.Model) -> keras.Model:
    """Return a copy of the head at the end of a model, from `[N, F]` to logits."""
    import keras

    first = next(layer for layer in model.layers if layer.name in _HEAD and layer.name != "dropout")
    embedding = keras.Input(first.input.shape[1:], name="embedding")
    return keras.Model(embedding, _copy_head(model, embedding))


def _copy_head(model: keras.Model, embedding: Any) -> Any:
    """Return the logits of an embedding by copies of the layers of `add_head`."""
    for layer in (layer for layer in model.layers if layer.name in _HEAD):
        copy = type(layer).from_config(layer.get_config())
        embedding = copy(embedding)
        copy.set_weights(layer.get_weights())
    return embedding


def _calibrated(logits: Any, temperature: float) -> Any:
    from keras import layers

    return layers.Softmax(name=PROBABILITIES)(layers.Rescaling(1.0 / temperature, name="calibration")(logits))


def of_views(classifier: keras.Model, views: Sequence[str]) -> keras.Model:
    """Return a classifier whose logits are the mean over several views of an image.

    It is made of standard layers only: a view (see `images/views.py`) is products with matrices of ones and zeros, which
    every format of Keras can keep.
    """
    import keras
    from keras import layers

    network = keras.Model(classifier.input, classifier.get_layer("logits").output, name="network")
    image = keras.Input(classifier.input.shape[1:], dtype="uint8", name="image")
    pixels = layers.Rescaling(1.0, name="pixels")(image)
    each = [network(_shown(pixels, view)) for view in views]
    logits = layers.Average(name="logits")(each)
    return keras.Model(image, _calibrated(logits, 1.0 / classifier.get_layer("calibration").scale))


def _shown(pixels: Any, view: str) -> Any:
    for axis, places in enumerate(places_in(view, *(int(side) for side in pixels.shape[1:3])), start=1):
        if not np.array_equal(places, np.arange(len(places))):
            name = f"{view.replace('+', '_plus_').replace('-', '_minus_')}_{axis}"
            pixels = Product(picking(places, len(places)), axis=axis, name=name)(pixels)
    return pixels


def ood_features(model: keras.Model) -> Any:
    """Return what the out-of-distribution score is computed from, a tensor `[N, F]`.

    That is the embedding, where it is pooled. Of a flattened map, it is the mean and the largest value of each channel: where
    in the image something stands does not make it unknown, and distances in thousands of places are lost in noise (for a
    small network from scratch, the AUROC of noise against cats and dogs rose from 0.0 to 1.0).
    """
    from keras import layers

    if not _is_flattened(model):
        return model.get_layer("embedding").output
    feature_map = model.get_layer("feature_map").output
    pooled = [layers.GlobalAveragePooling2D()(feature_map), layers.GlobalMaxPooling2D()(feature_map)]
    return layers.Concatenate()(pooled)


def _is_flattened(model: keras.Model) -> bool:
    return any(layer.name == "flatten" for layer in model.layers)


def to_onnx(
    classifier: keras.Model, known: Mahalanobis, metadata: Mapping[str, str], *, views: Sequence[str] = (ORIGINAL,)
) -> onnx.ModelProto:
    """Return the graph of a bundle, from `image` uint8 to six float32 outputs.

    With several `views` (see `images/views.py`), the first the picture as it is, the logits are the mean of theirs, as in
    `of_views`; the other outputs are of the image itself.

    - `probabilities` `[N, K]`, calibrated; `logits` `[N, K]`, before calibration
    - `embedding` `[N, F]`: what the head sees
    - `feature_map` `[N, h, w, C]` and `gradcam_weights` `[N, K, C]`: Grad-CAM (Selvaraju et al. 2017) for class k is
      `relu(sum over C of feature_map * gradcam_weights[k])`.
    - `ood_score` `[N]`: the distance from all classes (see `models/unknown.py`), about 1 for an image of one
    """
    import keras

    scored = ood_features(classifier)
    graph, value = trace(keras.Model(classifier.input, [classifier.output, scored]), views=views)
    layers = {layer.name: layer for layer in classifier.layers}
    names = {name: value(layers[name].output) for name in (*LAYER_OUTPUTS, "hidden") if name in layers}
    ending = Ending(layers, layers["calibration"].scale, known, flattened=_is_flattened(classifier))
    return ending.add_to(graph, names, value(scored), metadata)


@dataclass(frozen=True)
class Ending:
    """The end of the graph of every classifier: head, calibration, unknown score."""

    layers: Mapping[str, Any]  # Keras layers of the head: `logits`, and `hidden` and `standardize` where it has them
    scale: float  # of the logits, before the softmax
    known: Mahalanobis | None  # None: no unknown score
    flattened: bool = False  # whether the embedding is the flattened map, not its means

    def add_to(self, graph: Graph, names: Mapping[str, str], scored: str, about: Mapping[str, str]) -> onnx.ModelProto:
        """Add what is missing to a graph that has the logits, and return it as a model.

        Args:
            graph: of all views.
            names: of the values `logits`, and of `embedding`, `feature_map`, `hidden` and `probabilities` where there are
                such.
            scored: the value from which the out-of-distribution score is computed.
            about: metadata of the model.
        """
        names = dict(names)
        if len(graph.views) > 1:
            total, *others = graph.each_view(names["logits"])
            score_embedding = scored == names["embedding"]
            names = {
                name: graph.each_view(of)[0] for name, of in names.items() if name not in (PROBABILITIES, "logits")
            }
            for other in others:
                total = graph.op("Add", [total, other], graph.shapes[total])
            share = graph.constant("views.share", np.array(1.0 / len(graph.views)))
            names["logits"] = graph.op("Mul", [total, share], graph.shapes[total])
            scored = names["embedding"] if score_embedding else graph.each_view(scored)[0]
        if PROBABILITIES not in names:
            names[PROBABILITIES] = calibrate(graph, names["logits"], self.scale)
        outputs = {name: names[name] for name in LAYER_OUTPUTS if name in names}
        if "feature_map" in names:
            outputs["gradcam_weights"] = self._gradcam_weights(graph, names)
        if self.known:
            outputs["ood_score"] = self.known.add_to(graph, scored)
        return graph.to_model("image", outputs, about)

    def _gradcam_weights(self, graph: Graph, names: Mapping[str, str]) -> str:
        """Add the mean over the map of each logit's gradient, in closed form.

        Pooling only decides where in the map a gradient lands, not its sum; the head is dense, ReLU, dense. So with
        W1 `[C, H]` (the first kernel, summed over the places of each channel), W2 `[H, K]` and the mask of active
        hidden units m `[N, H]`, the weights are `(m * W2[:, k]) @ W1^T / (h * w)`. Without hidden units they are W1^T /
        (h * w), the same for every image.
        """
        from onnx import TensorProto

        height, width, channels = graph.shapes[names["feature_map"]]
        layers = self.layers
        kernel = layers["hidden" if "hidden" in layers else "logits"].get_weights()[0].astype(np.float64)
        if "standardize" in layers:
            fixed = layers["standardize"]
            kernel = kernel / np.sqrt(np.asarray(fixed.moving_variance, np.float64) + fixed.epsilon)[:, None]
        # A flattened map has its channels last, place by place; pooled maps stand side by side, the deepest last.
        places = kernel.reshape(-1, channels, kernel.shape[1]) if self.flattened else kernel[None, -channels:]
        by_channel = places.sum(axis=0)
        last = layers["logits"].get_weights()[0]
        units, classes = last.shape
        if "hidden" not in layers:
            # Each picture's own rows by way of its logits, so that the batch has its size: logits * 0 + the weights.
            axis = graph.constant("gradcam.axis", np.array([2], np.int64))
            zero = graph.constant("gradcam.zero", np.array(0.0))
            rows = graph.op("Unsqueeze", [graph.op("Mul", [names["logits"], zero], (classes,)), axis], (classes, 1))
            weights = graph.constant("gradcam.first", by_channel.T / (height * width))
            return graph.op("Add", [rows, weights], (classes, channels))
        first = graph.constant("gradcam.first", by_channel.T / (height * width))
        second = graph.constant("gradcam.second", last.T[None])
        axis = graph.constant("gradcam.axis", np.array([1], np.int64))
        zero = graph.constant("gradcam.zero", np.array(0.0))
        active = graph.op("Greater", [names["hidden"], zero], (units,))
        mask = graph.op("Cast", [active], (units,), to=TensorProto.FLOAT)
        mask = graph.op("Unsqueeze", [mask, axis], (1, units))
        return graph.op("MatMul", [graph.op("Mul", [mask, second], (classes, units)), first], (classes, channels))


def features_to_onnx(features: keras.Model) -> bytes:
    """Return the graph of the frozen part: `image` to `embedding` float32 `[N, F]`."""
    graph, value = trace(features)
    model = graph.to_model("image", {"embedding": value(features.outputs[1])}, {})
    content: bytes = model.SerializeToString()
    return content
