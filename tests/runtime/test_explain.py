from __future__ import annotations

import dataclasses
import functools
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import whatsit
from tests.conftest import encode, shapes
from whatsit.engines import available
from whatsit.errors import ImageError, ModelError, UsageError
from whatsit.images.decode import decode
from whatsit.run.record import Run
from whatsit.runtime.explain import Explainer, Explanation
from whatsit.runtime.overlay import colours, draw, lay_over, write
from whatsit.runtime.predictor import Predictor

PICTURES = [encode(shapes(kind, i)) for i, kind in enumerate(("disc", "rows", "columns", "disc"))]


@pytest.fixture(scope="module")
def explainer(baseline_run: Run) -> Explainer:
    return Explainer(Predictor(baseline_run.model))


@functools.cache
def reference(model: Path, picture: int) -> np.ndarray:
    """Grad-CAM of each class by `tf.GradientTape` on the Keras model of a run folder, normalised, `[classes, h, w]`."""
    from whatsit.models.backend import load_keras

    load_keras()
    import keras
    import tensorflow as tf

    network = keras.models.load_model(model)
    to_map = keras.Model(network.input, network.get_layer("feature_map").output)
    names = [layer.name for layer in network.layers]
    rest = [network.get_layer(name) for name in names[names.index("feature_map") + 1 : names.index("logits") + 1]]
    pixels = decode(PICTURES[picture], network.input.shape[1:3])
    with tf.GradientTape() as tape:
        features = to_map(pixels[None], training=False)
        tape.watch(features)
        value = features
        for layer in rest:
            value = layer(value, training=False)
    weights = tape.jacobian(value, features).numpy()[0, :, 0].mean(axis=(1, 2))
    cams = np.maximum(np.einsum("hwf,cf->chw", features.numpy()[0], weights), 0)
    return np.stack([cam / cam.max() if cam.max() > 0 else cam for cam in cams])


