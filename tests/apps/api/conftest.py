"""A service on a loopback port, in a thread of the tests' own process."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import encode, shapes
from whatsit.apps.api.server import make_server
from whatsit.apps.api.service import Service
from whatsit.apps.api.settings import Settings
from whatsit.apps.api.telemetry import Log
from whatsit.apps.network import HOST, listening
from whatsit.run.record import Run


@dataclass
class Answer:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@dataclass
class Running:
    """A service at work."""

    url: str
    port: int
    service: Service
    log: io.StringIO

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def until(self, words: str) -> None:
        """Ask for the metrics until they say so."""
        for _ in range(10_000):
            if words in self.ask("GET", "/metrics").data.decode():
                return
        pytest.fail(f"the metrics never said: {words}")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@contextmanager
def running(models: Sequence[str | Path], **settings: Any) -> Iterator[Running]:
    """Serve models; `watch` is off unless given."""
    log = io.StringIO()
    service = Service(models, Settings(**{"watch": 0.0, "drain": 0.1, "max_batch": 8, **settings}), log=Log(log))
    service.models.load_all()
    server = make_server(service)
    started = threading.Event()
    with listening("the service", HOST, [0]) as (sockets, port):
        thread = threading.Thread(target=_run, args=(server, sockets, started))
        thread.start()
        try:
            assert started.wait(20)
            yield Running(f"http://{HOST}:{port}", port, service, log)
        finally:
            server.handle_exit(15, None)
            thread.join(20)
            assert not thread.is_alive()


def _run(server: Any, sockets: list[socket.socket], started: threading.Event) -> None:
    startup = server.startup

    async def telling(*arguments: Any, **named: Any) -> None:
        await startup(*arguments, **named)
        started.set()

    server.startup = telling
    server.run(sockets)


@pytest.fixture(scope="session")
def api(baseline_run: Run, hostile_run: Run) -> Iterator[Running]:
    """A service of two models: `baseline` (the first) and `hostile`."""
    with running([baseline_run.folder, f"hostile={hostile_run.folder}"]) as service:
        yield service


@pytest.fixture(scope="session")
def disc() -> bytes:
    """The file of a picture."""
    return encode(shapes("disc", 7))


def form(*files: tuple[str, bytes], boundary: str = "limit") -> tuple[bytes, dict[str, str]]:
    """A multipart body and its header."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    ]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
