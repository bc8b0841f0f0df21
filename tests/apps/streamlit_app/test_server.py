from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from starlette.formparsers import MultiPartParser

from tests.browser import free_port, serving
from tests.conftest import encode, shapes
from tests.guard import guarded
from whatsit.apps.streamlit_app import server
from whatsit.apps.streamlit_app.live_frames import MAX_FRAME
from whatsit.apps.streamlit_app.server import SCRIPT
from whatsit.apps.streamlit_app.state import AppState
from whatsit.run.record import Run

ROOT = Path(__file__).parent.parent.parent.parent
OWN_PAGE = {"x-whatsit": "1"}


def post(app: str, model: str, frame: bytes, headers: dict[str, str] = OWN_PAGE) -> tuple[int, dict[str, object]]:
    place = urlsplit(app)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
    try:
        connection.request("POST", f"{place.path}/whatsit/answer?model={quote(model)}", frame, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_frame_gets_the_predictors_answer(app: str, baseline_run: Run) -> None:
    frame = encode(shapes("disc", 7))
    [wanted] = baseline_run.load().predict([frame])
    status, found = post(app, "baseline", frame)
    assert status == 200
    assert (found["label"], found["unknown"]) == (wanted.label, wanted.unknown)
    assert found["probability"] == pytest.approx(wanted.probability, abs=1e-4)
    assert [entry["label"] for entry in found["top"]] == [label for label, _ in wanted.top]


@pytest.mark.parametrize(
    ("model", "frame", "headers", "status", "words"),
    [
        ("baseline", b"words", OWN_PAGE, 400, "the file holds text, not a picture"),
        ("baseline", b"", OWN_PAGE, 400, "the file is empty"),
        (
            "baseline",
            encode(np.zeros((4001, 4000, 3), np.uint8)),
            OWN_PAGE,
            400,
            "at most 16,000,000 in all are read; scale it down",
        ),
        ("../../etc/passwd", b"words", OWN_PAGE, 404, "there is no such model"),
        ("baseline", bytes(MAX_FRAME + 1), OWN_PAGE, 413, "a frame has at most"),
        ("baseline", b"words", {}, 403, "for the app's own pages"),
    ],
)
def test_frame_that_cannot_be_answered(
    app: str, model: str, frame: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    found = post(app, model, frame, headers)
    assert found[0] == status
    assert words in str(found[1]["error"])


def test_page_of_another_origin_gets_no_permission(app: str) -> None:
    place = urlsplit(app)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
    asked = {
        "origin": "http://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-whatsit",
    }
    connection.request("OPTIONS", "/whatsit/answer", headers=asked)
    response = connection.getresponse()
    assert response.status >= 400
    assert response.getheader("access-control-allow-origin") is None
    connection.close()


def upgrade(app: str, origin: str, path: str = "/_stcore/stream") -> int:
    """Ask for Streamlit's websocket as a page of this origin: the status."""
    place = urlsplit(app)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
    asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    connection.request("GET", path, headers=asked | {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Origin": origin})
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://evil.example", 403),
        ("null", 403),
        ("http://192.0.2.7:8501", 403),
        ("", 101),
        ("http://localhost:1", 101),
    ],
)
def test_only_own_pages_get_the_websocket(app: str, origin: str, status: int) -> None:
    """Of any other origin, Streamlit asked an outside host for this computer's address; the fixture sees that it does not."""
    assert upgrade(app, origin or app) == status


def test_live_route_is_refused_by_a_borrowed_name(app: str) -> None:
    """A name that somebody points at this computer: to the browser, the page is the app's own."""
    status, body = ask(app, "/whatsit/answer?model=baseline", OWN_PAGE | {"host": "evil.example"})
    assert status == 403
    assert "is not called evil.example" in body


def ask(app: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    place = urlsplit(app)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
    try:
        connection.request("POST", path, b"", headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_settings_for_hosting_are_the_apps_own() -> None:
    own = (SCRIPT.parent / ".streamlit" / "config.toml").read_text(encoding="utf-8")
    assert (ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8") == own


def test_uploads_stay_in_memory() -> None:
    """Starlette would put a larger one into a file without a name."""
    limit = tomllib.loads((SCRIPT.parent / ".streamlit" / "config.toml").read_text())["server"]["maxUploadSize"]
    assert MultiPartParser.spool_max_size > limit * 1_000_000


def test_hosted_app_answers(baseline_run: Run, tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "asked.txt"
    options = ["--server.port", port, "--server.address", "0.0.0.0", "--server.baseUrlPath", "pets"]
    command, environment = guarded(log, "streamlit", "run", ROOT / "app.py", *options)
    environment |= {"WHATSIT_MODELS": str(baseline_run.folder), "HOME": str(tmp_path)}
    with serving(command, port, tmp_path, "/pets/_stcore/health", **environment) as address:
        assert post(f"{address}/pets", "baseline", encode(shapes("disc", 7)))[0] == 200
        assert upgrade(address, "http://evil.example", "/pets/_stcore/stream") == 403
    assert log.read_text() == ""


def test_nonsense_for_a_root_path_is_one_line(baseline_run: Run) -> None:
    done = run_app(baseline_run.folder, "--root-path", "/a?b")
    assert done.returncode == 2
    assert done.stderr.startswith("whatsit: --root-path '/a?b' is neither a path nor an address")


def test_nonsense_for_a_host_is_one_line(baseline_run: Run) -> None:
    done = run_app(baseline_run.folder, "--host", "a..b")
    assert done.returncode == 2
    assert done.stderr.startswith("whatsit: the app cannot be served on a..b")


def run_app(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "whatsit.apps.cli", "app", *map(str, arguments), "--no-browser"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_missing_model_is_one_line(tmp_path: Path) -> None:
    done = run_app(tmp_path / "none.whatsit")
    assert done.returncode == 2
    assert (
        done.stderr == f"whatsit: {tmp_path}/none.whatsit: there is no such model; train one with: whatsit train DATA\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([""], "MODEL is empty; give a .whatsit file, a run folder or a folder of them"),
        (["--teach", ""], "DIR is empty; give a folder to keep pictures in"),
        (["--teach", "none", "--feedback", ""], "DIR is empty; give a folder to keep pictures in"),
        (["--data", ""], "DATA is empty; give a folder, an archive, a CSV file or the name of a data set"),
    ],
)
def test_empty_name_is_one_line(arguments: list[str], words: str) -> None:
    done = run_app(*arguments)
    assert (done.returncode, done.stderr) == (2, f"whatsit: {words}\n")


def test_taken_port_is_one_line(baseline_run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_app(baseline_run.folder, "--port", port)
    assert done.returncode == 2
    assert done.stderr.startswith(f"whatsit: the app cannot be served on 127.0.0.1, port {port}: ")
    assert "choose others with --host and --port" in done.stderr


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, True),
        ({"host": "0.0.0.0"}, False),
        ({"root_path": "/pets"}, False),
        ({"host": "0.0.0.0", "training_pictures": True}, True),
    ],
)
def test_visitors_from_elsewhere_see_no_training_pictures_unless_the_owner_says_so(
    baseline_run: Run, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], shown: bool
) -> None:
    monkeypatch.setattr(server, "STATE", AppState())
    monkeypatch.setattr(server, "serve_app", lambda *given, **named: None)
    monkeypatch.setattr(server.config, "set_option", lambda *given: None)
    server.run([baseline_run.folder], **options)
    assert server.STATE.shows_training is shown
