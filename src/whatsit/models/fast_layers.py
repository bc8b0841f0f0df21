"""Layers that train faster than Keras' own, which are what is saved."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


def fast_batch_normalization(**settings: Any) -> keras.layers.Layer:
    """Return a batch normalization that trains by TensorFlow's fused operation.

    It has the arguments and weights of Keras' layer (Ioffe & Szegedy 2015), with channels last, and trains four to six times
    as fast: Keras makes a dozen passes over the map, in float32.
    """
    return _batch_normalization()(**settings)


@functools.cache
def _batch_normalization() -> Any:
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


def fast_depthwise() -> Any:
    """Return a `DepthwiseConv2D` whose kernel gradient is a matrix product.

    Its factors are all places of the map. TensorFlow's own takes 10 ms for a 5x5 kernel on 64 maps of 3 x 3 x 1152; this takes
    2, and gives the same numbers.
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
            # kernel without depth multiplier, which is checked just above, and float32, which `folded` holds depthwise layers to.
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
    """Return which input and output meet at a tap, `[side^2, small^2, kernel^2]`."""
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
