"""Addresses to serve on."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from whatsit.errors import UsageError

HOST = "127.0.0.1"


def free_port(what: str, host: str, ports: Sequence[int]) -> int:
    """The first port of a host that can be had. Raises `UsageError`, which calls what is to be served `what`."""
    reason = ""
    for port in ports:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
            return port
        except (OSError, ValueError) as error:  # the latter for what cannot be a host's name
            reason = getattr(error, "strerror", None) or str(error)
    which = f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]} to {ports[-1]}"
    raise UsageError(f"{what} cannot be served on {host}, {which}: {reason}; choose others with --host and --port")


def reachable(host: str) -> str:
    """An address for a browser on this machine."""
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound to
        return HOST
    return f"[{host}]" if ":" in host else host


def announcement(address: str) -> str:
    """What the owner of an app is told once it is there, in both languages."""
    return f"The app is at {address} (Ctrl-C stops it). แอปอยู่ที่ {address} (กด Ctrl-C เพื่อหยุด)"


def is_private(host: str) -> bool:
    """Whether only this computer reaches what is served on a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
