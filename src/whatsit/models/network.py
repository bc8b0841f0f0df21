"""A network without its head, as training sees it, whatever it is made of.

`KerasNetwork` is one that Keras built, `OnnxNetwork` (models/onnx_network.py) one that came as a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from whatsit.arrays import Float32, Images
from whatsit.models import classifier
from whatsit.models.surgery import copied
from whatsit.models.unknown import Mahalanobis

if TYPE_CHECKING:
    import keras
    import onnx


class Classifier(Protocol):
    """A network with its head, which predicts by the mean logits of some views."""

    def to_onnx(self, known: Mahalanobis, about: Mapping[str, str], views: Sequence[str]) -> onnx.ModelProto:
        """Return the graph of a bundle, as `classifier.to_onnx` has it.

        `about` becomes its metadata.
        """
        ...

    def to_keras(self, views: Sequence[str]) -> keras.Model | None:
        """Return the Keras model for other people's tools; None where it is not of Keras."""
        ...


@runtime_checkable
class Network(Protocol):
    """A network from images uint8 `[N, H, W, 3]` to an embedding `[N, F]`."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the images that it takes."""
        ...

    @property
    def width(self) -> int:
        """F, the length of its embedding."""
        ...

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where it came from, for the bundle; empty for one whose name says it all."""
        ...

    def features_graph(self) -> bytes:
        """Return the graph from `image` to `embedding` float32 `[N, F]`."""
        ...

    def embed(self, pixels: Images) -> Float32:
        """Return the embeddings of a few images, in float32.

        What the network was built with computes them. It is the reference that the shipped graph is compared with.
        """
        ...

    def with_head(self, head: keras.Model, temperature: float) -> Classifier:
        """Return the classifier with a head from the embedding to the logits."""
        ...


AnyNetwork: TypeAlias = Any  # a `Network`, or a Keras model in the form of `pooled_features`


@dataclass(frozen=True)
class KerasNetwork:
    """A `Network` of a Keras model from `image` to (feature_map, embedding).

    Nothing is attached to the model, which may be kept open for the next training: a classifier is made of a copy.
    """

    model: keras.Model

    @property
    def size(self) -> tuple[int, int]:
        """See `Network`."""
        height, width = (int(side) for side in self.model.input.shape[1:3])
        return height, width

    @property
    def width(self) -> int:
        """See `Network`."""
        return int(self.model.outputs[1].shape[-1])

    @property
    def origin(self) -> Mapping[str, Any]:
        """See `Network`."""
        return {}

    def features_graph(self) -> bytes:
        """See `Network`."""
        return classifier.features_to_onnx(self.model)

    def embed(self, pixels: Images) -> Float32:
        """See `Network`."""
        return np.asarray(self._embedding(pixels))

    @cached_property
    def _embedding(self) -> Any:
        """From pixels to embeddings, as one graph of TensorFlow's.

        Layer by layer Keras would hold every map until the last is done: 600 MB for eight images instead of 70.
        """
        import keras
        import tensorflow as tf

        to_embedding = keras.Model(self.model.input, self.model.outputs[1])
        signature = [tf.TensorSpec([None, *self.model.input.shape[1:]], self.model.input.dtype)]
        return tf.function(lambda x: tf.cast(to_embedding(x, training=False), tf.float32), input_signature=signature)

    def with_head(self, head: keras.Model, temperature: float) -> KerasClassifier:
        """See `Network`."""
        return KerasClassifier(classifier.complete(copied(self.model), head, temperature))


@dataclass(frozen=True)
class KerasClassifier:
    """A `Classifier` of a Keras model from `image` to calibrated `probabilities`."""

    model: keras.Model

    def to_onnx(self, known: Mahalanobis, about: Mapping[str, str], views: Sequence[str]) -> onnx.ModelProto:
        """See `Classifier`."""
        return classifier.to_onnx(self.model, known, about, views=views)

    def to_keras(self, views: Sequence[str]) -> keras.Model:
        """See `Classifier`."""
        return classifier.of_views(self.model, views) if len(views) > 1 else self.model


def as_network(network: AnyNetwork) -> Network:
    """Return a Keras model as a `Network`; a `Network` as it is."""
    return network if isinstance(network, Network) else KerasNetwork(network)
