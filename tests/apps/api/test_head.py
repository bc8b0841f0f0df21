"""HEAD answers as GET does, without a body."""

from __future__ import annotations

import socket

import pytest

from tests.apps.api.conftest import Running, running
from whatsit.run.record import Run

PATHS = [
    "/",
    "/page.js",
    "/Sarabun.ttf",
    "/openapi.json",
    "/livez",
    "/readyz",
    "/v1/models",
    "/v1/models/baseline",
    "/v1/models/baseline?version=1",
    "/v1/models/none",
    "/v1/predict",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/baseline",
    "/v2/models/baseline/ready",
    "/v2/models/baseline/infer",
    "/v2/models/baseline/config",
    "/v2/models/baseline/versions/1/stats",
    "/v2/logging",
    "/nothing",
]
_OWN = {"x-request-id", "date"}


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_its_body(api: Running, path: str) -> None:
    head, get = (api.ask(method, path) for method in ("HEAD", "GET"))
    assert (head.status, head.data) == (get.status, b"")
    mine, theirs = ({k: v for k, v in one.headers.items() if k.lower() not in _OWN} for one in (head, get))
    assert mine == theirs


def test_head_of_the_metrics(api: Running) -> None:
    found = api.ask("HEAD", "/metrics")
    assert (found.status, found.data) == (200, b"")
    assert int(found.headers["content-length"]) > 1000


def test_nothing_follows_the_head_so_that_the_connection_goes_on(api: Running) -> None:
    paths = ("/livez", "/", "/nothing", "/metrics", "/v1/predict")
    asked = b"".join(f"HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for path in paths)
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as client:
        client.sendall(asked + b"HEAD / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    heads = answer.split(b"\r\n\r\n")
    assert [head[9:12] for head in heads] == [b"200", b"200", b"404", b"200", b"405", b"200", b""]


def test_head_needs_the_key_too(baseline_run: Run) -> None:
    with running([baseline_run.folder], keys=("0123456789abcdef",)) as service:
        found = service.ask("HEAD", "/metrics")
        assert (found.status, found.data) == (401, b"")
        assert service.ask("HEAD", "/livez").status == 200


def test_head_is_counted_and_logged_as_head(api: Running) -> None:
    api.ask("HEAD", "/v1/models")
    assert [line["method"] for line in api.lines if line.get("path") == "/v1/models"][-1] == "HEAD"
    api.until('method="HEAD",route="/v1/models",status="200"')


def test_other_methods_are_told_what_is_possible(api: Running) -> None:
    found = api.ask("DELETE", "/v1/models")
    assert (found.status, found.headers["allow"]) == (405, "GET, HEAD")
    assert api.ask("GET", "/v1/predict").headers["allow"] == "POST"
