from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper, load_from_string

from tests.graph.test_to_keras import VIEWS, graph_of, made_once, mirrored_by_slice
from tests.models.test_classifier import PIXELS
from whatsit.engines import EngineError, open_engine
from whatsit.engines.coreml import CoreMLProgram
from whatsit.engines.exported import open_exported
from whatsit.errors import ModelError
from whatsit.graph.builder import PROBABILITIES
from whatsit.graph.extract import extract
from whatsit.graph.formats import FORMATS, Converter
from whatsit.models import backbones, classifier
from whatsit.models.backend import load_keras

pytest.importorskip("coremltools", reason="coremltools is not installed")
load_keras()
import keras  # noqa: E402

LABELS = ("ส้มตำ", '"quoted"', "c", "d", "e", "f", "g", "h", "i", "j")


def written(graph: bytes, folder: Path) -> CoreMLProgram:
    """What is read back of a graph that was written."""
    shape = extract(graph, PROBABILITIES).graph.output[0].type.tensor_type.shape
    converter = Converter(graph, LABELS[: shape.dim[1].dim_value], "a rule")
    return CoreMLProgram(converter.write(FORMATS["coreml"], folder))


def answer(graph: bytes) -> np.ndarray:
    return open_engine(graph, [PROBABILITIES], runtime="onnxruntime").run(PIXELS)[0]


@pytest.mark.parametrize(("kind", "views"), [("simple-cnn", "moved"), ("modern-cnn", "moved"), ("all", "plain")])
def test_what_is_read_back_answers_like_the_graph(kind: str, views: str, tmp_path: Path) -> None:
    graph = graph_of(made_once(kind), VIEWS[views])
    program = written(graph, tmp_path)
    assert np.abs(program.run(PIXELS) - answer(graph)).max() <= 1e-5
    assert program.labels == LABELS[: len(program.labels)]


@pytest.mark.parametrize(("name", "upscale"), [("mobilenetv2", 1), ("efficientnet-lite0-tiny", 3)])
def test_backbones_are_written_too(name: str, upscale: int, tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    backbone = backbones.build(name, 32 * upscale, upscale=upscale, weights="none")
    features = classifier.pooled_features(backbone, "last")
    embedding = keras.Input((features.outputs[1].shape[-1],))
    head = keras.Model(embedding, classifier.add_head(embedding, 4, hidden=0, dropout=0.0, standardize=False))
    graph = graph_of(classifier.complete(features, head))
    assert np.abs(written(graph, tmp_path).run(PIXELS) - answer(graph)).max() <= 1e-5


def test_a_mirror_image_made_by_a_slice_is_written_too(tmp_path: Path) -> None:
    graph = graph_of(made_once("simple-cnn"), ("original", "flip"))
    program = written(mirrored_by_slice(graph), tmp_path)
    assert np.abs(program.run(PIXELS) - answer(graph)).max() <= 1e-5


def test_an_operator_without_a_counterpart_is_named(tmp_path: Path) -> None:
    model = load_from_string(graph_of(made_once("simple-cnn")))
    for node in model.graph.node:
        if node.op_type == "Softmax":
            node.CopyFrom(helper.make_node("Hardmax", list(node.input), list(node.output)))
    with pytest.raises(
        ModelError, match="the operator Hardmax, which whatsit does not write as Core ML; export it as onnx"
    ):
        written(model.SerializeToString(), tmp_path)


def test_a_package_with_damaged_weights_is_refused(tmp_path: Path) -> None:
    written(graph_of(made_once("simple-cnn")), tmp_path)
    [weights] = tmp_path.rglob("weight.bin")
    weights.write_bytes(bytes(len(weights.read_bytes())))
    with pytest.raises(EngineError, match="or it is damaged: its weights are damaged"):
        open_exported(tmp_path / FORMATS["coreml"].file)
