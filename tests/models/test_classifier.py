from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whatsit.engines import available, open_engine
from whatsit.errors import ModelError
from whatsit.graph.builder import OUTPUTS
from whatsit.images.views import apply_view
from whatsit.models import backbones, classifier
from whatsit.models.backend import load_keras
from whatsit.models.cnn import build_cnn, modern_cnn, set_whitening
from whatsit.models.unknown import Mahalanobis
from whatsit.training.unknown import fit_mahalanobis

load_keras()
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
SCRATCH = ("simple-cnn", "modern-cnn")
KINDS = (*SCRATCH, "last", "all")


def make(kind: str, temperature: float = 1.7) -> keras.Model:
    """A classifier of 4 classes with random weights."""
    keras.utils.set_random_seed(3)
    if kind in SCRATCH:
        features = classifier.flat_features(build_cnn(kind, 32))
    else:
        features = classifier.pooled_features(backbones.build("efficientnet-lite0", 64, upscale=2), kind)
    embedding = keras.Input((features.outputs[1].shape[-1],))
    frozen, hidden = kind not in SCRATCH, 0 if kind == "modern-cnn" else 16
    head = keras.Model(embedding, classifier.add_head(embedding, 4, hidden=hidden, dropout=0.5, standardize=frozen))
    if frozen:
        width = embedding.shape[-1]
        classifier.set_standard(head, np.linspace(0, 1, width), np.linspace(0.5, 2, width))
    return classifier.complete(features, head, temperature)


def known(model: keras.Model) -> Mahalanobis:
    """Some distance of the width that the model's embedding has."""
    rng = np.random.default_rng(0)
    width = classifier.ood_features(model).shape[-1]
    return fit_mahalanobis(np.abs(rng.normal(0, 1, (60, width))), np.arange(60) % 4, 4)


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> keras.Model:
    return make(request.param)


