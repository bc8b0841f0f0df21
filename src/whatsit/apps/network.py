"""Addresses to serve on."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from whatsit.apps.address import LOCAL, bare_host, is_any, numeric
from whatsit.errors import UsageError

HOST = LOCAL
_BACKLOG = 2048  # connections that wait until they are taken
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@contextmanager
def listening(what: str, host: str, ports: Sequence[int]) -> Iterator[tuple[list[socket.socket], int]]:
    """Listen on the first free port of a host: return its sockets and the port.

    There is a socket for each of the host's addresses.

    `::` accepts IPv4 too where the system supports that.
    They listen from the start, as a port that is only bound may be another's before it is served. Raises `UsageError`, which
    calls what is to be served `what`.
    """
    reason = ""
    with ExitStack() as opened:
        for port in ports:
            try:
                sockets = _listen(host, port, opened)
                break
            except (OSError, ValueError) as error:  # the latter for what cannot be a host's name
                opened.close()
                reason = getattr(error, "strerror", None) or str(error)
        else:
            which = f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]} to {ports[-1]}"
            raise UsageError(
                f"{what} cannot be served on {host}, {which}: {reason}; choose others with --host and --port"
            )
        yield sockets, sockets[0].getsockname()[1]


def _listen(host: str, port: int, opened: ExitStack) -> list[socket.socket]:
    """Listen at each address of a host that this computer has.

    Raises `OSError` or `ValueError`.
    """
    both = is_any(host) and socket.has_dualstack_ipv6()
    host = str(numeric(host) or bare_host(host))
    sockets: list[socket.socket] = []
    absent: list[OSError] = []
    for family, kind, protocol, _, place in dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)):
        try:
            # With its protocol, or asyncio would leave the delays of Nagle's algorithm on.
            one = opened.enter_context(socket.socket(family, kind, protocol))
            if os.name == "posix":  # elsewhere it would share the port
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
            one.bind(place)
            one.listen(_BACKLOG)
            sockets.append(one)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            absent.append(error)
    if not sockets:
        raise absent[0]
    return sockets


def announcement(address: str) -> str:
    """Return what the owner of a started app reads, in both languages."""
    return f"The app is at {address} (Ctrl-C stops it). แอปอยู่ที่ {address} (กด Ctrl-C เพื่อหยุด)"
