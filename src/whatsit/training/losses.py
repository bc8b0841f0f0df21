"""What a training step makes small: cross-entropy, with a weight for each example."""

from __future__ import annotations

from typing import Any


def weighted_cross_entropy(targets: Any, logits: Any, weights: Any) -> Any:
    """Return the mean over the batch of `-w * sum(t * log_softmax(x))`, a float32 scalar tensor.

    The mean is over the number of examples, whatever their weights sum to: the meaning of Keras' `sample_weight`.

    Args:
        targets: float32 `[B, K]`, each row from 0 to 1 and with a sum of 1: a class, or a smoothed or mixed one.
        logits: float32 `[B, K]`.
        weights: float32 `[B]`, at least 0.
    """
    import tensorflow as tf

    # The fused operation takes softmax(x) - t for its gradient, which holds only for targets with a sum of 1. So a weight
    # must never be multiplied into the targets: it multiplies the loss, and with it the whole gradient.
    return tf.reduce_mean(weights * tf.nn.softmax_cross_entropy_with_logits(targets, logits))
