from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import load_from_string
from PIL import Image

from tests.models.test_classifier import PIXELS, known, make
from whatsit.engines import available, open_engine
from whatsit.graph.builder import OUTPUTS
from whatsit.graph.merge import Member, merge, triangle_filter
from whatsit.graph.to_keras import to_keras
from whatsit.models import classifier
from whatsit.models.backend import load_keras
from whatsit.models.cnn import build_cnn

load_keras()
import keras  # noqa: E402


def graph_of(model: keras.Model, views: Sequence[str] = ("original",)) -> bytes:
    return classifier.to_onnx(model, known(model), {}, views=views).SerializeToString()


def answers(graph: bytes, pixels: np.ndarray = PIXELS, runtime: str = "onnxruntime") -> dict[str, np.ndarray]:
    return dict(zip(OUTPUTS, open_engine(graph, OUTPUTS, runtime=runtime).run(pixels), strict=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def graphs() -> list[bytes]:
    return [graph_of(make("simple-cnn")), graph_of(make("all"), ("original", "flip"))]


@pytest.mark.parametrize("runtime", available())
def test_probabilities_are_the_weighted_mean(graphs: list[bytes], runtime: str) -> None:
    members = [Member(graphs[0], 0.3, 0.5), Member(graphs[1], 0.7, 2.0)]
    found = answers(merge(members, (32, 32), {}).SerializeToString(), runtime=runtime)
    one, other = (answers(graph) for graph in graphs)
    wanted = 0.3 * softmax(0.5 * one["logits"]) + 0.7 * softmax(2.0 * other["logits"])
    assert np.abs(found["probabilities"] - wanted).max() <= 1e-5
    assert np.abs(found["logits"] - np.log(wanted)).max() <= 1e-4
    assert found["ood_score"] == pytest.approx(0.3 * one["ood_score"] + 0.7 * other["ood_score"], rel=1e-4)
    assert np.abs(found["embedding"] - np.concatenate([one["embedding"], other["embedding"]], axis=1)).max() <= 1e-4


def test_evidence_of_each_member_counts_as_its_votes(graphs: list[bytes]) -> None:
    """Summed over the map, it is the weighted sum of the members' evidence."""
    members = [Member(graphs[0], 0.25, 2.0), Member(graphs[1], 0.75, 1.0)]
    found = answers(merge(members, (32, 32), {}).SerializeToString())
    one, other = (answers(graph) for graph in graphs)

    def evidence(outputs: dict[str, np.ndarray]) -> np.ndarray:
        return np.einsum("nhwc,nkc->nk", outputs["feature_map"], outputs["gradcam_weights"])

    wanted = 0.25 * 2.0 * evidence(one) + 0.75 * evidence(other)
    assert np.abs(evidence(found) - wanted).max() <= 0.02 * np.abs(wanted).max()


def test_a_shared_backbone_is_computed_once() -> None:
    network = classifier.flat_features(build_cnn("simple-cnn", 32))
    embedding = keras.Input((network.outputs[1].shape[-1],))
    models = [
        classifier.complete(
            network,
            keras.Model(embedding, classifier.add_head(embedding, 4, hidden=units, dropout=0.0, standardize=False)),
        )
        for units in (0, 16)
    ]
    members = [Member(graph_of(model), 0.5, 1.0) for model in models]
    merged = merge(members, (32, 32), {})
    assert sum(node.op_type == "Conv" for node in merged.graph.node) == 3
    assert len(merged.SerializeToString()) < 0.7 * sum(len(member.graph) for member in members)


def test_a_member_of_another_size_gets_its_pictures_resized(graphs: list[bytes]) -> None:
    small = classifier.flat_features(build_cnn("simple-cnn", 16))
    embedding = keras.Input((small.outputs[1].shape[-1],))
    head = keras.Model(embedding, classifier.add_head(embedding, 4, hidden=0, dropout=0.0, standardize=False))
    graph = graph_of(classifier.complete(small, head))
    merged = merge([Member(graphs[0], 0.5, 1.0), Member(graph, 0.5, 1.0)], (32, 32), {}).SerializeToString()
    smooth = np.stack([np.asarray(Image.fromarray(p).resize((6, 6)).resize((32, 32))) for p in PIXELS])
    shrunk = np.stack([np.asarray(Image.fromarray(p).resize((16, 16), Image.Resampling.BILINEAR)) for p in smooth])
    one, other = answers(graphs[0], smooth), answers(graph, shrunk)
    wanted = 0.5 * softmax(one["logits"]) + 0.5 * softmax(other["logits"])
    assert np.abs(answers(merged, smooth)["probabilities"] - wanted).max() <= 0.01  # Pillow rounds to whole levels
    assert np.abs(np.asarray(to_keras(merged)(smooth)) - answers(merged, smooth)["probabilities"]).max() <= 1e-5


def test_it_can_be_rebuilt_for_export(graphs: list[bytes]) -> None:
    merged = merge([Member(graph, 0.5, 1.5) for graph in graphs], (32, 32), {"resize": "rule"})
    assert merged.metadata_props[0].value == "rule"
    graph = merged.SerializeToString()
    assert np.abs(np.asarray(to_keras(graph)(PIXELS)) - answers(graph)["probabilities"]).max() <= 1e-5


@pytest.mark.parametrize(("have", "want"), [(32, 16), (50, 13), (7, 20), (9, 9)])
def test_triangle_filter_is_that_of_pillow(have: int, want: int) -> None:
    row = np.random.default_rng(0).uniform(0, 255, have).astype(np.float32)
    wanted = np.asarray(Image.fromarray(row[None]).resize((want, 1), Image.Resampling.BILINEAR))[0]
    assert np.abs(triangle_filter(have, want) @ row - wanted).max() <= 1e-3


def test_the_same_members_give_the_same_bytes(graphs: list[bytes]) -> None:
    members = [Member(graph, 0.5, 1.0) for graph in graphs]
    merged = [merge(members, (32, 32), {}).SerializeToString() for _ in range(2)]
    assert merged[0] == merged[1]
    assert load_from_string(merged[0]).graph.input[0].name == "image"
