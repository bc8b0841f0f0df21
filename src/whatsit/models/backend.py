"""Load Keras on TensorFlow for everything that builds or trains a network."""

from __future__ import annotations

import functools

from whatsit.engines import available, tensorflow, training_precision
from whatsit.errors import require_packages


def load_keras() -> None:
    """Import Keras with TensorFlow. Raises `MissingExtraError` if one is missing."""
    require_packages("Training", "train", "tensorflow", "keras", "onnx")
    tensorflow.load_keras()


def layer_policy() -> str:
    """Return the Keras policy in which dense convolutions train fastest here.

    That is `mixed_bfloat16` where the processor has it and TensorFlow computes in it, else `float32`. On two cores with AVX-512
    it trained a small CNN 1.5 to 2.5 times as fast. Depthwise convolutions are slower in it.
    """
    if "openvino" not in available():  # it knows what the processor has
        return "float32"
    return "mixed_bfloat16" if training_precision("openvino") == "bfloat16" and _computes_in_bfloat16() else "float32"


@functools.cache
def _computes_in_bfloat16() -> bool:
    """Return whether TensorFlow has a convolution in bfloat16.

    Its oneDNN may be limited to less than the processor has.
    """
    import tensorflow as tf

    image, kernel = tf.ones((1, 4, 4, 8), tf.bfloat16), tf.ones((3, 3, 8, 8), tf.bfloat16)
    try:
        tf.nn.bias_add(tf.nn.conv2d(image, kernel, 1, "SAME"), tf.ones(8, tf.bfloat16))
    except tf.errors.OpError:
        return False
    return True
