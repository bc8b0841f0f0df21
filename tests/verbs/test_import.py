"""`whatsit import`: classifiers that were made elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import whatsit
from tests import onnx_networks as made
from tests.conftest import CLASSES, Listener
from whatsit.bundle.labels import read_labels
from whatsit.bundle.read import read_bundle
from whatsit.engines import open_engine
from whatsit.engines.onnxruntime import evaluate
from whatsit.errors import DataError, ModelError, UsageError
from whatsit.graph.formats import Converter
from whatsit.runtime.explain import GRAD_CAM, OCCLUSION, Explainer
from whatsit.runtime.predictor import Predictor
from whatsit.verbs.import_model import Imported

PIXELS = np.random.default_rng(0).integers(0, 256, (4, made.SIDE, made.SIDE, 3), dtype=np.uint8)
SCALED = {"scaling": "0..1"}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    return path


def imported(network: Path, labels: Path, **more: object) -> Imported:
    return whatsit.import_model(network, labels.parent / "out.whatsit", labels=labels, **{"settings": SCALED, **more})


def probabilities(model: Path) -> np.ndarray:
    return np.stack([answer.probabilities for answer in Predictor(model).answer(PIXELS)])


def by_itself(network: Path, output: str) -> np.ndarray:
    pixels = (PIXELS / 255).transpose(0, 3, 1, 2).astype(np.float32)
    return evaluate(network.read_bytes(), {"pixels": pixels}, [output])[0].astype(np.float64)


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], np.ndarray], str]] = {
    "logits": (made.classifier, lambda path: softmax(by_itself(path, "scores")), "gives logits"),
    "softmax": (
        lambda path: made.classifier(path, softmax=True),
        lambda path: by_itself(path, "shares"),
        "before the softmax",
    ),
    "probabilities": (made.opaque, lambda path: by_itself(path, "shares"), "gives probabilities"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_the_networks_own(tmp_path: Path, labels: Path, kind: str) -> None:
    make, wanted, note = KINDS[kind]
    listener = Listener()
    network = make(tmp_path / "x.onnx")
    result = imported(network, labels, reporter=listener)
    assert np.abs(probabilities(result.model) - wanted(network)).max() <= 1e-5
    assert any(note in line for line in listener.said)
    assert read_bundle(result.model).classes == CLASSES


def test_evidence_is_of_the_last_layer_times_its_temperature(tmp_path: Path, labels: Path) -> None:
    """The sum over the map of its product with the weights is what a class gets beside its bias."""
    result = imported(made.classifier(tmp_path / "x.onnx", cooled=2.0), labels)
    graph = read_bundle(result.model).graph
    outputs = ("logits", "embedding", "feature_map", "gradcam_weights")
    logits, embedding, maps, weights = open_engine(graph, outputs, runtime="onnxruntime").run(PIXELS)
    assert np.abs(maps.mean(axis=(1, 2)) - embedding).max() <= 1e-5
    change = np.einsum("nhwc,nkc->nk", maps, weights) - logits
    assert np.abs(change - change[:1]).max() <= 1e-5  # the bias alone is left, the same for every picture


def test_one_output_for_two_classes(tmp_path: Path, labels: Path) -> None:
    labels.write_text("no\nyes\n")
    network = made.binary(tmp_path / "x.onnx")
    result = imported(network, labels)
    assert np.abs(probabilities(result.model)[:, 1] - by_itself(network, "share")[:, 0]).max() <= 1e-5
    assert Explainer(Predictor(result.model)).method == GRAD_CAM


def test_grey_pictures(tmp_path: Path, labels: Path) -> None:
    network = made.grey(tmp_path / "x.onnx")
    result = imported(network, labels)
    pixels = (PIXELS @ np.array([0.299, 0.587, 0.114]) / 255)[..., None].astype(np.float32)
    wanted = softmax(evaluate(network.read_bytes(), {"pixels": pixels}, ["scores"])[0].astype(np.float64))
    assert np.abs(probabilities(result.model) - wanted).max() <= 1e-5
    with pytest.raises(ModelError, match="it takes grey pictures, so 'mean' and 'std' are one number each"):
        whatsit.import_model(network, tmp_path / "b.whatsit", labels=labels, settings={"scaling": "imagenet"})


@pytest.mark.usefixtures("predict_here")
def test_without_pictures_it_works_and_says_that_it_is_not_measured(tmp_path: Path, labels: Path) -> None:
    result = imported(made.classifier(tmp_path / "x.onnx", batch=1), labels)
    bundle = read_bundle(result.model)
    assert (bundle.test, bundle.unknown, bundle.conformal, result.test) == (None, None, None, None)
    assert "not measured" in bundle.card
    assert all(parity.passed for parity in whatsit.verify(result.model))
    assert str(tmp_path) not in json.dumps(bundle.provenance) + bundle.card


def test_calibrated_on_pictures(tmp_path: Path, labels: Path, shapes_folder: Path) -> None:
    result = imported(made.classifier(tmp_path / "x.onnx"), labels, calibrate=shapes_folder)
    bundle = read_bundle(result.model)
    assert bundle.unknown is not None
    assert bundle.conformal is not None
    assert result.test is not None
    assert bundle.temperature == result.temperature != 1.0
    assert (
        np.abs(
            probabilities(result.model) - softmax(by_itself(tmp_path / "x.onnx", "scores") / result.temperature)
        ).max()
        <= 1e-5
    )
    assert whatsit.evaluate(result.model, shapes_folder).metrics.n > 0
    assert "Trained elsewhere" in bundle.card


def test_network_without_a_last_layer_has_no_unknown_score(tmp_path: Path, labels: Path, shapes_folder: Path) -> None:
    listener = Listener()
    result = imported(made.opaque(tmp_path / "x.onnx"), labels, calibrate=shapes_folder, reporter=listener)
    assert not result.tells_unknown
    assert any("unknown pictures will not be recognized: the last layer" in line for line in listener.warned)
    assert Explainer(Predictor(result.model)).method == OCCLUSION


def test_scaling_is_found_by_pictures_where_nothing_says_it(tmp_path: Path, labels: Path, shapes_folder: Path) -> None:
    listener = Listener()
    imported(made.classifier(tmp_path / "x.onnx"), labels, calibrate=shapes_folder, settings={}, reporter=listener)
    assert any(line.startswith("Pixels are scaled by '") and "0..255" in line for line in listener.said)


def test_scaling_is_warned_of_where_nothing_says_it(tmp_path: Path, labels: Path) -> None:
    listener = Listener()
    imported(made.classifier(tmp_path / "x.onnx"), labels, settings={}, reporter=listener)
    assert any("with --calibrate DATA the best one is found" in line for line in listener.warned)


def test_labels_that_the_network_says_itself(tmp_path: Path) -> None:
    """As Ultralytics writes them, whose pixels are from 0 to 1."""
    network = made.classifier(tmp_path / "x.onnx", softmax=True)
    model = onnx.load(network)
    onnx.helper.set_model_props(model, {"names": "{0: 'cat', 1: 'dog', 2: 'ส้มตำ'}", "author": "Ultralytics"})
    onnx.save(model, network)
    result = whatsit.import_model(network, tmp_path / "out.whatsit")
    assert result.classes == ("cat", "dog", "ส้มตำ")
    assert np.abs(probabilities(result.model) - by_itself(network, "shares")).max() <= 1e-5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "0 cat\n1 hot dog\n"),  # Teachable Machine
        ("labels.txt", "\ufeffcat\r\nhot dog\r\n"),
        ("labels.json", '["cat", "hot dog"]'),
        ("labels.json", '{"1": "hot dog", "0": "cat"}'),
        ("config.json", '{"id2label": {"0": "cat", "1": "hot dog"}, "size": 3}'),
    ],
)
def test_labels_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    assert read_labels(tmp_path / name) == ("cat", "hot dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ncat\n", "label 2, 'cat', is there twice"),
        ("cat\n", "1 labels, where 2 to"),
        ("cat\n\ndog\n", "label 2 is empty"),
        ("cat\ndog\x1b[31m\n", "label 2 "),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_labels(tmp_path / "labels.txt")


def test_what_does_not_fit_is_refused(tmp_path: Path, labels: Path, shapes_folder: Path) -> None:
    network = made.classifier(tmp_path / "x.onnx", 4)
    with pytest.raises(ModelError, match=r"no output has a number for each of the 3 labels; .* 'scores' \(1, 4\)"):
        imported(network, labels)
    with pytest.raises(UsageError, match="it does not say its labels"):
        whatsit.import_model(network, tmp_path / "out.whatsit")
    with pytest.raises(UsageError, match=r"does not end in .whatsit"):
        whatsit.import_model(network, tmp_path / "out", labels=labels)
    labels.write_text("a\nb\nc\nd\n")
    with pytest.raises(DataError, match="does not know the classes 'columns', 'disc', 'rows'"):
        imported(network, labels, calibrate=shapes_folder)
    assert not (tmp_path / "out.whatsit").exists()


def test_benchmark_measures_what_can_be_made_of_it(tmp_path: Path, labels: Path, shapes_folder: Path) -> None:
    model = imported(made.classifier(tmp_path / "x.onnx"), labels, calibrate=shapes_folder).model
    listener = Listener()
    result = whatsit.benchmark(model, data=shapes_folder, seconds=0.05, formats="onnx", reporter=listener)
    assert all(row.usable for row in result.rows)
    bundle = read_bundle(model)
    assert {target.name for target in Converter(bundle.graph, bundle.classes, "").possible()} == {
        "onnx",
        "openvino",
        "openvino-int8",
    }
