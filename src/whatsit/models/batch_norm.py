"""Batch normalization (Ioffe & Szegedy 2015) that trains four to six times as fast as Keras' on a processor."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def fast_batch_normalization(**about: Any) -> keras.layers.Layer:
    """Keras' layer with the same arguments and weights, which trains by TensorFlow's fused operation. Channels come last.

    Keras makes a dozen passes over the map, in float32. For training only: what is saved has Keras' own layer.
    """
    return _layer()(**about)


@functools.cache
def _layer() -> Any:
    import keras
    import tensorflow as tf

    class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not (training and self.trainable):
                return super().call(inputs, training=training, mask=mask)
            # It assumes channels last, gamma and beta, and at least one place; it takes the map in float32 or bfloat16, and
            # weights and statistics in float32, as the policies of `layer_policy` have them. The variance that it gives is the
            # estimate of what the batch is drawn from, its sum divided by max(count - 1, 1).
            outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs, self.gamma.value, self.beta.value, epsilon=self.epsilon, is_training=True
            )
            count = tf.cast(tf.size(inputs) / tf.shape(inputs)[-1], tf.float32)
            variance *= tf.maximum(count - 1.0, 1.0) / count  # as Keras has it: of the batch
            for moving, seen in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + seen * (1.0 - self.momentum))
            return outputs

    return BatchNormalization
