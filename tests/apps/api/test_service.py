"""What a service does under load and against slow, rude and hostile clients."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.apps.api.conftest import Running, form, running
from tests.browser import free_port
from tests.conftest import encode
from whatsit.apps.api.batching import Batcher
from whatsit.apps.api.keys import read_keys
from whatsit.apps.api.models import Models, parse_models
from whatsit.apps.api.server import SWITCH, Server, serve
from whatsit.apps.network import HOST, listening
from whatsit.errors import UsageError
from whatsit.run.record import Run
from whatsit.runtime.predictor import Answer, Predictor


@contextmanager
def held(service: Running) -> Iterator[threading.Event]:
    """The first model waits at a gate, which the test opens."""
    served = service.service.models.get()
    opened = threading.Event()
    entered = threading.Event()

    def answer(pixels: np.ndarray) -> list[Answer]:
        entered.set()
        assert opened.wait(20)
        return served.predictor.answer(pixels)

    served.batcher.close()
    served.batcher = Batcher(answer, max_batch=1)
    try:
        yield opened
    finally:
        opened.set()


def in_flight(count: int) -> str:
    return f'whatsit_in_flight{{model="baseline",version="1"}} {count}.0'


def test_full_queue_answers_429_at_once_and_the_first_still_succeed(baseline_run: Run, disc: bytes) -> None:
    with (
        running([baseline_run.folder], queue=2, max_batch=1) as service,
        ThreadPoolExecutor(3) as clients,
        held(service) as opened,
    ):
        first = [clients.submit(service.ask, "POST", "/v1/predict", disc) for _ in range(3)]
        service.until(in_flight(3))
        rejected = [service.ask("POST", "/v1/predict", disc) for _ in range(4)]
        alive = service.ask("GET", "/livez").status
        opened.set()
        assert [one.result().status for one in first] == [200] * 3
    assert [(one.status, one.headers["retry-after"]) for one in rejected] == [(429, "1")] * 4
    assert alive == 200


def test_answer_that_takes_too_long_is_a_504(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder], deadline=0.05) as service, held(service):
        found = service.ask("POST", "/v1/predict", disc)
        service.until(in_flight(0))
    assert (found.status, found.json["error"]) == (504, "there was no answer within 0.05 seconds")


def test_request_whose_client_has_gone_is_dropped(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder], max_batch=1) as service, held(service) as opened:
        for _ in range(2):  # the first is at work, the second waits
            with socket.create_connection(("127.0.0.1", service.port)) as client:
                client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(disc) + disc)
                service.until(in_flight(1))
            service.until(in_flight(0))
        opened.set()
        service.until('whatsit_rejections_total{reason="client_gone"} 2.0')
        assert service.ask("POST", "/v1/predict", disc).status == 200


def test_slow_clients_are_closed_and_others_are_served(baseline_run: Run, disc: bytes) -> None:
    heads = [b"", b"POST /v1/pre", b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"]
    with running([baseline_run.folder], arrival=0.3) as service:
        clients = [socket.create_connection(("127.0.0.1", service.port), timeout=10) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(heads[number % len(heads)])
        assert service.ask("POST", "/v1/predict", disc).status == 200
        answers = [_all_of(client) for client in clients]
    assert all(b" 408 " in answer and b"did not arrive within 0.3 seconds" in answer for answer in answers)


def test_connections_have_a_limit(baseline_run: Run) -> None:
    with running([baseline_run.folder], max_connections=2) as service:
        clients = [socket.create_connection(("127.0.0.1", service.port), timeout=10) for _ in range(3)]
        assert b" 503 " in _all_of(clients[2])
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"GET /" + bytes([0xFF]) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["no HTTP", "no ASCII", "negative"],
)
def test_what_is_no_request_gets_400(api: Running, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as client:
        client.sendall(head)
        answer = _all_of(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def test_second_request_of_a_connection_may_be_slow_only_for_so_long(baseline_run: Run) -> None:
    with running([baseline_run.folder], arrival=0.3) as service:
        client = socket.create_connection(("127.0.0.1", service.port), timeout=10)
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /li")
        assert b" 408 " in _all_of(client)


def test_sigterm_lets_accepted_requests_finish_and_takes_no_new_ones(baseline_run: Run, disc: bytes) -> None:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "whatsit.apps.cli",
        "serve",
        str(baseline_run.folder),
        "--port",
        str(port),
        "--grace",
        "3",
    ]
    process = subprocess.Popen([*command, "--max-batch", "4"], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        assert "The service is at" in process.stderr.readline()
        ready = _readiness(port)
        half, never = (_accepted(port, length) for length in (len(disc), 1000))
        process.send_signal(signal.SIGTERM)
        stopping = ready
        while stopping == ready:
            stopping = _readiness(port)
        half.sendall(disc)
        answer = _all_of(half)
        rest = process.stderr.read()
        assert process.wait(15) == 0
        assert _all_of(never)
    finally:
        process.kill()
        process.stderr.close()
    assert (ready, stopping) == (200, 503)
    assert answer.startswith(b"HTTP/1.1 200")
    assert rest.endswith("The service has stopped.\n")


def test_port_is_held_while_the_models_load(baseline_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    def load_all(_: Models) -> None:
        with listening("another", HOST, [port]):
            pytest.fail("another program could have the port")

    monkeypatch.setattr(Models, "load_all", load_all)
    with pytest.raises(UsageError, match=f"another cannot be served on {HOST}, port {port}"):
        serve([baseline_run.folder], port=port)


def test_threads_take_turns_more_often_only_while_the_service_runs(
    baseline_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, within = sys.getswitchinterval(), []
    monkeypatch.setattr(Server, "run", lambda *_: within.append(sys.getswitchinterval()))
    serve([baseline_run.folder], port=free_port())
    assert within == [pytest.approx(SWITCH)]
    assert sys.getswitchinterval() == before


def test_sigterm_after_a_reload_ends_calmly(baseline_run: Run, tmp_path: Path) -> None:
    path, port = Path(shutil.copy(baseline_run.model, tmp_path / "m.whatsit")), free_port()
    (tmp_path / "token").write_text("a-token-of-16-or-more")
    options = ["--port", str(port), "--max-batch", "4", "--admin-token-file", str(tmp_path / "token")]
    command = [sys.executable, "-m", "whatsit.apps.cli", "serve", str(path), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        assert "The service is at" in process.stderr.readline()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/v2/repository/models/m/load", headers={"X-Admin-Token": "a-token-of-16-or-more"})
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read().endswith("The service has stopped.\n")
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.stderr.close()


def test_large_pictures_of_one_request_leave_others_their_turn(baseline_run: Run, disc: bytes) -> None:
    large = encode(np.zeros((3000, 3000, 3), np.uint8))
    with running([baseline_run.folder], decoders=1) as service, ThreadPoolExecutor(1) as clients:
        many = clients.submit(service.ask, "POST", "/v1/predict/batch", *form(*[(str(i), large) for i in range(40)]))
        service.until(in_flight(40))
        assert service.ask("POST", "/v1/predict", disc).status == 200
        assert not many.done()
        assert many.result().status == 200


def test_body_behind_an_upgrade_is_no_request(api: Running) -> None:
    hidden = b"GET /v1/models HTTP/1.1\r\nHost: smuggled\r\n\r\n"
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as client:
        client.sendall(head % len(hidden))
        client.sendall(hidden)
        answer = _all_of(client)
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def _readiness(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/readyz")
    status = connection.getresponse().status
    connection.close()
    return status


def _accepted(port: int, length: int) -> socket.socket:
    """A connection with a request that the service has begun to read, and whose body is still to come."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    client.sendall(head.encode())
    assert client.recv(1000).startswith(b"HTTP/1.1 100")
    return client