@pytest.fixture(scope="module")
def frozen_run(shapes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A head on a pooled map; heads on several are compared in `tests/models/test_classifier.py`."""
    settings = {"epochs": 2, "size": 64, "features": "last", "views": ["original"]}
    out = tmp_path_factory.mktemp("runs") / "frozen"
    return whatsit.train(shapes_folder, out=out, limit=8, settings=settings, report=False)


@pytest.mark.parametrize("kind", ["baseline_run", "frozen_run"])
@pytest.mark.parametrize("runtime", available())
def test_map_equals_gradcam_by_tensorflow(kind: str, runtime: str, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue(kind)
    explainer = Explainer(Predictor(run.model, runtime=runtime))
    for number, picture in enumerate(PICTURES[:2]):
        wanted = reference(run.folder / "best_model.keras", number)
        for class_, label in enumerate(explainer.predictor.classes):
            found = explainer.explain(picture, label).evidence
            assert np.abs(found - wanted[class_]).max() <= 1e-3


def test_explanation_has_the_answer_of_the_predictor(explainer: Explainer) -> None:
    for picture in PICTURES:
        found = explainer.explain(picture)
        [wanted] = explainer.predictor.predict([picture])
        assert (found.prediction.label, found.prediction.unknown) == (wanted.label, wanted.unknown)
        assert found.probability == pytest.approx(wanted.probability, abs=1e-5)
        assert found.label == wanted.label


def test_evidence_of_a_batch_is_that_of_each_picture(explainer: Explainer) -> None:
    pixels = np.stack([decode(picture, explainer.predictor.size) for picture in PICTURES])
    _, together = explainer.evidence(pixels)
    one_by_one = np.concatenate([explainer.evidence(pixels[i : i + 1])[1] for i in range(len(pixels))])
    assert np.abs(together - one_by_one).max() <= 1e-4
    assert together.min() >= 0.0
    assert together.max() <= 1.0


def test_strange_class_and_unreadable_picture(explainer: Explainer) -> None:
    with pytest.raises(UsageError, match="does not know the class 'square'; its classes: columns, disc, rows"):
        explainer.explain(PICTURES[0], "square")
    with pytest.raises(ImageError, match="the file holds text"):
        explainer.explain(b"words")


def test_graph_without_maps_cannot_be_explained(baseline_run: Run) -> None:
    from tests.engines.test_engines import sums_graph

    predictor = Predictor(baseline_run.model)
    predictor.bundle = dataclasses.replace(predictor.bundle, graph=sums_graph())
    with pytest.raises(ModelError, match="this model cannot be explained"):
        Explainer(predictor)


def test_evidence_that_is_no_number_is_refused(baseline_run: Run) -> None:
    import onnx
    from onnx import numpy_helper

    predictor = Predictor(baseline_run.model)
    model = onnx.load_from_string(predictor.bundle.graph)
    [weights] = [tensor for tensor in model.graph.initializer if tensor.name == "gradcam.first"]
    infinite = np.full(tuple(weights.dims), np.inf, np.float32)
    weights.CopyFrom(numpy_helper.from_array(infinite, "gradcam.first"))
    predictor.bundle = dataclasses.replace(predictor.bundle, graph=model.SerializeToString())
    with pytest.raises(ModelError, match="evidence that is no number"):
        Explainer(predictor).explain(PICTURES[0])


def test_colours_run_from_dark_to_light() -> None:
    ramp = colours(np.linspace(0, 1, 50, dtype=np.float32)) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(ramp) > 0).all()


def test_evidence_is_laid_over_where_it_is() -> None:
    evidence = np.zeros((4, 4), np.float32)
    evidence[0, 0] = 1.0
    over = lay_over(np.full((80, 80, 3), 128, np.uint8), evidence).astype(int)
    assert over[5, 5].sum() > over[70, 70].sum() + 60


@pytest.mark.parametrize("label", ["disc", "ส้มตำไทย", "<b>" + "very long name " * 12, "two\nlines"])
@pytest.mark.parametrize("shape", [(32, 32), (900, 20), (20, 900), (1, 1)])
def test_any_label_and_shape_can_be_drawn(explainer: Explainer, label: str, shape: tuple[int, int]) -> None:
    found = explainer.explain(PICTURES[0])
    sheet = draw(np.zeros((*shape, 3), np.uint8), Explanation(found.prediction, label, 0.5, found.evidence))
    assert 640 <= sheet.width <= 1400
    assert 200 <= sheet.height <= 700


def test_thai_letters_are_drawn_not_boxes(explainer: Explainer) -> None:
    found = explainer.explain(PICTURES[0])

    def titled(label: str) -> Explanation:
        prediction = dataclasses.replace(found.prediction, label=label, unknown=False)
        return dataclasses.replace(found, label=label, prediction=prediction)

    sheets = [draw(np.zeros((8, 8, 3), np.uint8), titled(label)) for label in ("กขค", "\ue000\ue001\ue002")]
    title = (0, 0, 110, 55)
    assert np.asarray(sheets[0].crop(title)).tobytes() != np.asarray(sheets[1].crop(title)).tobytes()


def test_drawing_is_written_beside_nothing_else(
    baseline_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(PICTURES[0])
    monkeypatch.chdir(tmp_path)
    _, path = whatsit.explain(baseline_run.model, "a.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-explained.png", "a.png"]
    assert Image.open(io.BytesIO(path.read_bytes())).format == "PNG"
    with pytest.raises(UsageError, match="is the picture itself"):
        whatsit.explain(baseline_run.model, "a.png", "a.png")


@pytest.mark.parametrize("size", [13, 16, 17, 30])
@pytest.mark.parametrize("text", ["most here", "Bright is", "no text", "it that"])
def test_words_of_the_drawing_stand_apart(text: str, size: int) -> None:
    sheet = Image.new("RGB", (200, 60), "white")
    write(ImageDraw.Draw(sheet), (5.0, 5.5), text, size, 190)
    inked = np.flatnonzero(np.asarray(sheet.convert("L")).min(axis=0) < 190)
    between_letters, between_words = np.sort(np.diff(inked) - 1)[-2:]
    assert between_words >= 2 * between_letters


def test_long_line_loses_its_middle_and_keeps_within_its_room() -> None:
    sheet = Image.new("RGB", (300, 60), "white")
    write(ImageDraw.Draw(sheet), (0.0, 0.0), "a long name " * 9, 17, 200)
    inked = np.flatnonzero(np.asarray(sheet.convert("L")).min(axis=0) < 190)
    assert 150 < inked.max() <= 200
