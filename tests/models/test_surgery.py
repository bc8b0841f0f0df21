from __future__ import annotations

import functools

import numpy as np
import pytest

from whatsit.errors import ModelError
from whatsit.models.backbones import BACKBONES, build
from whatsit.models.backend import load_keras
from whatsit.models.classifier import pooled_features
from whatsit.models.surgery import copied, copy_weights, cut, folded

load_keras()
import keras  # noqa: E402

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)


def network(name: str = "efficientnet-lite0", depths: str = "all") -> keras.Model:
    """Random weights, batch-norm statistics that do something."""
    keras.utils.set_random_seed(1)
    model = pooled_features(build(name, 32, weights="none"), depths)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 1.5, weights.shape) for weights in layer.get_weights()])
    return model


@functools.cache
def folded_once(depths: str) -> keras.Model:
    """For tests that only read it."""
    return folded(network(depths=depths))


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite0-tiny", "mobilenetv2", "resnet50", "vgg16"])
def test_folding_changes_nothing_and_leaves_no_batch_norm(name: str) -> None:
    model = network(name)
    plain = folded(model)
    assert not [layer.name for layer in plain.layers if isinstance(layer, keras.layers.BatchNormalization)]
    own = [layer for layer in plain.layers if layer.weights and layer.name != "rgb_to_bgr"]
    assert len(own) == BACKBONES[name].layers
    for ours, theirs in zip(plain(PICTURES), model(PICTURES), strict=True):
        scale = float(np.abs(theirs).max())
        assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() <= 1e-4 * scale


@pytest.mark.parametrize("case", ["its values go out", "it has an activation", "an addition uses it too"])
def test_convolution_is_folded_only_where_that_changes_nothing(case: str) -> None:
    image = keras.Input((8, 8, 3), name="image")
    plain = keras.layers.Conv2D(4, 3, activation="relu" if case == "it has an activation" else None)(image)
    normed = keras.layers.BatchNormalization()(plain)
    outputs = {
        "its values go out": [plain, normed],
        "it has an activation": [normed],
        "an addition uses it too": [keras.layers.Add()([plain, normed])],
    }[case]
    model = keras.Model(image, outputs)
    for layer in model.layers:
        layer.set_weights([RNG.uniform(-0.5, 1.5, weights.shape) ** 2 + 0.1 for weights in layer.get_weights()])
    pictures = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
    for ours, theirs in zip(folded(model)(pictures), model(pictures), strict=True):
        assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() <= 1e-4


def test_copy_says_the_same_and_takes_what_is_attached_to_it() -> None:
    model = network()
    copy = copied(model)
    assert np.array_equal(copy(PICTURES)[1], model(PICTURES)[1])
    assert not {id(layer) for layer in copy.layers} & {id(layer) for layer in model.layers}


@pytest.mark.parametrize("count", [1, 3, 20, 45])
@pytest.mark.parametrize("depths", ["all", "last"])
def test_cut_network_says_the_same(count: int, depths: str) -> None:
    plain = folded_once(depths)
    parts = cut(plain, count)
    assert max(1, count - 2) <= parts.layers <= count
    whole, joined = plain(PICTURES), parts.top(parts.bottom(PICTURES)[1])
    assert np.abs(np.asarray(whole[1]) - np.asarray(joined[1])).max() <= 1e-5


def test_more_layers_than_there_are() -> None:
    with pytest.raises(ModelError, match="there are 49 layers with weights; 49 cannot be cut off"):
        cut(folded_once("all"), 49)


def test_mixed_network_computes_in_bfloat16_up_to_its_outputs() -> None:
    mixed = folded(network(), dtype="mixed_bfloat16", for_training=True)
    kinds = {type(layer).__name__: layer.compute_dtype for layer in mixed.layers if layer.weights}
    assert kinds == {
        "Conv2D": "bfloat16",
        "FastPointwiseConv2D": "bfloat16",
        "FastDepthwiseConv2D": "bfloat16",
    }
    assert {output.dtype for output in mixed.outputs} == {"float32"}
    assert {weight.dtype for weight in mixed.weights} == {"float32"}


def test_weights_are_copied_by_name() -> None:
    one, other = folded_once("all"), folded(network())
    other.get_layer("stem_conv").set_weights([weights + 1 for weights in other.get_layer("stem_conv").get_weights()])
    assert not np.array_equal(one(PICTURES)[1], other(PICTURES)[1])
    copy_weights(one, other)
    assert np.array_equal(one(PICTURES)[1], other(PICTURES)[1])
