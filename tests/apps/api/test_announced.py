"""The address that is told answers."""

from __future__ import annotations

import queue
import socket
import threading
import urllib.request

import pytest

from tests.browser import free_port
from whatsit.apps.api import server
from whatsit.apps.api.service import Service
from whatsit.apps.api.settings import Settings
from whatsit.run.record import Run

IPV6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")


@pytest.mark.parametrize(
    ("host", "root", "told"),
    [
        (None, "", "http://127.0.0.1:{port}"),
        ("0.0.0.0", "", "http://127.0.0.1:{port}"),
        ("localhost", "", "http://localhost:{port}"),
        ("127.0.0.1", "/pets", "http://127.0.0.1:{port}/pets"),
        pytest.param("::", "", "http://[::1]:{port}", marks=IPV6),
        pytest.param("::", "/pets", "http://[::1]:{port}/pets", marks=IPV6),
        pytest.param("::1", "", "http://[::1]:{port}", marks=IPV6),
        pytest.param("[::1]", "", "http://[::1]:{port}", marks=IPV6),
    ],
)
def test_told_address_answers(
    baseline_run: Run, monkeypatch: pytest.MonkeyPatch, host: str | None, root: str, told: str
) -> None:
    made: list[server.Server] = []
    real = server.make_server

    def make_server(service: Service) -> server.Server:
        made.append(real(service))
        return made[-1]

    monkeypatch.setattr(server, "make_server", make_server)
    said: queue.Queue[str] = queue.Queue()
    port = free_port()
    settings = Settings(watch=0.0, drain=0.0, max_batch=1, root_path=root)
    thread = threading.Thread(
        target=server.serve,
        args=([baseline_run.folder],),
        kwargs={"host": host, "port": port, "settings": settings, "say": said.put},
    )
    thread.start()
    try:
        words = said.get(timeout=20)
        address = words.removeprefix("The service is at ").partition(" (")[0]
        assert address == told.format(port=port)
        assert words.endswith(f"curl --data-binary @PICTURE {address}/v1/predict")
        with urllib.request.urlopen(f"{address}/livez", timeout=10) as answer:
            assert answer.status == 200
    finally:
        made[0].should_exit = True
        thread.join(20)
