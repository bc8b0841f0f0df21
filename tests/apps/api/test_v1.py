from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.apps.api.conftest import Running, form, running
from tests.conftest import encode, shapes
from tests.runtime.test_predictor import failing_bundle
from whatsit.bundle.write import write_bundle
from whatsit.run.record import Run

RAW = {"Content-Type": "image/png"}


def test_picture_as_the_body_gets_the_predictors_answer(api: Running, disc: bytes, baseline_run: Run) -> None:
    [wanted] = baseline_run.load().predict([disc])
    found = api.ask("POST", "/v1/predict", disc).json
    assert (found["label"], found["unknown"], found["model"]) == (wanted.label, wanted.unknown, "baseline")
    assert found["probability"] == pytest.approx(wanted.probability, abs=1e-5)


def test_picture_on_which_the_model_fails_costs_no_other(tmp_path: Path) -> None:
    write_bundle(failing_bundle(), tmp_path / "fails.whatsit")
    black, white = (encode(np.full((4, 4, 3), value, np.uint8)) for value in (0, 255))
    with running([tmp_path / "fails.whatsit"]) as service:
        files = [(f"{place}.png", white if place == 1 else black) for place in range(4)]
        answers = service.ask("POST", "/v1/predict/batch", *form(*files)).json["answers"]
    assert ["error" in answer for answer in answers] == [False, True, False, False]
    assert "the model fails on this picture" in answers[1]["error"]


def test_picture_in_a_form_gets_the_same_answer(api: Running, disc: bytes) -> None:
    assert api.ask("POST", "/v1/predict", *form(("a.png", disc))).json == api.ask("POST", "/v1/predict", disc).json


def test_top_and_coverage(api: Running, disc: bytes) -> None:
    found = api.ask("POST", "/v1/predict?top=2&coverage=0.9", disc).json
    assert len(found["top"]) == 2
    assert found["label"] in found["set"]


def test_model_is_chosen_by_name(api: Running, disc: bytes) -> None:
    found = api.ask("POST", "/v1/predict?model=hostile", disc).json
    assert found["model"] == "hostile"


def test_many_pictures_get_the_answers_of_single_ones(api: Running) -> None:
    files = [(f"{i}.png", encode(shapes(("disc", "rows", "columns")[i % 3], i))) for i in range(20)]
    single = [api.ask("POST", "/v1/predict", data).json["probability"] for _, data in files]
    answers = api.ask("POST", "/v1/predict/batch", *form(*files)).json["answers"]
    assert [one["probability"] for one in answers] == pytest.approx(single, abs=1e-5)
    assert [one["image"] for one in answers] == [name for name, _ in files]


def test_bad_picture_among_many_gets_its_own_error(api: Running, disc: bytes) -> None:
    body, headers = form(("a.png", disc), ("notes.txt", b"words"), ("b.png", disc))
    first, second, third = api.ask("POST", "/v1/predict/batch", body, headers).json["answers"]
    assert first["label"] == third["label"]
    assert (second["image"], second["reason"]) == ("notes.txt", "format")
    assert "text, not a picture" in second["error"]


def test_explanation_is_a_drawing(api: Running, disc: bytes) -> None:
    found = api.ask("POST", "/v1/explain", disc)
    assert found.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(found.data)).width > 500


def test_models_are_listed(api: Running, baseline_run: Run) -> None:
    models = api.ask("GET", "/v1/models").json["models"]
    assert [(one["name"], one["version"], one["ready"]) for one in models] == [
        ("baseline", "1", True),
        ("hostile", "1", True),
    ]
    assert models[0]["accuracy"] == pytest.approx(baseline_run.test.accuracy)


