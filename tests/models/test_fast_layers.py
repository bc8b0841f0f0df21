from __future__ import annotations

import numpy as np
import pytest

from whatsit.models.backend import layer_policy, load_keras
from whatsit.models.fast_layers import fast_batch_normalization, fast_depthwise, fast_pointwise

# Other instructions are other kernels of oneDNN; those of bfloat16 are tested where the processor has it.
pytestmark = pytest.mark.isa

load_keras()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

MAPS = np.random.default_rng(0).normal(3.0, 2.0, (6, 5, 4, 8)).astype(np.float32)
WANTED = np.random.default_rng(1).normal(0.0, 1.0, MAPS.shape).astype(np.float32)
POLICIES = sorted({"float32", layer_policy()})  # what layers are trained in here
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


def by_formula(maps: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """What `trained` gives, by the formulas of the paper in float64."""
    x, g = maps.astype(np.float64), wanted.astype(np.float64)
    channels = x.shape[-1]
    gamma, beta = np.linspace(0.5, 1.5, channels), np.linspace(0.5, 2.5, channels)
    axes = (0, 1, 2)
    mean, variance = x.mean(axis=axes), x.var(axis=axes)
    normal = (x - mean) / np.sqrt(variance + ABOUT["epsilon"])
    back = (
        gamma / np.sqrt(variance + ABOUT["epsilon"]) * (g - g.mean(axis=axes) - normal * (g * normal).mean(axis=axes))
    )
    moving = [0.1 * mean, 0.9 + 0.1 * variance]
    return [normal * gamma + beta, back, (g * normal).sum(axis=axes), g.sum(axis=axes), *moving]


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (2, 1, 1, 4), (1, 3, 3, 4), (7, 5, 3, 4), (33, 2, 2, 4)], ids=str)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_step_is_that_of_the_formula(shape: tuple[int, ...], policy: str) -> None:
    rng = np.random.default_rng(2)
    maps, wanted = (rng.normal(1.0, 2.0, shape).astype(np.float32) for _ in range(2))
    exact = policy == "float32"
    if not exact:  # both ways begin with what bfloat16 can hold
        maps, wanted = (tf.cast(tf.cast(value, tf.bfloat16), tf.float32).numpy() for value in (maps, wanted))
    layer = fast_batch_normalization(**ABOUT, dtype=policy)
    layer.build(shape)
    for number, weight in enumerate(layer.trainable_variables):
        weight.assign(np.linspace(0.5, 1.5 + number, shape[-1]))
    values = tf.constant(maps, layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = layer(values, training=True)
    gradients = tape.gradient(
        result, [values, *(weight.value for weight in layer.trainable_variables)], tf.constant(wanted, result.dtype)
    )
    found = [np.asarray(tf.cast(value, tf.float32)) for value in (result, *gradients, *layer.non_trainable_variables)]
    # bfloat16 keeps 8 bits, a step of 0.8 %, of what goes in and of what comes out; sums are float32 in both.
    bound = 1e-4 if exact else 1e-2
    for ours, theirs in zip(found, by_formula(maps, wanted), strict=True):
        assert np.isfinite(ours).all()
        assert np.abs(ours - theirs).max() <= bound * max(np.abs(theirs).max(), 1.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_result_has_the_type_of_the_policy(policy: str) -> None:
    layer = fast_batch_normalization(**ABOUT, dtype=policy)
    assert layer(MAPS, training=True).dtype == keras.mixed_precision.DTypePolicy(policy).compute_dtype
    assert {weight.dtype for weight in layer.weights} == {"float32"}


def stepped(
    layer: keras.layers.Layer, maps: np.ndarray, weights: list[np.ndarray], wanted: np.ndarray
) -> list[np.ndarray]:
    """The result, and the gradients of map and weights, all float32."""
    if not layer.built:
        layer.build(maps.shape)
    layer.set_weights(weights)
    inputs = tf.constant(maps, layer.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = layer(inputs)
    gradients = tape.gradient(result, [inputs, *layer.trainable_variables], tf.constant(wanted, result.dtype))
    return [np.asarray(tf.cast(value, tf.float32)) for value in (result, *gradients)]


def depthwise(x: np.ndarray, kernel: np.ndarray, stride: int, g: np.ndarray) -> list[np.ndarray]:
    """A depthwise convolution with "same" padding tap by tap, and its gradients for a gradient g of the result."""
    side, size = x.shape[1], kernel.shape[0]
    small = -(-side // stride)
    total = max((small - 1) * stride + size - side, 0)
    edge = (total // 2, total - total // 2)
    wide = np.pad(x, ((0, 0), edge, edge, (0, 0)))
    result, back, for_kernel = np.zeros(g.shape), np.zeros(wide.shape), np.zeros(kernel.shape)
    for v in range(size):
        for u in range(size):
            rows, columns = (slice(tap, tap + (small - 1) * stride + 1, stride) for tap in (v, u))
            seen = wide[:, rows, columns]
            result += seen * kernel[v, u, :, 0]
            back[:, rows, columns] += g * kernel[v, u, :, 0]
            for_kernel[v, u, :, 0] = (seen * g).sum(axis=(0, 1, 2))
    return [result, back[:, edge[0] : edge[0] + side, edge[0] : edge[0] + side], for_kernel, g.sum(axis=(0, 1, 2))]


def held(values: np.ndarray, policy: str) -> np.ndarray:
    """What a policy can hold of some values."""
    return values if policy == "float32" else np.asarray(tf.cast(tf.cast(values, tf.bfloat16), tf.float32), np.float64)


# bfloat16 keeps 8 bits, a step of 0.8 %; a kernel's gradient in it is put together from pairs of places that are rounded too.
NEAR = {"float32": 1e-5, "mixed_bfloat16": 2e-2}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 24])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("policy", POLICIES)
def test_depthwise_convolution_is_the_formula(policy: str, size: int, side: int, stride: int) -> None:
    rng, small = np.random.default_rng(3), -(-side // stride)
    shapes = (3, side, side, 4), (size, size, 4, 1), (3, small, small, 4)
    maps, kernel, wanted = (held(rng.normal(size=shape), policy) for shape in shapes)
    found = stepped(fast_depthwise()(size, stride, "same", dtype=policy), maps, [kernel, np.zeros(4)], wanted)
    for ours, theirs in zip(found, depthwise(maps, kernel, stride, wanted), strict=True):
        assert np.abs(ours - theirs).max() <= NEAR[policy] * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize(
    "settings",
    [{}, {"padding": "valid"}, {"padding": "valid", "strides": 2}, {"depth_multiplier": 2}, {"dilation_rate": 2}],
    ids=str,
)
@pytest.mark.parametrize("side", [6, 9])
def test_depthwise_convolution_of_other_settings_is_keras_own(side: int, settings: dict[str, object]) -> None:
    rng = np.random.default_rng(4)
    settings = {"kernel_size": 3, "activation": "relu"} | settings
    usual = keras.layers.DepthwiseConv2D(**settings)
    maps = rng.normal(size=(2, side, side, 4))
    usual.build(maps.shape)
    weights = [rng.normal(size=weight.shape) for weight in usual.weights]
    wanted = rng.normal(size=usual(maps).shape)
    found = stepped(fast_depthwise()(**settings), maps, weights, wanted)
    for ours, theirs in zip(found, stepped(usual, maps, weights, wanted), strict=True):
        assert np.abs(ours - theirs).max() <= 1e-5 * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 3, 3), (2, 5, 7), (2, 17, 17)], ids=str)
@pytest.mark.parametrize("policy", POLICIES)
def test_pointwise_convolution_is_the_formula(policy: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    maps, kernel, wanted = (held(rng.normal(size=size), policy) for size in ((*shape, 6), (6, 4), (*shape, 4)))
    found = stepped(fast_pointwise()(4, 1, dtype=policy), maps, [kernel[None, None], np.zeros(4)], wanted)
    product = np.einsum("nyxi,nyxo->io", maps, wanted)
    for ours, theirs in zip(
        found, [maps @ kernel, wanted @ kernel.T, product[None, None], wanted.sum(axis=(0, 1, 2))], strict=True
    ):
        assert np.abs(ours - theirs).max() <= NEAR[policy] * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize("settings", [{"strides": 2}, {"groups": 2}, {"activation": "relu"}], ids=str)
def test_pointwise_convolution_of_other_settings_is_keras_own(settings: dict[str, object]) -> None:
    rng = np.random.default_rng(6)
    usual = keras.layers.Conv2D(4, 1, **settings)
    maps = rng.normal(size=(2, 5, 5, 6))
    usual.build(maps.shape)
    weights = [rng.normal(size=weight.shape) for weight in usual.weights]
    wanted = rng.normal(size=usual(maps).shape)
    found = stepped(fast_pointwise()(4, 1, **settings), maps, weights, wanted)
    for ours, theirs in zip(found, stepped(usual, maps, weights, wanted), strict=True):
        assert np.abs(ours - theirs).max() <= 1e-5 * max(1.0, np.abs(theirs).max())
