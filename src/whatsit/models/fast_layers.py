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


SMALL_MAP = 16  # side to which the gradient of a 1x1 kernel is a matrix product
TINY_MAP = 8  # side to which that of a depthwise kernel may be a matrix product


@functools.cache
def fast_pointwise() -> Any:
    """Return a `Conv2D` of 1x1 kernels with faster gradients.

    On small maps they are matrix products. For 64 maps of 3 x 3 x 1152 and 320 filters TensorFlow's gradient of the kernel takes
    10 ms in bfloat16 with AMX, the product 1.5.
    """
    import tensorflow as tf
    from keras import layers

    class FastPointwiseConv2D(layers.Conv2D):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            channels, filters = inputs.shape[3], self.filters
            usual = self.kernel_size != (1, 1) or self.strides != (1, 1) or self.groups != 1
            if usual or _has_gpu():
                return super().call(inputs)

            # It assumes kernels of 1 x 1, one stride and one group, which is checked just above.
            @tf.custom_gradient  # type: ignore[untyped-decorator]
            def convolve(x: Any, kernel: Any) -> Any:
                def gradient(g: Any) -> Any:
                    seen, wanted = tf.reshape(x, (-1, channels)), tf.reshape(g, (-1, filters))
                    back = tf.matmul(wanted, tf.reshape(kernel, (channels, filters)), transpose_b=True)
                    for_kernel = tf.matmul(seen, wanted, transpose_a=True)
                    return tf.reshape(back, tf.shape(x)), tf.reshape(for_kernel, tf.shape(kernel))

                return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient

            kernel = tf.convert_to_tensor(self.kernel)
            if max(inputs.shape[1:3]) > SMALL_MAP:
                return _finished(self, tf.nn.conv2d(inputs, kernel, 1, "SAME"))
            return _finished(self, convolve(inputs, kernel))

    return FastPointwiseConv2D


@functools.cache
def fast_depthwise() -> Any:
    """Return a `DepthwiseConv2D` with faster gradients, and the same numbers.

    TensorFlow has a fast gradient of 3x3 kernels alone, on maps that are as large: that of a 5x5 kernel takes 13 ms on 64 maps of
    3 x 3 x 1152 (65 in bfloat16). As a matrix product, whose factors are all places of the map, it takes 1; on larger maps it is
    put together from those of four 3x3 kernels.

    With strides, the gradient of the map in bfloat16 takes nine times as long as in float32 (175 ms on 64 maps of 48 x 48 x 96),
    and is computed in that.
    """
    import tensorflow as tf
    from keras import layers

    class FastDepthwiseConv2D(layers.DepthwiseConv2D):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            if self.depth_multiplier != 1 or self.dilation_rate != (1, 1) or _has_gpu():
                return super().call(inputs)
            padding, steps = self.padding.upper(), (1, *self.strides, 1)
            side = inputs.shape[1]
            square = side == inputs.shape[2] and self.padding == "same"
            own = square and (self.kernel_size == (5, 5) or (self.kernel_size == (3, 3) and side < 3))

            # The gradients assume one input channel a kernel and no dilation, which is checked just above.
            @tf.custom_gradient  # type: ignore[untyped-decorator]
            def convolve(x: Any, kernel: Any) -> Any:
                def for_input(g: Any) -> Any:
                    exact = tf.float32 if self.strides != (1, 1) else g.dtype
                    wide = tf.cast(kernel, exact), tf.cast(g, exact)
                    return tf.cast(tf.nn.depthwise_conv2d_backprop_input(tf.shape(x), *wide, steps, padding), g.dtype)

                def gradient(g: Any) -> Any:
                    if own:
                        return for_input(g), _kernel_gradient(x, g, self.kernel_size[0], self.strides[0])
                    return for_input(g), tf.nn.depthwise_conv2d_backprop_filter(x, tf.shape(kernel), g, steps, padding)

                return tf.nn.depthwise_conv2d(x, kernel, steps, padding), gradient

            return _finished(self, convolve(inputs, tf.convert_to_tensor(self.kernel)))

    return FastDepthwiseConv2D


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _finished(layer: Any, maps: Any) -> Any:
    """Return a layer's results, `[N, h, w, C]`, with bias and activation.

    The gradient of the bias is a matrix product: TensorFlow's own sum takes three times as long in bfloat16, and adds up in it.
    """
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def add(value: Any, bias: Any) -> Any:
        def gradient(g: Any) -> Any:
            flat = tf.reshape(g, (-1, g.shape[3]))
            return g, tf.reshape(tf.matmul(tf.ones((1, tf.shape(flat)[0]), g.dtype), flat), (-1,))

        return tf.nn.bias_add(value, bias), gradient

    return layer.activation(add(maps, tf.convert_to_tensor(layer.bias)) if layer.use_bias else maps)


def _kernel_gradient(x: Any, g: Any, size: int, stride: int) -> Any:
    """Return the gradient of a depthwise kernel, padding "same", `[size, size, C, 1]`.

    Its size is 5, or any on a map of up to `TINY_MAP`. `x` is a square map, `[N, side, side, C]`, `g` the gradient of the result.
    """
    import tensorflow as tf

    side, small, channels = x.shape[1], g.shape[1], x.shape[3]
    if side <= TINY_MAP:
        count = tf.shape(x)[0]
        seen = tf.transpose(tf.reshape(x, (count, side * side, channels)), (2, 1, 0))
        wanted = tf.transpose(tf.reshape(g, (count, small * small, channels)), (2, 0, 1))
        pairs = tf.cast(tf.reshape(tf.matmul(seen, wanted), (channels, -1)), tf.float32)
        placement = tf.constant(_placement(side, size, stride).reshape(-1, size**2))
        return tf.cast(tf.reshape(tf.transpose(tf.matmul(pairs, placement)), (size, size, channels, 1)), g.dtype)
    total = max((small - 1) * stride + 5 - side, 0)
    edge = [total // 2, total - total // 2]
    wide, width = tf.pad(x, [[0, 0], edge, edge, [0, 0]]), (small - 1) * stride + 3

    def of_taps(v: int, u: int) -> Any:
        """Return the gradient of the 3x3 taps from that row and column on."""
        seen = wide[:, v : v + width, u : u + width]
        return tf.nn.depthwise_conv2d_backprop_filter(seen, (3, 3, channels, 1), g, (1, stride, stride, 1), "VALID")

    upper, lower = (tf.concat([of_taps(v, 0), of_taps(v, 2)[:, 1:]], axis=1) for v in (0, 2))
    return tf.concat([upper, lower[1:]], axis=0)


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