def test_model_tells_its_figures_and_card(api: Running) -> None:
    found = api.ask("GET", "/v1/models/baseline").json
    assert found["classes"] == ["columns", "disc", "rows"]
    assert found["test"]["accuracy_ci95"]
    assert found["card"].startswith("#")


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "words"),
    [
        ("POST", "/v1/predict", b"", {}, 422, "the file is empty"),
        ("POST", "/v1/predict", b"words", {}, 422, "the file holds text"),
        ("POST", "/v1/predict?top=0", b"", {}, 422, "'top'"),
        ("POST", "/v1/predict?coverage=1", b"", {}, 422, "'coverage'"),
        ("POST", "/v1/predict?modell=x", b"", {}, 422, "there is no parameter 'modell' here; see /openapi.json"),
        ("POST", "/v1/predict/batch?toop=3", b"", {}, 422, "there is no parameter 'toop' here"),
        ("POST", "/v1/explain?top=3", b"", {}, 422, "there is no parameter 'top' here"),
        ("POST", "/v1/predict?model=basline", b"", {}, 404, "did you mean 'baseline'"),
        ("POST", "/v1/predict?version=9", b"", {}, 404, "has no version '9'"),
        ("POST", "/v1/predict", b"x", {"Content-Encoding": "br"}, 415, "'br' is not read"),
        ("POST", "/v1/predict", b"x", {"Content-Encoding": "gzip"}, 415, "send the body as it is"),
        ("POST", "/v1/predict/batch", b"x", RAW, 400, "files of a form"),
        (
            "POST",
            "/v1/predict/batch",
            b"--x--\r\n",
            {"Content-Type": "multipart/form-data; boundary=x"},
            400,
            "no file",
        ),
        ("POST", "/v1/predict/batch", b"x", {"Content-Type": "multipart/form-data"}, 400, "the form is malformed"),
        ("POST", "/v1/predict/batch", b"zzz", {"Content-Type": "multipart/form-data; boundary=x"}, 400, "malformed"),
        ("POST", "/v1/explain?label=x", encode(shapes("disc", 1)), {}, 422, "does not know the class 'x'"),
        ("GET", "/v1/models/none", None, {}, 404, "there is no model 'none'"),
        ("GET", "/v1/predict", None, {}, 405, "GET is not possible"),
        ("GET", "/nothing", None, {}, 404, "there is nothing at /nothing"),
        ("GET", "/v1/models/%ff%00", None, {}, 404, "there is no model"),
    ],
)
def test_errors_are_told_in_one_line(
    api: Running, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, words: str
) -> None:
    found = api.ask(method, path, body, headers)
    assert (found.status, list(found.json)) == (status, ["error"])
    assert words in found.json["error"]
    assert "\n" not in found.json["error"]


@pytest.mark.parametrize("path", ["/v1/predict/", "/v1/models/", "/v2/models/baseline/infer/"])
def test_slash_at_the_end_leads_nowhere_else(api: Running, disc: bytes, path: str) -> None:
    answer = api.ask("POST", path, disc)  # behind https a redirect would lead to http, and the key with it
    assert (answer.status, answer.headers["location"]) == (404, None)


def test_form_of_too_many_parts_is_refused(api: Running) -> None:
    found = api.ask("POST", "/v1/predict/batch", *form(*[(str(i), b"x") for i in range(1001)]))
    assert (found.status, found.json["error"]) == (413, "too many pictures; at most 256 in one request")


def test_declared_body_beyond_the_limit_is_refused_unread(baseline_run: Run) -> None:
    with running([baseline_run.folder], max_body=1000) as service:
        found = service.ask("POST", "/v1/predict", b"", {"Content-Length": "1001"})
    assert (found.status, found.headers["connection"]) == (413, "close")


def test_chunked_body_beyond_the_limit_is_refused(baseline_run: Run) -> None:
    chunk = b"3E8\r\n" + bytes(1000) + b"\r\n"
    with running([baseline_run.folder], max_body=1500) as service:
        found = service.ask("POST", "/v1/predict", chunk * 2 + b"0\r\n\r\n", {"Transfer-Encoding": "chunked"})
    assert found.status == 413


def test_bodies_of_all_requests_have_a_limit_together(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder], max_memory=100) as service:
        found = service.ask("POST", "/v1/predict", disc)
    assert (found.status, found.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/explain"])
def test_picture_of_too_many_pixels_is_refused(baseline_run: Run, path: str) -> None:
    with running([baseline_run.folder], max_pixels=1000) as service:
        found = service.ask("POST", path, encode(np.zeros((40, 40, 3), np.uint8)))
    assert (found.status, found.json["error"]) == (
        422,
        "the picture has 40 x 40 pixels; at most 1,000 in all are read; scale it down",
    )


def test_keys_are_wanted_where_the_owner_says_so(baseline_run: Run, disc: bytes) -> None:
    key = "a-key-of-16-or-more"
    with running([baseline_run.folder], keys=("another-key-of-the-owner", key)) as service:
        asked = [
            service.ask("POST", "/v1/predict", disc, headers).status
            for headers in ({}, {"X-API-Key": "wrong"}, {"X-API-Key": key}, {"Authorization": f"Bearer {key}"})
        ]
        assert service.ask("GET", "/livez").status == 200
        assert service.ask("GET", "/metrics").status == 401
    assert asked == [401, 401, 200, 200]


def test_pages_of_other_sites_may_ask_only_where_the_owner_says_so(api: Running, baseline_run: Run) -> None:
    headers = {"Origin": "https://shop.example"}
    assert "access-control-allow-origin" not in api.ask("GET", "/v1/models", None, headers).headers
    with running([baseline_run.folder], origins=("https://shop.example",)) as service:
        found = service.ask("GET", "/v1/models", None, headers)
        other = service.ask("GET", "/v1/models", None, {"Origin": "https://evil.example"})
    assert found.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in other.headers


def test_pages_of_allowed_sites_may_ask_with_a_key(baseline_run: Run) -> None:
    headers = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    with running([baseline_run.folder], origins=("https://shop.example",), keys=("a-key-of-16-or-more",)) as service:
        asked = service.ask("OPTIONS", "/v1/predict", None, {**headers, "Access-Control-Request-Headers": "x-api-key"})
        refused = service.ask("POST", "/v1/predict", b"", headers)
    assert asked.status == 200
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "https://shop.example")


