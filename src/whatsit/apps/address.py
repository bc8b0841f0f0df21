"""How the address of something that is served is read and written."""

from __future__ import annotations

import ipaddress
import socket

LOCAL = "127.0.0.1"
Numeric = ipaddress.IPv4Address | ipaddress.IPv6Address


def bare_host(host: str) -> str:
    """Return a host as sockets take it: without the brackets that IPv6 has in a URL."""
    host = host.strip()
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def numeric(host: str) -> Numeric | None:
    """Return the IP address that a host stands for without a look-up; None for a name.

    Short forms are read as sockets read them: `0` is 0.0.0.0, `127.1` is 127.0.0.1, `::ffff:127.0.0.1` is 127.0.0.1.
    """
    text = bare_host(host)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        if not text.isascii() or text.split() != [text]:  # inet_aton ignores what follows a space
            return None
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(text))
        except (OSError, ValueError):
            return None
    return getattr(address, "ipv4_mapped", None) or address


def is_any(host: str) -> bool:
    """Return whether a host means every address of this computer, such as 0.0.0.0."""
    address = numeric(host)
    return address is not None and address.is_unspecified


def is_private(host: str) -> bool:
    """Return whether only this computer reaches what is served on a host."""
    address = numeric(host)
    return address.is_loopback if address else host.lower().rstrip(".") == "localhost"


def url_host(host: str) -> str:
    """Return a host as it stands in a URL that answers on this computer.

    Where every address is served it is the local one of the same family, as no program can ask 0.0.0.0 or ::.
    """
    address = numeric(host)
    if address is None:
        return bare_host(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else LOCAL)
    # The percent sign before the interface of a link-local address is escaped (RFC 6874).
    return f"[{address}]".replace("%", "%25") if address.version == 6 else str(address)


def url(host: str, port: int, path: str = "", scheme: str = "http") -> str:
    """Return the URL at which this computer reaches a served host and port.

    Args:
        host: what it was bound to: an IPv4 or IPv6 address, with brackets or without, or a name.
        port: its port.
        path: below which it is served, such as `/pets`; empty for the whole host.
        scheme: http or https.
    """
    return f"{scheme}://{url_host(host)}:{port}{path}"
