"""Frames of the live camera while a model is being opened."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.conftest import encode, shapes
from whatsit.apps.model_files import Entry
from whatsit.apps.streamlit_app import live_frames
from whatsit.runtime.predictor import Prediction

FRAME = encode(shapes("disc", 7))


class FakeModel:
    """Answers at once."""

    predictor = property(lambda self: self)

    def predict(self, frames: list[bytes], top: int) -> list[Prediction]:
        return [Prediction("disc", 0.9, False, (("disc", 0.9),)) for _ in frames]


class SlowModels:
    """Has the model "open" open; any other waits for the test."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def find(self, name: str) -> Entry:
        return Entry(name, Path(name))

    def opened(self, entry: Entry) -> FakeModel | None:
        return FakeModel() if entry.name == "open" else None

    def open(self, entry: Entry) -> FakeModel:
        self.began.set()
        assert self.go_on.wait(20)
        return FakeModel()


def test_frames_for_an_open_model_are_answered_while_another_is_opened() -> None:
    models = SlowModels()
    route = Route(live_frames.PATH, live_frames.LiveFrames(models).predict, methods=["POST"])

    def ask(model: str) -> int:
        return client.post(
            f"{live_frames.PATH}?model={model}", content=FRAME, headers={live_frames.HEADER: "1"}
        ).status_code

    with TestClient(Starlette(routes=[route])) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, "slow")
        assert models.began.wait(20)
        assert [ask("open") for _ in range(3)] == [200, 200, 200]
        assert ask("slow") == 429  # the page asks again with its next frame
        models.go_on.set()
        assert first.result() == 200
