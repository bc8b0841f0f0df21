"""Weights are moved as Keras moves them."""

from __future__ import annotations

import numpy as np
import pytest

from whatsit.models.backend import load_keras
from whatsit.training.optimizer import make_optimizer
from whatsit.training.recipe import Recipe


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_fused_adam_does_what_keras_does(decay: float) -> None:
    load_keras()
    import keras
    import tensorflow as tf

    def model() -> keras.Model:
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((5,)), keras.layers.Dense(4), keras.layers.Dense(3)])

    ours, theirs = model(), model()
    reference = keras.optimizers.Adam(0.01, weight_decay=decay or None)
    if decay:
        reference.exclude_from_weight_decay(var_names=["bias"])
    optimizer = make_optimizer(ours.trainable_variables, Recipe(weight_decay=decay))
    before = [weight.copy() for weight in ours.get_weights()]
    rng = np.random.default_rng(0)
    for step in range(1, 6):
        gradients = [tf.constant(rng.normal(size=weight.shape), tf.float32) for weight in before]
        reference.learning_rate.assign(0.01 / step)
        reference.apply_gradients(zip(gradients, theirs.trainable_variables, strict=True))
        optimizer.apply(gradients, tf.constant(0.01 / step))
    for start, mine, wanted in zip(before, ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.abs(mine - start).max() > 0.005
        assert mine == pytest.approx(wanted, abs=1e-6)
