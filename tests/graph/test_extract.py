from __future__ import annotations

from onnx import checker

from tests.graph.test_to_keras import graph_of, made_once
from tests.models.test_classifier import PIXELS, known
from whatsit.engines import open_engine
from whatsit.graph.extract import extract
from whatsit.models import classifier
from whatsit.models.backend import load_keras

load_keras()


def test_part_is_a_whole_model_of_one_output() -> None:
    graph = classifier.to_onnx(made_once("simple-cnn"), known(made_once("simple-cnn")), {"resize": "rule"})
    part = extract(graph.SerializeToString(), "probabilities")
    checker.check_model(part, full_check=True)
    assert [value.name for value in part.graph.output] == ["probabilities"]
    assert [(entry.key, entry.value) for entry in part.metadata_props] == [("resize", "rule")]
    assert (part.producer_name, part.graph.name) == (graph.producer_name, graph.graph.name)
    assert {tensor.name for tensor in part.graph.initializer} < {tensor.name for tensor in graph.graph.initializer}


def test_part_gives_what_the_whole_gives() -> None:
    graph = graph_of(made_once("simple-cnn"), ("original", "flip"))
    part = extract(graph, "probabilities").SerializeToString()
    [whole_says], [part_says] = (
        open_engine(content, ["probabilities"], runtime="onnxruntime").run(PIXELS) for content in (graph, part)
    )
    assert (whole_says == part_says).all()
