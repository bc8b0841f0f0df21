"""Connections: what is too long, too many or too early; half-closed ones; and refusals that arrive."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.apps.api.conftest import Answer, Running, running
from tests.apps.api.test_service import held, in_flight
from whatsit.run.record import Run

GET = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@contextmanager
def connection(service: Running, *, small: bool = False) -> Iterator[socket.socket]:
    with socket.socket() as client:
        if small:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(("127.0.0.1", service.port))
        yield client


def send_until_refused(client: socket.socket, parts: Iterable[bytes]) -> int:
    """Send until nobody takes it any more; how many bytes went out."""
    sent = 0
    try:
        for part in parts:
            client.sendall(part)
            sent += len(part)
    except OSError:
        pass
    return sent


def answers(client: socket.socket) -> list[Answer]:
    """All until the service closes."""
    data = b"".join(iter(lambda: client.recv(65536), b""))
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = http.client.HTTPMessage()
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            headers[name] = value
        length = int(headers["content-length"])
        found.append(Answer(int(lines[0].split()[1]), headers, data[:length]))
        data = data[length:]
    return found


def predict(disc: bytes, more: str = "") -> bytes:
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}Content-Length: {len(disc)}\r\n\r\n"
    return head.encode() + disc


# Heads

ENDLESS = {
    "a value": (GET + b"A: ", b"a" * 5000),
    "a name": (GET, b"a" * 5000),
    "an address": (b"GET /", b"a" * 5000),
    "a query": (b"GET /v1/models?", b"a=b&" * 1000),
    "headers": (GET, b"A: b\r\n" * 1000),
    "empty headers": (GET, b"a:\r\n" * 1000),
    "a continued value": (GET + b"A: a\r\n", b" a\r\n" * 1000),
    "a trailer": (b"POST /v1/predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ", b"a" * 5000),
    "trailers": (b"POST /v1/predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 1000),
    "an extension": (b"POST /v1/predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=", b"a" * 5000),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_has_no_end_is_refused_soon(api: Running, kind: str) -> None:
    head, part = ENDLESS[kind]
    with connection(api) as client:
        client.sendall(head)
        send_until_refused(client, itertools.repeat(part, 800))
        client.shutdown(socket.SHUT_WR)
        found = answers(client)
    assert [one.status for one in found] in ([431], [400])
    assert found[0].json["error"]
    assert found[0].headers["connection"] == "close"


def test_refusal_of_a_head_says_what_is_taken(api: Running) -> None:
    with connection(api) as client:
        client.sendall(GET + b"A: " + b"a" * 70_000 + b"\r\n\r\n")
        [found] = answers(client)
    words = "the head of the request is too large; 65,536 bytes and 200 headers are taken"
    assert (found.status, found.json["error"]) == (431, words)


def test_refused_head_ends_before_it_ends(api: Running) -> None:
    """What is refused is refused while it is sent; nobody waits for its end."""
    with connection(api) as client:
        client.sendall(GET + b"A: " + b"a" * 200_000)
        assert client.recv(100).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(("count", "status"), [(198, 200), (250, 431), (1000, 431)])
def test_headers_have_a_number(api: Running, count: int, status: int) -> None:
    with connection(api) as client:
        client.sendall(GET + b"a: b\r\n" * count + b"Connection: close\r\n\r\n")
        assert [one.status for one in answers(client)] == [status]


def test_large_head_of_an_honest_client_is_taken(api: Running) -> None:
    cookie = b"Cookie: " + b"a" * 50_000 + b"\r\n"
    with connection(api) as client:
        for start in range(0, len(cookie), 999):
            client.sendall((GET + cookie + b"Connection: close\r\n\r\n")[start : start + 999])
        client.sendall((GET + cookie + b"Connection: close\r\n\r\n")[start + 999 :])
        assert [one.status for one in answers(client)] == [200]


# Requests that do not wait for their answers


def test_one_request_of_a_connection_is_at_work_at_a_time(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder]) as service, held(service) as opened, connection(service) as client:
        client.sendall(4 * predict(disc) + predict(disc, "Connection: close\r\n"))
        service.until(in_flight(1))
        assert service.service.bodies.used == len(disc)
        opened.set()
        found = answers(client)
    assert [one.json["label"] for one in found] == ["disc"] * 5


def test_client_that_reads_no_answers_is_not_read_any_more(api: Running) -> None:
    most = 100_000_000  # far more than the buffers of any system
    part = 1000 * (GET + b"\r\n")
    with connection(api, small=True) as client:
        client.settimeout(0.3)
        assert send_until_refused(client, itertools.repeat(part, most // len(part))) < most / 2


def test_answers_come_in_order_to_a_client_that_reads_late(api: Running) -> None:
    paths = [f"/v2/models/baseline/stats?n={number}" if number % 2 else "/nothing" for number in range(2000)]
    with connection(api, small=True) as client, ThreadPoolExecutor(1) as pool:
        heads = b"".join(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for path in paths)
        sending = pool.submit(client.sendall, heads + GET + b"Connection: close\r\n\r\n")
        found = answers(client)
        sending.result()
    assert [one.status for one in found] == [404, 200] * 1000 + [200]


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 100_000])
def test_requests_are_read_whatever_pieces_they_come_in(api: Running, disc: bytes, size: int) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (disc[:100], b"\n\n" * 600, disc[100:]))
    head = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
    stream = b"".join(
        [
            predict(disc),
            GET + b"\r\n",
            head + b"\r\n" + chunks + b"0\r\n\r\n",
            head + b"Trailer: X-Api-Key\r\n\r\n" + chunks + b"0\r\nX-Api-Key: none\r\n\r\n",
            b"\r\n" + GET + b"\r\n",
            predict(disc),
            GET + b"Connection: close\r\n\r\n",
        ]
    )
    with connection(api) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(stream), size):
            client.sendall(stream[start : start + size])
        found = answers(client)
    assert [one.status for one in found] == [200, 200, 422, 422, 200, 200, 200]


CHUNKS = {
    "no size": b"x\r\n",
    "a sign": b"+4\r\nhalf\r\n0\r\n\r\n",
    "a large size": b"1" + b"0" * 16 + b"\r\n",
    "no carriage return": b"4\nhalf\r\n0\r\n\r\n",
    "more data than the size": b"3\r\nhalf\r\n0\r\n\r\n",
    "less data than the size": b"6\r\nhalf\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("kind", CHUNKS)
def test_body_that_is_not_in_chunks_is_refused(api: Running, kind: str) -> None:
    with connection(api) as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS[kind])
        client.shutdown(socket.SHUT_WR)
        assert [one.status for one in answers(client)] == [400]


def test_trailer_is_no_header(baseline_run: Run, disc: bytes) -> None:
    key = "0123456789abcdef"
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    body = b"%x;a=b\r\n%b\r\n0\r\nX-API-Key: %b\r\n\r\n" % (len(disc), disc, key.encode())
    with running([baseline_run.folder], keys=(key,)) as service, connection(service) as client:
        client.sendall(2 * (head + b"X-API-Key: " + key.encode() + b"\r\n\r\n" + body) + head + b"\r\n" + body)
        client.shutdown(socket.SHUT_WR)
        assert [one.status for one in answers(client)] == [200, 200, 401]


# Clients that have sent all and say so


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
def test_half_closed_client_gets_its_answer(api: Running, disc: bytes, more: str) -> None:
    with connection(api) as client:
        client.sendall(predict(disc, more))
        client.shutdown(socket.SHUT_WR)
        [found] = answers(client)
    assert (found.status, found.json["label"]) == (200, "disc")


def test_half_closed_client_gets_an_answer_that_takes_its_time(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder]) as service, held(service) as opened, connection(service) as client:
        client.sendall(predict(disc))
        client.shutdown(socket.SHUT_WR)
        service.until(in_flight(1))
        assert client.recv(1) == b"H"  # the service looks whether it is still there
        assert client.recv(1) == b"T"
        opened.set()
        data = b"".join(iter(lambda: client.recv(65536), b""))
    assert data.startswith(b"TP/1.1 200 OK\r\n")
    assert json.loads(data.partition(b"\r\n\r\n")[2])["label"] == "disc"


def test_half_closed_client_gets_all_its_answers(api: Running, disc: bytes) -> None:
    with connection(api) as client:
        client.sendall(
            predict(disc) + GET + b"\r\n" + predict(disc) + b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + GET + b"\r\n"
        )
        client.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: client.recv(65536), b""))
    assert data.count(b"HTTP/1.1 200 OK\r\n") == 5


def test_half_closed_client_that_is_gone_is_dropped(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder]) as service, held(service):
        with connection(service) as client:
            client.sendall(predict(disc))
            client.shutdown(socket.SHUT_WR)
            service.until(in_flight(1))
        service.until(in_flight(0))


def test_client_that_resets_its_connection_is_dropped(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder]) as service, held(service):
        with connection(service) as client:
            client.sendall(predict(disc))
            service.until(in_flight(1))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        service.until(in_flight(0))


@pytest.mark.parametrize(
    "part",
    [
        b"GET /li",
        GET,
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=["line", "head", "body", "chunks"],
)
def test_request_that_ends_early_is_refused(api: Running, part: bytes) -> None:
    with connection(api) as client:
        client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        [found] = answers(client)
    assert (found.status, found.json["error"]) == (400, "the request ended early; part of it is missing")


def test_connection_without_a_request_just_ends(api: Running) -> None:
    with connection(api) as client:
        client.shutdown(socket.SHUT_WR)
        assert answers(client) == []


# Refusals arrive, also at clients that send all before they read


@pytest.mark.parametrize(
    ("settings", "status"),
    [({"max_body": 100_000}, 413), ({"max_memory": 100_000}, 503), ({"keys": ("0123456789abcdef",)}, 401)],
)
def test_client_that_sends_all_first_hears_why_it_is_refused(baseline_run: Run, settings: dict, status: int) -> None:
    body = bytes(20_000_000)
    with running([baseline_run.folder], **settings) as service, ThreadPoolExecutor(8) as clients:
        found = list(clients.map(lambda _: service.ask("POST", "/v1/predict", body), range(8)))
    assert [one.status for one in found] == [status] * 8
    assert all(one.json["error"] for one in found)


def test_body_in_chunks_that_is_too_large_hears_so(baseline_run: Run) -> None:
    with running([baseline_run.folder], max_body=100_000) as service, connection(service) as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert send_until_refused(client, itertools.repeat(b"10000\r\n" + bytes(65536) + b"\r\n", 200)) > 12_000_000
        client.shutdown(socket.SHUT_WR)
        [found] = answers(client)
    assert found.status == 413


def test_one_connection_too_many_hears_so_also_when_it_asks_first(baseline_run: Run, disc: bytes) -> None:
    with running([baseline_run.folder], max_connections=1) as service, connection(service):
        found = service.ask("POST", "/v1/predict", disc * 100)
    assert (found.status, found.headers["retry-after"]) == (503, "1")


def test_refused_client_is_not_heard_for_ever(baseline_run: Run) -> None:
    with running([baseline_run.folder], max_body=1000, arrival=0.2) as service, connection(service) as client:
        client.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        most = 2_000_000
        assert send_until_refused(client, itertools.repeat(b"400\r\n" + bytes(1024) + b"\r\n", most)) < most * 1024
