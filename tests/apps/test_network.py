from __future__ import annotations

import socket

import pytest

from tests.browser import free_port as any_port
from whatsit.apps.network import HOST, listening
from whatsit.errors import UsageError


def free_port(what: str, host: str, ports: list[int]) -> int:
    """The port that is listened on, which is closed again."""
    with listening(what, host, ports) as (_, port):
        return port


def test_port_is_nobody_elses_while_it_is_held() -> None:
    with (
        listening("the app", HOST, [any_port()]) as (_, port),
        pytest.raises(UsageError, match=f"^the service cannot be served on {HOST}, port {port}: .* in use; choose"),
    ):
        free_port("the service", HOST, [port])
    assert free_port("the service", HOST, [port]) == port


def test_first_port_that_can_be_had_is_taken() -> None:
    with (
        listening("the app", HOST, [any_port()]) as (_, first),
        listening("the app", HOST, [any_port()]) as (_, second),
    ):
        third = any_port()
        assert free_port("the app", HOST, [first, second, third]) == third


def test_answers_are_sent_at_once() -> None:
    """Of a socket without this, asyncio leaves the delays of Nagle's algorithm on."""
    with listening("the app", HOST, [any_port()]) as (sockets, _):
        assert [one.proto for one in sockets] == [socket.IPPROTO_TCP]


def called(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> str:
    """A host with these addresses."""
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda _, port, **__: [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (one, port)) for one in addresses
        ],
    )
    return "host"


def test_port_is_held_at_every_address_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    port = any_port()
    with listening("the app", called(monkeypatch, HOST, "127.0.0.2"), [port]) as (sockets, _):
        assert [one.getsockname() for one in sockets] == [(HOST, port), ("127.0.0.2", port)]


def test_port_that_is_taken_at_one_address_of_a_host_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening("another", "127.0.0.2", [any_port()]) as (_, port), pytest.raises(UsageError, match="in use"):
        free_port("the app", called(monkeypatch, HOST, "127.0.0.2"), [port])
    assert free_port("the app", "host", [port]) == port  # nothing of it is held any more


def test_address_that_this_computer_does_not_have_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    port = any_port()
    with listening("the app", called(monkeypatch, "192.0.2.1", HOST), [port]) as (sockets, _):
        assert [one.getsockname() for one in sockets] == [(HOST, port)]
    with pytest.raises(UsageError, match="assign"):
        free_port("the app", called(monkeypatch, "192.0.2.1"), [port])


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
@pytest.mark.parametrize("host", ["::", "[::]", "0::0"])
def test_every_address_of_ipv6_is_every_address_of_ipv4_too(host: str) -> None:
    with listening("the app", host, [0]) as (_, port):
        assert [answers(one, port) for one in ("::1", HOST)] == [True, True]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_one_address_of_ipv6_is_that_one(host: str) -> None:
    with listening("the app", host, [0]) as (_, port):
        assert [answers(one, port) for one in ("::1", HOST)] == [True, False]


def test_host_that_no_socket_takes_is_refused() -> None:
    with pytest.raises(UsageError, match=r"the app cannot be served on \[nonsense, port 1"):
        free_port("the app", "[nonsense", [1])
