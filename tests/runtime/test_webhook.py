"""Posting to a service that is well, slow, rude or gone."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from whatsit.errors import UsageError
from whatsit.runtime.webhook import Outcome, Webhook


@contextmanager
def service(
    *answers: int | str, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[tuple[str, dict[str, str], str]]]]:
    """A service that answers with these statuses in turn, or does what is said; its address, and what it got."""
    got: list[tuple[str, dict[str, str], str]] = []
    left, ended = list(answers), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if len(body.encode()) < int(self.headers["content-length"]):
                return  # the other side has ended meanwhile
            got.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
            answer = left.pop(0) if left else 204
            if answer == "hang":
                ended.wait(30)
            if answer == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            if isinstance(answer, str):
                self.close_connection = True
                return
            self.send_response(answer)
            self.send_header("content-length", "0")
            self.send_header("retry-after", "7")
            self.send_header("location", "http://elsewhere.invalid/")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # of clients that end a handshake
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_message_arrives_as_json_with_its_key_and_the_addresses_own_secrets() -> None:
    with service() as (url, got):
        hook = Webhook(url.replace("//", "//me:p%40ss@") + "/hook/secret?token=1")
        assert hook.post(json.dumps({"label": "แมว"}), "key1").outcome is Outcome.SENT
        assert hook.post("{}", "key2").outcome is Outcome.SENT
        hook.close()
    path, headers, body = got[0]
    assert (path, json.loads(body)) == ("/hook/secret?token=1", {"label": "แมว"})
    assert headers["idempotency-key"] == "key1"
    assert headers["content-type"] == "application/json"
    assert headers["authorization"] == "Basic bWU6cEBzcw=="
    assert hook.shown == url
    assert len(got) == 2


@pytest.mark.parametrize(
    ("status", "outcome", "wait"),
    [
        (200, Outcome.SENT, 0),
        (503, Outcome.BUSY, 7),
        (429, Outcome.BUSY, 7),
        (500, Outcome.FAILED, 0),
        (404, Outcome.REFUSED, 0),
        (302, Outcome.REFUSED, 0),
        (307, Outcome.REFUSED, 0),
    ],
)
def test_status_says_what_to_do_and_redirects_are_not_followed(status: int, outcome: Outcome, wait: float) -> None:
    with service(status) as (url, got):
        hook = Webhook(url)
        delivery = hook.post("{}", "1")
        hook.close()
    assert (delivery.outcome, delivery.wait, len(got)) == (outcome, wait, 1)


def test_service_that_hangs_resets_or_is_gone_is_busy() -> None:
    with service("hang", "reset", "reset") as (url, got):
        hook = Webhook(f"{url}/secret", timeout=0.2)
        hung, reset = hook.post("{}", "1"), hook.post("{}", "1")
        hook.close()
    gone = hook.post("{}", "1")
    assert {one.outcome for one in (hung, reset, gone)} == {Outcome.BUSY}
    assert hung.reason == "it does not answer in time"
    assert not any("secret" in one.reason for one in (hung, reset, gone))
    assert len(got) == 2


def test_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    with service(204, "close", 204) as (url, got):
        hook = Webhook(url)
        assert [hook.post("{}", key).outcome for key in "ab"] == [Outcome.SENT] * 2
        hook.close()
    assert len(got) == 3


def test_request_that_hangs_is_ended_from_another_thread() -> None:
    with service("hang") as (url, got):
        hook = Webhook(url, timeout=60)
        found: list[object] = []
        thread = threading.Thread(target=lambda: found.append(hook.post("{}", "1").outcome))
        thread.start()
        while not got:
            thread.join(0.01)
        hook.abort()
        thread.join(20)
        hook.close()
    assert found == [Outcome.BUSY]


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed, to make a certificate")
def test_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with service(tls=context) as (url, got):
        hook = Webhook(url.replace("http:", "https:"))
        delivery = hook.post("{}", "1")
        hook.close()
    assert (delivery.outcome, got) == (Outcome.BUSY, [])
    assert "certificate" in delivery.reason.lower()


@pytest.mark.parametrize("url", ["", "other.org/hook", "ftp://example.org", "http://", "http://a:x/", "http://a/b c"])
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UsageError, match="--to takes an address such as") as raised:
        Webhook(url)
    assert len(url) < 4 or url not in str(raised.value)


@contextmanager
def raw_service(*parts: bytes, pause: float = 0.0) -> Iterator[str]:
    """A service that answers every request with these bytes, the last of them again and again."""
    listening, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    for part in parts:
                        connection.sendall(part)
                    while not ended.wait(pause):
                        connection.sendall(parts[-1])
            except OSError:
                pass  # the other side has enough

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@pytest.mark.parametrize(
    "end", [b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", b""], ids=["body", "last body", "header"]
)
def test_response_that_never_ends_is_an_answer_all_the_same(end: bytes) -> None:
    with (
        raw_service(b"HTTP/1.1 200 OK\r\nContent-Length: 10000" + end, b"0", pause=0.02) as url,
        closing(Webhook(url, timeout=0.2, whole=0.5)) as hook,
    ):
        assert hook.post("{}", "1").outcome is Outcome.SENT


@pytest.mark.parametrize("part", [b"HTTP/1.1 100 Continue\r\n\r\n", b"x"], ids=["continue", "status"])
def test_response_that_never_begins_is_given_up(part: bytes) -> None:
    with raw_service(part, pause=0.02) as url, closing(Webhook(url, timeout=0.2, whole=0.5)) as hook:
        assert hook.post("{}", "1").outcome is Outcome.BUSY


@pytest.mark.parametrize(
    ("text", "seconds"), [("nan", 0.0), ("inf", 3600.0), ("-1", 0.0), ("1e9", 3600.0), ("Mon", 0.0)]
)
def test_time_to_wait_is_a_number_whatever_the_service_says(text: str, seconds: float) -> None:
    head = f"HTTP/1.1 503 No\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n"
    with raw_service(head.encode(), pause=0.2) as url, closing(Webhook(url)) as webhook:
        assert webhook.post("{}", "1").wait == seconds
