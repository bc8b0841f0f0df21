from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest

from whatsit.apps.api.oip import InferRequest, build_response, parse_request
from whatsit.apps.api.refusals import RefusedError
from whatsit.apps.api.settings import Settings
from whatsit.run.record import Run
from whatsit.runtime.predictor import Predictor

SETTINGS = Settings(max_pictures=8)


@pytest.fixture(scope="module")
def predictor(baseline_run: Run) -> Predictor:
    return baseline_run.load()


def parse(predictor: Predictor, document: Any, tail: bytes = b"", length: str | None = None) -> InferRequest:
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_request(head + tail, length or (str(len(head)) if tail else None), predictor, SETTINGS)


def image(shape: Any = (1,), **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": list(shape), **more}]}


def pixels(shape: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": list(shape), **more}]}


def binary(size: Any) -> dict[str, Any]:
    return {"parameters": {"binary_data_size": size}}


def packed(*files: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(file)) + file for file in files)


def test_files_come_as_binary_data(predictor: Predictor) -> None:
    tail = packed(b"one", b"", b"three")
    assert parse(predictor, image((3,), **binary(len(tail))), tail).files == [b"one", b"", b"three"]


def test_files_come_as_base64(predictor: Predictor) -> None:
    assert parse(predictor, image(data=[base64.b64encode(b"one").decode()])).files == [b"one"]


def test_pixels_come_as_binary_data(predictor: Predictor) -> None:
    wanted = np.random.default_rng(0).integers(0, 256, (2, *predictor.size, 3), np.uint8)
    found = parse(predictor, pixels(wanted.shape, **binary(wanted.size)), wanted.tobytes())
    assert found.pixels is not None
    np.testing.assert_array_equal(found.pixels, wanted)
    assert len(found) == 2


@pytest.mark.parametrize("flat", [True, False])
def test_pixels_come_as_numbers_flat_or_nested(predictor: Predictor, flat: bool) -> None:
    wanted = np.random.default_rng(0).integers(0, 256, (1, *predictor.size, 3), np.uint8)
    data = wanted.ravel().tolist() if flat else wanted.tolist()
    found = parse(predictor, pixels(wanted.shape, data=data)).pixels
    assert found is not None
    np.testing.assert_array_equal(found, wanted)


def test_the_whole_body_is_a_picture_where_the_header_says_0(predictor: Predictor) -> None:
    found = parse_request(b"picture", "0", predictor, SETTINGS)
    assert found.files == [b"picture"]
    assert all(output.binary for output in found.outputs)


BAD: list[tuple[Any, bytes, str | None, str]] = [
    (b"{", b"", None, "not valid JSON"),
    (b"[" * 250_000, b"", None, "not valid JSON"),
    (b'{"inputs": NaN}', b"", None, "not valid JSON"),
    (b"\xff\xfe", b"", None, "not valid JSON"),
    (b"[]", b"", None, "must be a JSON object"),
    ({}, b"", None, "'inputs' must be a list"),
    ({"inputs": []}, b"", None, "'inputs' must be a list"),
    ({"inputs": [7]}, b"", None, "'inputs' must be a list"),
    ({"inputs": [{"name": "x"}]}, b"", None, "the input 'x' is unknown"),
    ({"inputs": [{"name": {"a": []}}]}, b"", None, "is unknown"),
    ({"inputs": image()["inputs"] * 2}, b"", None, "2 inputs were given"),
    ({"inputs": [{"name": "image", "datatype": "FP32", "shape": [1]}]}, b"", None, "datatype 'FP32'; it is BYTES"),
    (image("x"), b"", None, "must be a list of numbers"),
    (image((True,)), b"", None, "must be a list of numbers"),
    (image((1.5,)), b"", None, "must be a list of numbers"),
    (image(()), b"", None, "must be a list of numbers"),
    (image((0,), data=[]), b"", None, "out of range"),
    (image((-1,)), b"", None, "out of range"),
    (image((2**63,)), b"", None, "out of range"),
    (image((1, 1), data=["YQ=="]), b"", None, r"it is a list of files: \[N\]"),
    (image(), b"", None, "has no 'data'"),
    (image(data=["YQ==", "YQ=="]), b"", None, "its data hold 2 pictures"),
    (image(data=["no base64!"]), b"", None, "picture 1 of .image. has a blank within its base64"),
    (image(data=[7]), b"", None, "picture 1 of .image. is a number, not a text in base64"),
    (image(data=["YQ=="], **binary(5)), packed(b"a"), None, "both 'data' and"),
    (image(**binary(4)), packed(b"a"), None, "is 4, but 5 bytes follow"),
    (image(**binary(-1)), packed(b"a"), None, "is -1, but"),
    (image(**binary(True)), b"a", None, "is True, but"),
    (image(**binary(3)), b"abc", None, "end within a length"),
    (image(**binary(6)), struct.pack("<I", 2**32 - 1) + b"ab", None, "says it has 4,294,967,295 bytes; 2 are left"),
    (image((2,), **binary(5)), packed(b"a"), None, "hold another number of pictures"),
    (image(**binary(10)), packed(b"a", b"b"), None, "hold another number of pictures"),
    (image(data=["YQ=="]), b"tail", None, "4 bytes follow the JSON"),
    (image(parameters=[]), b"", None, "must be an object"),
    (pixels((1, 5, 5, 3), data=[1]), b"", None, "this model takes"),
    (pixels((2**31, 2**31, 2**31, 2**31)), b"", None, "too many"),
    ({**image(data=["YQ=="]), "outputs": [{"name": "x"}]}, b"", None, "the output 'x' is unknown"),
    ({**image(data=["YQ=="]), "outputs": [{"name": "label"}] * 2}, b"", None, "asked for twice"),
    ({**image(data=["YQ=="]), "outputs": 7}, b"", None, "'outputs' must be"),
    (
        {**image(data=["YQ=="]), "outputs": [{"name": "label", "parameters": {"classification": 2}}]},
        b"",
        None,
        "of 'probabilities' only",
    ),
    ({**image(data=["YQ=="]), "id": 7}, b"", None, "the 'id' must be"),
    ({**image(data=["YQ=="]), "parameters": {"timeout": -1}}, b"", None, "'timeout' is -1"),
    (image(), b"", "99999", "Inference-Header-Content-Length is '99999'"),
    (image(), b"", "-1", "Inference-Header-Content-Length is '-1'"),
    (image(), b"", "9" * 30, "Inference-Header-Content-Length"),
]


@pytest.mark.parametrize(("document", "tail", "length", "words"), BAD)
def test_what_is_malformed_is_told(
    predictor: Predictor, document: Any, tail: bytes, length: str | None, words: str
) -> None:
    with pytest.raises(RefusedError, match=words) as error:
        parse(predictor, document, tail, length)
    assert error.value.status in (400, 413)


@pytest.mark.parametrize("data", [[[1], [1, 2]], [0.5], [-1], [256], ["a" * 1000], [None], [2**70], [[]], [True]])
def test_pixels_that_are_no_pixels_are_told(predictor: Predictor, data: list[object]) -> None:
    shape = (1, *predictor.size, 3)
    whole = data * (int(np.prod(shape)) if len(data) == 1 else 1)
    with pytest.raises(RefusedError, match="0 to 255"):
        parse(predictor, pixels(shape, data=whole))


def test_shared_memory_is_not_supported(predictor: Predictor) -> None:
    with pytest.raises(RefusedError) as error:
        parse(predictor, image(parameters={"shared_memory_region": "x"}))
    assert error.value.status == 501


def test_too_many_pictures_are_too_large(predictor: Predictor) -> None:
    with pytest.raises(RefusedError, match="at most 8") as error:
        parse(predictor, image((9,), data=["YQ=="] * 9))
    assert error.value.status == 413


def test_answer_in_json_holds_every_output(predictor: Predictor) -> None:
    request = parse(predictor, {**image(data=["YQ=="]), "id": "seven"})
    answers = predictor.answer(np.zeros((1, *predictor.size, 3), np.uint8))
    body, head = build_response(request, answers, predictor, "m", "1")
    found = json.loads(body)
    assert (head, found["id"], found["model_name"]) == (None, "seven", "m")
    by_name = {output["name"]: output for output in found["outputs"]}
    assert by_name["probabilities"]["data"] == pytest.approx(answers[0].probabilities.tolist())
    assert by_name["label"]["data"] == [predictor.to_prediction(answers[0]).label]
    assert by_name["unknown"]["data"] == [predictor.is_unknown(answers[0])]


def test_classification_names_the_most_probable(predictor: Predictor) -> None:
    wanted = [{"name": "probabilities", "parameters": {"classification": 99}}]
    request = parse(predictor, {**image(data=["YQ=="]), "outputs": wanted})
    answers = predictor.answer(np.zeros((1, *predictor.size, 3), np.uint8))
    [output] = json.loads(build_response(request, answers, predictor, "m", "1")[0])["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 3])
    scores = [float(text.split(":")[0]) for text in output["data"]]
    assert scores == sorted(scores, reverse=True)
    assert {text.split(":")[2] for text in output["data"]} == set(predictor.classes)
