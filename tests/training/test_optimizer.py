"""Weights are moved as Keras moves them."""

from __future__ import annotations

from collections.abc import Sequence

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


def by_formula(
    weight: np.ndarray, gradients: Sequence[np.ndarray], rates: Sequence[float], decay: float, steps: int
) -> np.ndarray:
    """Adam as in the paper, in float64, with decoupled decay; `steps` have been made before, none of which moved anything."""
    w, m, v = weight.astype(np.float64), 0.0, 0.0
    for step, (g, rate) in enumerate(zip(gradients, rates, strict=True), steps + 1):
        w = w - w * decay * rate
        m, v = 0.9 * m + 0.1 * g.astype(np.float64), 0.999 * v + 0.001 * np.square(g.astype(np.float64))
        right = np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        w = w - rate * right * m / (np.sqrt(v) + 1e-7)
    return w


@pytest.mark.parametrize("steps", [0, 1000, 10_000_000, 2**24 + 5])
@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e4, 0.0])
def test_fused_adam_is_the_formula(steps: int, decay: float, scale: float) -> None:
    load_keras()
    import keras
    import tensorflow as tf

    rng = np.random.default_rng(3)
    start = rng.normal(size=(6, 5)).astype(np.float32)
    variable = keras.Variable(start, name="kernel")
    optimizer = make_optimizer([variable], Recipe(weight_decay=decay))
    optimizer.variables[-1].assign(float(steps))
    gradients = [(scale * rng.normal(size=start.shape)).astype(np.float32) for _ in range(6)]
    rates = [0.01, 0.02, 0.0, 0.005, 1.0, 1e-6]
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.apply([tf.constant(gradient)], tf.constant(rate))
    wanted = by_formula(start, gradients, rates, decay, steps)
    # A step moves a weight by up to its rate; 1 - 0.999 holds 5 digits in float32.
    assert np.abs(variable.numpy() - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted - start).max())


def test_rate_of_zero_moves_no_weight_but_counts() -> None:
    load_keras()
    import keras
    import tensorflow as tf

    variable = keras.Variable(np.ones((3, 2), np.float32), name="kernel")
    optimizer = make_optimizer([variable], Recipe(weight_decay=0.1))
    optimizer.apply([tf.ones((3, 2))], tf.constant(0.0))
    assert np.array_equal(variable.numpy(), np.ones((3, 2)))
    assert float(optimizer.variables[-1]) == 1.0
