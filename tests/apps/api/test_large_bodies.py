"""What takes long to parse does not hold up others, and has a limit."""

from __future__ import annotations

import base64
import json
import threading

import orjson
import pytest

from tests.apps.api.conftest import Running, running
from whatsit.run.record import Run


class Heard:
    """The names of the threads that call something."""

    def __init__(self) -> None:
        self.threads: list[str] = []

    def note(self) -> None:
        self.threads.append(threading.current_thread().name.rpartition("_")[0])


@pytest.fixture
def parsing(monkeypatch: pytest.MonkeyPatch) -> Heard:
    heard, real = Heard(), orjson.loads

    def loads(data: bytes) -> object:
        heard.note()
        return real(data)

    monkeypatch.setattr(orjson, "loads", loads)
    return heard


def test_large_json_is_parsed_beside_the_event_loop(api: Running, parsing: Heard, disc: bytes) -> None:
    text = base64.b64encode(disc).decode() + "\n" * 100_000
    inputs = [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]
    found = api.ask("POST", "/v2/models/baseline/infer", json.dumps({"inputs": inputs}).encode())
    assert found.json["outputs"][1]["data"] == ["disc"]
    assert parsing.threads == ["body"]


@pytest.mark.parametrize("part", ["1", "[]", "{}", '"a"'])
@pytest.mark.parametrize("path", ["/v2/models/baseline/infer", "/v2/repository/index"])
def test_json_of_too_many_values_is_refused_before_it_is_parsed(
    baseline_run: Run, api: Running, parsing: Heard, part: str, path: str
) -> None:
    found = api.ask("POST", path, b"[" + b",".join([part.encode()] * 1_600_000) + b"]")
    assert (found.status, found.json["error"]) == (
        413,
        "the JSON has more than 1,500,000 values; send large tensors as binary data",
    )
    assert parsing.threads == []


def test_json_has_a_size(baseline_run: Run) -> None:
    with running([baseline_run.folder], max_json=1000) as service:
        for path in ("/v2/models/baseline/infer", "/v2/repository/index"):
            assert service.ask("POST", path, b" " * 1001).json["error"].startswith("the JSON has more than 1,000 bytes")


TOKEN = "a-token-of-16-or-more"


@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        (
            "load",
            {"parameters": {"config": "{}"}},
            "load: a model's configuration is in its .whatsit file and cannot be given",
        ),
        ("load", {"parameters": {"file:1/model.onnx": "AAAA"}}, "load: 'file:1/model.onnx': files are not taken"),
        ("load", {"parameters": {"config": "{}", "file:1/model.onnx": "AAAA"}}, "load: a model's configuration"),
        ("load", {"parameters": {"unload_dependents": True}}, "load: the parameter 'unload_dependents' is unknown"),
        ("unload", {"parameters": {"config": "{}"}}, "unload: a model's configuration"),
        ("unload", {"parameters": {"wait": 1}}, "unload: the parameter 'wait' is unknown"),
        ("load", {"parameters": []}, "the 'parameters' must be an object"),
        ("load", [], "the request must be a JSON object"),
        ("unload", "words", "the request must be a JSON object"),
    ],
)
def test_load_and_unload_refuse_what_they_do_not_do(baseline_run: Run, verb: str, body: object, words: str) -> None:
    with running([baseline_run.folder], admin_token=TOKEN) as service:
        path = f"/v2/repository/models/baseline/{verb}"
        found = service.ask("POST", path, json.dumps(body).encode(), {"X-Admin-Token": TOKEN})
        assert (found.status, found.json["error"][: len(words)]) == (400, words)
        assert service.ask("GET", "/v2/models/baseline/ready").status == 200
        assert [line for line in service.lines if line["event"] in ("reloaded", "unloaded")] == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters": {}}', b'{"parameters": {"unload_dependents": true}}'])
def test_unload_takes_what_it_does(baseline_run: Run, body: bytes) -> None:
    with running([baseline_run.folder], admin_token=TOKEN) as service:
        headers = {"X-Admin-Token": TOKEN}
        assert service.ask("POST", "/v2/repository/models/baseline/unload", body, headers).status == 200
        assert service.ask("POST", "/v2/repository/models/baseline/load", headers=headers).status == 200


def test_nobody_without_the_token_has_a_body_read(baseline_run: Run) -> None:
    with running([baseline_run.folder], admin_token=TOKEN) as service:
        assert service.ask("POST", "/v2/repository/models/baseline/load", b"no JSON").status == 401
