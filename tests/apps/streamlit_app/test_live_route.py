"""The live route while a model is being opened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.conftest import encode, shapes
from whatsit.apps.model_files import Entry
from whatsit.apps.streamlit_app import live_route
from whatsit.runtime.predictor import Prediction

FRAME = encode(shapes("disc", 7))


class FakeModel:
    """Answers at once."""

    predictor = property(lambda self: self)

    def predict(self, frames: list[bytes], top: int) -> list[Prediction]:
        return [Prediction("disc", 0.9, False, (("disc", 0.9),)) for _ in frames]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(live_route, "_limiters", {})
    with TestClient(Starlette(routes=[Route(live_route.PATH, live_route.answer, methods=["POST"])])) as client:
        yield client


def test_frames_for_an_open_model_are_answered_while_another_is_opened(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = threading.Event(), threading.Event()

    def open_slowly(entry: Entry) -> FakeModel:
        began.set()
        assert go_on.wait(20)
        return FakeModel()

    monkeypatch.setattr(live_route, "offered_model", lambda name: Entry(name, Path(name)))
    monkeypatch.setattr(live_route, "opened_model", lambda entry: FakeModel() if entry.name == "open" else None)
    monkeypatch.setattr(live_route, "open_model", open_slowly)

    def ask(model: str) -> int:
        return client.post(
            f"{live_route.PATH}?model={model}", content=FRAME, headers={live_route.HEADER: "1"}
        ).status_code

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, "slow")
        assert began.wait(20)
        assert [ask("open") for _ in range(3)] == [200, 200, 200]
        assert ask("slow") == 429  # the page asks again with its next frame
        go_on.set()
        assert first.result() == 200
