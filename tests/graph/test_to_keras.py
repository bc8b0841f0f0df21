from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, load_from_string, numpy_helper

from tests.models.test_classifier import KINDS, PIXELS, known, make
from whatsit.engines import open_engine
from whatsit.errors import ModelError
from whatsit.graph.to_keras import to_keras
from whatsit.models import backbones, classifier
from whatsit.models.backend import load_keras

load_keras()
import keras  # noqa: E402

made_once = functools.cache(make)  # for tests that only read it
VIEWS = {"plain": ("original",), "moved": ("original", "flip-1", "flip+1")}


def graph_of(model: keras.Model, views: Sequence[str] = ("original",)) -> bytes:
    return classifier.to_onnx(model, known(model), {}, views=views).SerializeToString()


@functools.cache
def rebuilt(kind: str, views: Sequence[str]) -> tuple[bytes, keras.Model]:
    """A graph, and the model that is made of it."""
    graph = graph_of(made_once(kind), views)
    return graph, to_keras(graph)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("views", VIEWS.values(), ids=[*VIEWS])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_rebuilt_and_saved_it_answers_like_the_graph(
    kind: str, views: Sequence[str], ending: str, tmp_path: Path
) -> None:
    graph, model = rebuilt(kind, views)
    model.save(tmp_path / f"model.{ending}")
    again = keras.models.load_model(tmp_path / f"model.{ending}")
    [wanted] = open_engine(graph, ["probabilities"], runtime="onnxruntime").run(PIXELS)
    assert np.abs(np.asarray(again(PIXELS, training=False)) - wanted).max() <= 1e-5
    assert again.input.dtype == "uint8"


@pytest.mark.usefixtures("thin")
@pytest.mark.parametrize("name", ["mobilenetv2", "vgg16", "resnet50"])
def test_every_backbone_can_be_rebuilt(name: str) -> None:
    keras.utils.set_random_seed(3)
    features = classifier.pooled_features(backbones.build(name, 32, weights="none"), "last")
    embedding = keras.Input((features.outputs[1].shape[-1],))
    head = keras.Model(embedding, classifier.add_head(embedding, 4, hidden=0, dropout=0.0, standardize=False))
    graph = graph_of(classifier.complete(features, head))
    [wanted] = open_engine(graph, ["probabilities"], runtime="onnxruntime").run(PIXELS)
    assert np.abs(np.asarray(to_keras(graph)(PIXELS, training=False)) - wanted).max() <= 1e-5


def mirrored_by_slice(graph: bytes) -> bytes:
    """A graph whose mirror image is made as bundles of older versions have it."""
    model = load_from_string(graph)
    [gather] = [node for node in model.graph.node if node.op_type == "Gather"]
    names = ["starts", "ends", "axes", "steps"]
    gather.CopyFrom(helper.make_node("Slice", [gather.input[0], *names], list(gather.output)))
    for name, value in zip(names, (-1, -33, 2, -1), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    return model.SerializeToString()


def test_a_mirror_image_made_by_a_slice_is_read_too() -> None:
    graph = graph_of(made_once("simple-cnn"), ("original", "flip"))
    old, new = to_keras(mirrored_by_slice(graph)), to_keras(graph)
    assert np.array_equal(np.asarray(old(PIXELS)), np.asarray(new(PIXELS)))


def test_an_operator_that_it_does_not_know_is_named() -> None:
    model = load_from_string(graph_of(made_once("simple-cnn")))
    for node in model.graph.node:
        if node.op_type == "Softmax":
            node.CopyFrom(helper.make_node("LpNormalization", list(node.input), list(node.output)))
    with pytest.raises(ModelError, match="the operator LpNormalization, which cannot be exported"):
        to_keras(model.SerializeToString())


def test_a_value_that_nothing_gives_is_named() -> None:
    model = load_from_string(graph_of(made_once("simple-cnn")))
    del model.graph.node[1]
    with pytest.raises(ModelError, match="damaged: nothing gives"):
        to_keras(model.SerializeToString())
