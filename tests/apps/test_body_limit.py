"""Bodies that are too large."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from whatsit.apps.body_limit import BodyLimit


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()

    @app.post("/")
    @app.post("/upload")
    async def count(request: Request) -> int:
        return len(await request.body())

    app.add_middleware(BodyLimit, most=10, most_upload=100, upload="/upload")
    return TestClient(app)


def parts(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield b"1"


@pytest.mark.parametrize(
    ("count", "path", "status"), [(10, "/", 200), (11, "/", 413), (11, "/upload", 200), (101, "/upload", 413)]
)
@pytest.mark.parametrize("declared", [True, False])
def test_bodies_above_the_limit_are_refused(
    client: TestClient, count: int, path: str, status: int, declared: bool
) -> None:
    body = b"1" * count if declared else parts(count)
    answer = client.post(path, content=body, headers={"content-type": "multipart/form-data"})
    assert answer.status_code == status
    assert "more than 0 MB; send fewer" in answer.text or answer.json() == count