def test_form_that_was_cut_is_refused(api: Running, disc: bytes) -> None:
    body, headers = form(("a.png", disc), ("b.png", disc))
    found = api.ask("POST", "/v1/predict/batch", body[:-30], headers)
    assert (found.status, "part of it is missing" in found.json["error"]) == (400, True)


def test_file_without_a_name_is_told(api: Running, disc: bytes) -> None:
    body, headers = form(("a.png", disc))
    found = api.ask("POST", "/v1/predict", body.replace(b'; filename="a.png"', b""), headers)
    assert (found.status, found.json["error"]) == (400, "the field 'files' is no file: it has no file name")


def test_name_of_a_file_in_letters_that_are_none(api: Running, disc: bytes) -> None:
    body, headers = form(("+2AA-", disc))
    headers["Content-Type"] += "; charset=utf-7"
    assert api.ask("POST", "/v1/predict/batch", body, headers).status == 200


def test_request_has_an_id_and_a_line_in_the_log(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder]) as service:
        found = service.ask("POST", "/v1/predict", disc, {"X-Request-ID": "my-id"})
    assert found.headers["x-request-id"] == "my-id"
    [line] = [line for line in service.lines if line.get("id") == "my-id"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/predict", 200)


def test_id_that_could_forge_the_log_is_not_taken(api: Running) -> None:
    assert api.ask("GET", "/v1/models", None, {"X-Request-ID": 'a","b":"c'}).headers["x-request-id"] != 'a","b":"c'


def test_error_inside_says_nothing_of_the_inside(
    baseline_run: Run, disc: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running([baseline_run.folder]) as service:
        monkeypatch.setattr(service.service, "answer_files", lambda *_: 1 / 0)
        found = service.ask("POST", "/v1/predict", disc, {"X-Request-ID": "my-id"})
        assert found.status == 500
        assert "division" not in found.data.decode()
    [line] = [line for line in service.lines if line["event"] == "error"]
    assert (line["id"], "ZeroDivisionError" in line["trace"]) == ("my-id", True)


def test_metrics_count_requests_and_rejections(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder]) as service:
        service.ask("POST", "/v1/predict", disc)
        service.ask("POST", "/v1/predict", b"words")
        text = service.ask("GET", "/metrics").data.decode()
    for line in (
        'whatsit_requests_total{method="POST",route="/v1/predict",status="200"} 1.0',
        'whatsit_rejections_total{reason="picture_format"} 1.0',
        'whatsit_batch_size_count{model="baseline",version="1"} 1.0',
        'whatsit_queue_depth{model="baseline",version="1"} 0.0',
    ):
        assert line in text


def test_description_has_examples(api: Running) -> None:
    described = json.dumps(api.ask("GET", "/openapi.json").json)
    assert "/v1/predict/batch" in described
    assert '"examples": ["cat"]' in described


def test_description_says_where_a_key_is_wanted(api: Running, baseline_run: Run) -> None:
    assert "securitySchemes" not in api.ask("GET", "/openapi.json").json["components"]
    key = "a-key-of-16-or-more"
    with running([baseline_run.folder], keys=(key,)) as service:
        described = service.ask("GET", "/openapi.json", headers={"X-API-Key": key}).json
    assert described["components"]["securitySchemes"]["key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert described["paths"]["/v1/predict"]["post"]["security"] == [{"key": []}, {"bearer": []}]
    assert "security" not in described["paths"]["/livez"]["get"]


def test_model_that_is_not_there_is_told_before_the_start(tmp_path: Path) -> None:
    from whatsit.errors import MissingBundleError

    with pytest.raises(MissingBundleError, match="there is no such model"), running([tmp_path / "none.whatsit"]):
        pass
