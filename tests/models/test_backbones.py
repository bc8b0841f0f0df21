from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import SHARED
from whatsit.engines import open_engine
from whatsit.errors import ModelError
from whatsit.images.decode import decode
from whatsit.images.scan import scan
from whatsit.models import backbones, classifier
from whatsit.models.backend import load_keras
from whatsit.models.weights import published_file, read_state_dict

load_keras()
import keras  # noqa: E402

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
REFERENCE_SCALING = {  # what each published network was trained on, from raw RGB
    "mobilenetv2": lambda x: x / 127.5 - 1,
    "vgg16": lambda x: x[..., ::-1] - np.array([103.939, 116.779, 123.68]),
    "resnet50": lambda x: x[..., ::-1] - np.array([103.939, 116.779, 123.68]),
}


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_exported_features_equal_those_of_keras(name: str) -> None:
    network = classifier.pooled_features(backbones.build(name, 64, weights="none"))
    wanted = np.asarray(network(PIXELS, training=False)[1])
    [found] = open_engine(classifier.features_to_onnx(network), ["embedding"], runtime="onnxruntime").run(PIXELS)
    assert found.shape == (2, network.outputs[1].shape[-1])
    assert np.abs(found - wanted).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("name", REFERENCE_SCALING)
def test_scaling_in_the_graph_is_the_published_one(name: str, tmp_path: Path) -> None:
    backbone = backbones.BACKBONES[name]
    stock = getattr(keras.applications, backbone.application)(include_top=False, weights=None, input_shape=(64, 64, 3))
    stock.save_weights(tmp_path / "x.weights.h5")
    ours = backbones.build(name, 64, weights=tmp_path / "x.weights.h5")
    wanted = keras.Model(stock.input, stock.get_layer(backbone.taps[-1]).output)(
        REFERENCE_SCALING[name](PIXELS.astype("float32"))
    )
    found = np.asarray(ours(PIXELS, training=False)[-1])
    assert np.abs(found - np.asarray(wanted)).max() <= 1e-4 * max(1.0, np.abs(wanted).max())


def test_upscale_takes_smaller_pictures_to_the_same_size() -> None:
    small = backbones.build("efficientnet-lite0", 64, upscale=2, weights="none")
    assert small.input.shape == (None, 32, 32, 3)
    assert small.outputs[-1].shape == (None, 2, 2, 1280)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_published_network_with_its_own_last_layer_knows_imagenet_classes(name: str, shared_data: Path) -> None:
    """Lite0 said of these photos: 96 % of dogs are one of ImageNet's dogs, 79 % of cats one of its few cats."""
    weights = read_state_dict(published_file(name))
    network = classifier.pooled_features(backbones.build(name, 224), "last")
    engine = open_engine(classifier.features_to_onnx(network), ["embedding"])
    dataset = scan(shared_data / "cats-dogs.zip")
    right = {"cat": 0, "dog": 0}
    ranges = {"cat": range(281, 286), "dog": range(151, 269)}
    chosen = [p for label in ranges for p in [p for p in dataset.pictures if p.label == label][:100]]
    for picture in chosen:
        [features] = engine.run(decode(dataset.read(picture), (224, 224))[None])
        logits = features @ weights["_fc.weight"].T + weights["_fc.bias"]
        right[picture.label] += int(logits.argmax()) in ranges[picture.label]
    assert right["dog"] >= 90
    assert right["cat"] >= 70


def test_mobilenetv2_takes_the_shared_weights() -> None:
    path = SHARED / "weights" / "mobilenet_v2_1.0_no_top.weights.h5"
    if not path.exists():
        pytest.skip("the real weights (../shared/weights) are not here")
    network = backbones.build("mobilenetv2", 96, weights=path)
    kernel = network.get_layer("Conv1").get_weights()[0]
    random = backbones.build("mobilenetv2", 96, weights="none").get_layer("Conv1").get_weights()[0]
    assert not np.allclose(kernel, random)
    assert np.isfinite(np.asarray(network(PIXELS.repeat(2, 1).repeat(2, 2)[:, :96, :96])[-1])).all()


@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnet-lite0"])
def test_weights_that_do_not_fit_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.weights.h5"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(path)
    with pytest.raises(ModelError, match=r"x\.weights\.h5: these (are not weights of|weights cannot be read)"):
        backbones.build(name, 64, weights=path)


def test_failed_download_says_which_file_and_where(monkeypatch: pytest.MonkeyPatch) -> None:
    build = keras.applications.VGG16

    def offline(weights: str | None, **options: object) -> keras.Model:
        if weights == "imagenet":
            raise Exception("URL fetch failure on https://example.org/a/vgg16_notop.h5: None -- refused")
        return build(weights=weights, **options)

    monkeypatch.setattr(keras.applications, "VGG16", offline)
    with pytest.raises(ModelError) as caught:
        backbones.build("vgg16", 64)
    message = str(caught.value)
    assert "'vgg16' could not be downloaded; fetch https://example.org/a/vgg16_notop.h5" in message
    assert "put it at ~/.keras/models/vgg16_notop.h5 or pass --weights PATH" in message
    assert "'efficientnet-lite0' needs no download" in message


def test_training_has_a_precision_that_tensorflow_computes_in() -> None:
    """Also where its oneDNN is held below what the processor has."""
    code = "from whatsit.models.backend import layer_policy, load_keras; load_keras(); print(layer_policy())"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split()[-1] == "float32"