def test_changed_file_is_served_from_then_on(baseline_run: Run, hostile_run: Run, disc: bytes, tmp_path: Path) -> None:
    path = Path(shutil.copy(baseline_run.model, tmp_path / "m.whatsit"))
    with running([path], watch=0.02) as service:
        first = service.ask("POST", "/v1/predict", disc).json["label"]
        _replace(path, hostile_run.model.read_bytes())
        service.until('outcome="done",version="1"} 1.0')
        assert service.ask("POST", "/v1/predict", disc).json["label"] != first


def test_bad_file_keeps_the_old_model_at_work(baseline_run: Run, disc: bytes, tmp_path: Path) -> None:
    path = Path(shutil.copy(baseline_run.model, tmp_path / "m.whatsit"))
    with running([path], watch=0.02) as service:
        first = service.ask("POST", "/v1/predict", disc).json
        _replace(path, b"not a model")
        service.until('outcome="failed",version="1"} 1.0')
        assert service.ask("POST", "/v1/predict", disc).json == first
    assert (
        "not a whole .whatsit file"
        in next(line for line in service.lines if line["event"] == "reload failed")["reason"]
    )


def test_failure_that_nobody_foresaw_is_told_and_the_next_file_is_served(
    baseline_run: Run, hostile_run: Run, disc: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Predictor:
        raise MemoryError

    path = Path(shutil.copy(baseline_run.model, tmp_path / "m.whatsit"))
    with running([path], watch=0.02) as service:
        first = service.ask("POST", "/v1/predict", disc).json["label"]
        with monkeypatch.context() as patch:
            patch.setattr("whatsit.apps.api.models.Predictor", broken)
            _replace(path, hostile_run.model.read_bytes())
            service.until('outcome="failed",version="1"} 1.0')
        _replace(path, hostile_run.model.read_bytes())
        service.until('outcome="done",version="1"} 1.0')
        assert service.ask("POST", "/v1/predict", disc).json["label"] != first
    assert [line["reason"] for line in service.lines if line["event"] == "reload failed"] == ["MemoryError"]


def test_every_answer_is_wholly_of_one_model_while_it_is_replaced(
    baseline_run: Run, hostile_run: Run, disc: bytes, tmp_path: Path
) -> None:
    files = [run.model.read_bytes() for run in (hostile_run, baseline_run)]
    path = Path(shutil.copy(baseline_run.model, tmp_path / "m.whatsit"))
    stop = threading.Event()
    found: list[tuple[int, frozenset[str]]] = []

    def ask_on(service: Running) -> None:
        while not stop.is_set():
            answer = service.ask("POST", "/v1/predict", disc)
            found.append((answer.status, frozenset(one["label"] for one in answer.json["top"])))

    with running([path], watch=0.01) as service, ThreadPoolExecutor(3) as clients:
        asking = [clients.submit(ask_on, service) for _ in range(3)]
        for number in range(6):
            _replace(path, files[number % 2])
            service.until(f'outcome="done",version="1"}} {number + 1}.0')
        stop.set()
        for one in asking:
            one.result()
    classes = {frozenset(run.load().classes) for run in (baseline_run, hostile_run)}
    assert {status for status, _ in found} == {200}
    assert {labels for _, labels in found} <= classes


def test_models_have_names_and_versions(tmp_path: Path) -> None:
    entries = parse_models(["runs/pets/model.whatsit", "a.whatsit", "pets=b.whatsit", "pets=c.whatsit"])
    assert [(one.name, one.version) for one in entries] == [("pets", "1"), ("a", "1"), ("pets", "2"), ("pets", "3")]


@pytest.mark.parametrize("name", ["a/b=x.whatsit", "=x.whatsit", "a\nb=x.whatsit"])
def test_names_that_no_address_can_hold_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a model"):
        parse_models([name])


def test_newest_version_answers_where_none_is_asked_for(baseline_run: Run, hostile_run: Run, disc: bytes) -> None:
    with running([f"m={baseline_run.folder}", f"m={hostile_run.folder}"]) as service:
        versions = [service.ask("POST", f"/v1/predict{query}", disc).json["version"] for query in ("", "?version=1")]
    assert versions == ["2", "1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no key is there"),
        ("short", "a key is to have 16 characters"),
        ("schlüssel-von-uns", "no request can bring"),
    ],
)
def test_keys_that_are_none_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_keys(tmp_path / "keys")


def test_keys_are_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# ours\n0123456789abcdef\n\n fedcba9876543210 \n")
    assert read_keys(tmp_path / "keys") == ("0123456789abcdef", "fedcba9876543210")


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name("new")
    new.write_bytes(data)
    os.replace(new, path)  # noqa: PTH105 - as others do it


def _all_of(client: socket.socket) -> bytes:
    """Everything until the other side closes."""
    parts = []
    read: Callable[[int], bytes] = client.recv
    try:
        while part := read(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    client.close()
    return b"".join(parts)


@pytest.mark.parametrize("path", ["/v1/predict", "/v2/models/{name}/infer"])
def test_the_metrics_name_the_route_of_a_method_that_it_has_not(api: Running, path: str) -> None:
    assert api.ask("GET", path.format(name="baseline")).status == 405
    api.until(f'whatsit_requests_total{{method="GET",route="{path}",status="405"}}')
