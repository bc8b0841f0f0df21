from __future__ import annotations

import base64
import csv
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from tests.conftest import encode, shapes
from whatsit.apps.predictions import Failed, Predicted, Upload, as_csv, data_url, overlay, pixels_to_show, predict_all
from whatsit.errors import ImageError
from whatsit.run.record import Run
from whatsit.runtime.explain import Explainer
from whatsit.runtime.predictor import Prediction, Predictor


@pytest.fixture(scope="module")
def predictor(baseline_run: Run) -> Predictor:
    return baseline_run.load()


def test_answers_are_the_predictors_in_order_and_a_bad_file_has_its_own_error(predictor: Predictor) -> None:
    data = [encode(shapes(kind, 7)) for kind in ("disc", "rows")]
    steps: list[tuple[int, int]] = []
    batch = predict_all(
        predictor,
        [Upload("a.png", data[0]), Upload("bad", b""), Upload("b.png", data[1])],
        lambda done, total: steps.append((done, total)),
    )
    assert [one.upload.name for one in batch.results] == ["a.png", "bad", "b.png"]
    assert [one.prediction for one in batch.predicted] == predictor.predict(data, top=3)
    [failed] = batch.failed
    assert isinstance(failed.error, ImageError)
    assert failed.error.reason == "empty"
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_single_picture(predictor: Predictor) -> None:
    [one] = predict_all(predictor, [Upload("a", encode(shapes("disc", 7)))]).results
    assert isinstance(one, Predicted)
    [one] = predict_all(predictor, [Upload("a", b"words")]).results
    assert isinstance(one, Failed)


def test_tiny_pictures_are_enlarged_in_their_own_pixels_and_large_ones_reduced() -> None:
    tiny = pixels_to_show(encode(shapes("disc", 7, side=10)))
    assert tiny.shape == (260, 260, 3)
    assert len(np.unique(tiny.reshape(-1, 3), axis=0)) <= 100
    assert pixels_to_show(encode(np.zeros((600, 3000, 3), np.uint8))).shape == (205, 1024, 3)


def test_url_holds_the_picture() -> None:
    kind, data = data_url(np.full((20, 30, 3), 200, np.uint8)).split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (30, 20)


def test_overlay_has_the_size_of_the_picture(predictor: Predictor) -> None:
    data = encode(shapes("disc", 7))
    pixels = pixels_to_show(data)
    assert overlay(pixels, Explainer(predictor).explain(data)).shape == pixels.shape


def test_csv_is_harmless_to_spreadsheets(predictor: Predictor) -> None:
    batch = predict_all(predictor, [Upload("=1+1.png", encode(shapes("disc", 7))), Upload("+bad", b"words")])
    good = dataclasses.replace(batch.results[0], prediction=Prediction("@x", 0.5, True, (("@x", 0.5), ("y", 0.5))))
    batch = dataclasses.replace(batch, results=(good, batch.results[1]))
    rows = list(csv.reader(as_csv(batch, ["@x", "y"]).decode("utf-8-sig").splitlines()))
    assert rows[0] == ["file", "answer", "probability", "unknown", "error", "p: @x", "p: y"]
    assert rows[1] == ["'=1+1.png", "'@x", "0.500000", "yes", "", "0.500000", "0.500000"]
    assert rows[2][:4] == ["'+bad", "", "", ""]
    assert rows[2][4].startswith("the file holds text")
