from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whatsit.models.backend import load_keras
from whatsit.models.classifier import add_head
from whatsit.training.batches import FeatureBatches, Targets
from whatsit.training.recipe import Recipe
from whatsit.training.trainer import Trainer, weighted_cross_entropy

load_keras()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402


def plain(targets: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient of `mean(-w * sum(t * log_softmax(x)))` in float64, by automatic differentiation."""
    x = tf.constant(logits, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        shifted = x - tf.reduce_max(x, axis=1, keepdims=True)
        log_softmax = shifted - tf.math.log(tf.reduce_sum(tf.exp(shifted), axis=1, keepdims=True))
        value = tf.reduce_mean(-tf.constant(weights, tf.float64) * tf.reduce_sum(targets * log_softmax, axis=1))
    return float(value), tape.gradient(value, x).numpy()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 9),
    classes=st.integers(2, 12),
    spread=st.floats(0.01, 30.0),
    kind=st.sampled_from(["classes", "smoothed", "mixed"]),
)
def test_value_and_gradient_are_those_of_the_plain_formula(
    seed: int, rows: int, classes: int, spread: float, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    targets = np.eye(classes)[rng.integers(classes, size=rows)]
    if kind == "smoothed":
        targets = 0.9 * targets + 0.1 / classes
    elif kind == "mixed":
        targets = rng.dirichlet(np.full(classes, 0.5), rows)
    weights, logits = rng.uniform(0.0, 50.0, rows), rng.normal(0.0, spread, (rows, classes))
    targets, weights, logits = (array.astype(np.float32).astype(np.float64) for array in (targets, weights, logits))
    x = tf.constant(logits, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = weighted_cross_entropy(targets.astype(np.float32), x, weights.astype(np.float32))
    wanted, gradient = plain(targets, logits, weights)
    # Rounding of float32: targets of mixed rows have a sum of 1 within 1e-6, which the gradient shares.
    assert float(value) == pytest.approx(wanted, rel=1e-5, abs=1e-5)
    assert np.allclose(tape.gradient(value, x).numpy(), gradient, rtol=1e-4, atol=2e-6 * weights.max())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("way", ["none", "balanced", "sqrt"])
def test_a_step_moves_weights_by_the_gradient_of_the_plain_formula(way: str, smoothing: float) -> None:
    # One plain step of gradient descent tells what gradient the compiled step has.
    recipe = Recipe(optimizer="sgd", dropout=0.0, class_weights=way, label_smoothing=smoothing)
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 8, 4])
    features = rng.normal(0.0, 0.1, (52, 5)).astype(np.float16)
    targets = Targets.of(labels, 3, recipe)
    keras.utils.set_random_seed(0)
    source = keras.Input((5,))
    model = keras.Model(source, add_head(source, 3, hidden=0, dropout=0.0, standardize=False))
    kernel = model.get_layer("logits").get_weights()[0].astype(np.float64)
    inputs, rows, weights = FeatureBatches([features], labels, targets, 64, 0).batch(1, 0)
    _, at_logits = plain(rows.astype(np.float64), inputs @ kernel, weights)
    Trainer(model, recipe).step(inputs, rows, weights, 0.1)
    # Nesterov's first step goes 1.9 times as far as the gradient.
    moved = kernel - 0.1 * 1.9 * (inputs.astype(np.float64).T @ at_logits)
    assert np.allclose(model.get_layer("logits").get_weights()[0], moved, atol=1e-6)