@pytest.mark.parametrize("runtime", available())
def test_graph_answers_like_keras(model: keras.Model, runtime: str) -> None:
    graph = classifier.to_onnx(model, known(model), {}).SerializeToString()
    outputs = dict(zip(OUTPUTS, open_engine(graph, OUTPUTS, runtime=runtime).run(PIXELS), strict=True))
    assert np.abs(outputs["probabilities"] - np.asarray(model(PIXELS, training=False))).max() <= 1e-5
    for name in ("logits", "embedding", "feature_map"):
        wanted = np.asarray(keras.Model(model.input, model.get_layer(name).output)(PIXELS, training=False))
        assert outputs[name].shape == wanted.shape
        assert np.abs(outputs[name] - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


def test_probabilities_are_calibrated_inside_the_graph(model: keras.Model) -> None:
    graph = classifier.to_onnx(model, known(model), {}).SerializeToString()
    probabilities, logits = open_engine(graph, ["probabilities", "logits"]).run(PIXELS)
    scaled = np.exp(logits / 1.7)
    assert np.abs(probabilities - scaled / scaled.sum(axis=1, keepdims=True)).max() <= 1e-5


@pytest.mark.parametrize("runtime", available())
def test_ood_score_equals_the_reference(model: keras.Model, runtime: str) -> None:
    distance = known(model)
    graph = classifier.to_onnx(model, distance, {}).SerializeToString()
    [score] = open_engine(graph, ["ood_score"], runtime=runtime).run(PIXELS)
    features = np.asarray(keras.Model(model.input, classifier.ood_features(model))(PIXELS, training=False))
    assert score.shape == (3,)
    assert score == pytest.approx(distance.score(features), rel=1e-4)


def test_gradcam_weights_equal_the_gradients(model: keras.Model) -> None:
    """Against `tf.GradientTape`: the mean over the last map of each logit's gradient."""
    to_map = keras.Model(model.input, model.get_layer("feature_map").output)
    graph = classifier.to_onnx(model, known(model), {}).SerializeToString()
    [found] = open_engine(graph, ["gradcam_weights"]).run(PIXELS)
    with tf.GradientTape(persistent=True) as tape:
        shift = tf.Variable(tf.zeros(to_map.compute_output_shape((3, 32, 32, 3))))
        logits = _logits_with(model, PIXELS, shift)
        columns = [logits[:, k] for k in range(4)]
    wanted = np.stack([tape.gradient(column, shift).numpy().mean(axis=(1, 2)) for column in columns], axis=1)
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def _logits_with(model: keras.Model, pixels: np.ndarray, shift: tf.Variable) -> tf.Tensor:
    """The logits when `shift` is added to the last map: the model run again layer by layer."""
    values: dict[int, tf.Tensor] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            values[id(layer.output)] = tf.constant(pixels)
            continue
        inputs = [values[id(t)] for t in (layer.input if isinstance(layer.input, list) else [layer.input])]
        value = layer(inputs if isinstance(layer.input, list) else inputs[0], training=False)
        if layer.name == "feature_map":
            value = value + shift
        values[id(layer.output)] = value
    return values[id(model.get_layer("logits").output)]


@pytest.mark.parametrize("runtime", available())
def test_every_view_is_asked(model: keras.Model, runtime: str) -> None:
    """`probabilities` and `logits` are of all, all else is the picture's own, and Keras says the same."""
    views = ("original", "flip", "flip-2", "original+2")
    graph = classifier.to_onnx(model, known(model), {}, views=views).SerializeToString()
    plain = classifier.to_onnx(model, known(model), {}).SerializeToString()
    every = dict(zip(OUTPUTS, open_engine(graph, OUTPUTS, runtime=runtime).run(PIXELS), strict=True))
    engine = open_engine(plain, OUTPUTS, runtime=runtime)
    each = [dict(zip(OUTPUTS, engine.run(apply_view(PIXELS, view)), strict=True)) for view in views]
    one, scale = each[0], np.abs(each[0]["logits"]).max()
    assert np.abs(every["logits"] - np.mean([one["logits"] for one in each], axis=0)).max() <= 1e-5 * scale
    for name in ("embedding", "feature_map", "ood_score"):
        assert np.abs(every[name] - one[name]).max() <= 1e-4 * np.abs(one[name]).max()
    keras_says = np.asarray(classifier.of_views(model, views)(PIXELS, training=False))
    assert np.abs(every["probabilities"] - keras_says).max() <= 1e-5


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_model_of_several_views_can_be_saved(ending: str, tmp_path: Path) -> None:
    model = classifier.of_views(make("modern-cnn"), ("original", "flip-1", "flip+1"))
    model.save(tmp_path / f"model.{ending}")
    again = keras.models.load_model(tmp_path / f"model.{ending}")
    assert np.abs(np.asarray(again(PIXELS)) - np.asarray(model(PIXELS))).max() <= 1e-6


@pytest.mark.parametrize(("name", "size", "most"), [("simple-cnn", 8, 3), ("simple-cnn", 32, 5), ("modern-cnn", 32, 4)])
def test_filters_are_as_many_as_the_picture_allows(name: str, size: int, most: int) -> None:
    assert min(build_cnn(name, size, filters=(2,) * most).output[0].shape[1:3]) >= 1
    with pytest.raises(ModelError, match=f"{size} pixels allow at most {most}"):
        build_cnn(name, size, filters=(2,) * (most + 1))


def test_whitening_makes_patches_uncorrelated() -> None:
    pictures = np.random.default_rng(1).normal(128, 20, (50, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    pictures = (pictures + np.random.default_rng(2).normal(0, 5, pictures.shape)).clip(0, 255).astype(np.uint8)
    network = modern_cnn(32)
    set_whitening(network, pictures)
    white = keras.Model(network.input, network.get_layer("whiten").output)(pictures)
    covariance = np.cov(np.asarray(white)[:, ::2, ::2, :12].reshape(-1, 12).T)
    assert np.abs(covariance - np.eye(12)).max() <= 0.1
    assert not network.get_layer("whiten").trainable


def test_exports_are_the_same_bytes_every_time() -> None:
    assert (
        classifier.to_onnx(make("last"), known(make("last")), {}).SerializeToString()
        == classifier.to_onnx(make("last"), known(make("last")), {}).SerializeToString()
    )
