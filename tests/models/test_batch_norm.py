from __future__ import annotations

import numpy as np
import pytest

from whatsit.models.backend import load_keras
from whatsit.models.batch_norm import fast_batch_normalization

load_keras()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

MAPS = np.random.default_rng(0).normal(3.0, 2.0, (6, 5, 4, 8)).astype(np.float32)
WANTED = np.random.default_rng(1).normal(0.0, 1.0, MAPS.shape).astype(np.float32)
ABOUT = {"momentum": 0.9, "epsilon": 1e-5}


def trained(layer: keras.layers.Layer, maps: np.ndarray) -> list[np.ndarray]:
    """What a step of training gives: the result, the gradients of what goes in and of the weights, the moving figures."""
    layer.build(maps.shape)
    for number, weight in enumerate(layer.trainable_variables):
        weight.assign(np.linspace(0.5, 1.5 + number, maps.shape[-1]))
    values = tf.constant(maps)
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = layer(values, training=True)
        loss = tf.reduce_sum(result * WANTED)
    gradients = tape.gradient(loss, [values, *(weight.value for weight in layer.trainable_variables)])
    return [np.asarray(value) for value in (result, *gradients, *layer.non_trainable_variables)]


def test_a_step_is_that_of_keras() -> None:
    ours = trained(fast_batch_normalization(**ABOUT), MAPS)
    for found, wanted in zip(ours, trained(keras.layers.BatchNormalization(**ABOUT), MAPS), strict=True):
        assert np.abs(found - wanted).max() <= 1e-4 * max(np.abs(wanted).max(), 1.0)


def test_asked_it_answers_by_the_moving_figures() -> None:
    ours, theirs = fast_batch_normalization(**ABOUT), keras.layers.BatchNormalization(**ABOUT)
    for layer in (ours, theirs):
        trained(layer, MAPS)
    assert np.allclose(ours(MAPS), theirs(MAPS), atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_result_has_the_type_of_the_policy(policy: str) -> None:
    layer = fast_batch_normalization(**ABOUT, dtype=policy)
    assert layer(MAPS, training=True).dtype == keras.mixed_precision.DTypePolicy(policy).compute_dtype
    assert {weight.dtype for weight in layer.weights} == {"float32"}
