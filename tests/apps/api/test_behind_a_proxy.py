"""The service behind a proxy that serves it below a path, with its part of the path taken away or handed on."""

from __future__ import annotations

import http.client
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.apps.api.conftest import running
from tests.browser import camera_video, chromium
from whatsit.apps.cli import app
from whatsit.apps.client import Client
from whatsit.run.record import Run


@contextmanager
def proxy(port: int, *, strips: bool) -> Iterator[str]:
    """A proxy that knows nothing but `/pets`, as the one in the middle of a site."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self.path
            if path != "/pets" and not path.startswith(("/pets/", "/pets?")):
                self.send_error(404)
                return
            if strips:
                path = "/" + path.removeprefix("/pets").removeprefix("/")
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
                connection.request(self.command, path, body or None, headers)
                response = connection.getresponse()
                data = response.read()
            with suppress(ConnectionError):  # a page that has what it wants hangs up
                self.send_response(response.status)
                for name, value in response.getheaders():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name in ("do_GET", "do_POST"):
                return self.do
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/pets"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module", params=[True, False], ids=["strips", "hands on"])
def address(request: pytest.FixtureRequest, baseline_run: Run) -> Iterator[str]:
    with (
        running([baseline_run.folder], root_path="/pets") as service,
        proxy(service.port, strips=request.param) as address,
    ):
        yield address


@pytest.mark.parametrize("end", ["", "/"])
def test_client_asks_through_the_proxy(address: str, disc: bytes, end: str) -> None:
    with Client(address + end) as client:
        assert [one.label for one in client.predict([disc])] == ["disc"]
        assert [one["name"] for one in client.models()] == ["baseline"]


def test_command_line_asks_through_the_proxy(address: str, disc: bytes, tmp_path: Path) -> None:
    (tmp_path / "disc.png").write_bytes(disc)
    done = CliRunner().invoke(app, ["predict", address, str(tmp_path / "disc.png"), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["label"]) == (0, "disc")


@pytest.mark.parametrize("end", ["", "?lang=en"])
def test_page_works_through_the_proxy(address: str, disc: bytes, tmp_path: Path, end: str) -> None:
    (tmp_path / "disc.png").write_bytes(disc)
    with chromium(camera_video(tmp_path / "camera.mjpeg", [])) as browser:
        page = browser.new_page(locale="en")
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(address + end)
        assert page.inner_text("#curl").endswith("/pets/v1/predict")
        page.set_input_files("#file", tmp_path / "disc.png")
        page.wait_for_selector("#result img")
        assert page.inner_text("#result .bar >> nth=0 >> span >> nth=0") == "disc"
        page.click("text=ไทย")
        page.wait_for_selector("html[lang=th]")
        assert problems == []
