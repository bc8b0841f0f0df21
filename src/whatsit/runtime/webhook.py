"""Messages posted to an address, as JSON.

Certificates of `https` are verified, redirects are not followed, and the address is never shown beyond its host: it may hold
a secret.
"""

from __future__ import annotations

import base64
import http.client
import socket
import threading
import urllib.parse
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from whatsit.errors import UsageError
from whatsit.version import __version__

TIMEOUT = 10.0  # seconds without a sign of life
WHOLE = 60.0  # seconds for a request and its response, however lively
MOST_WAIT = 3600.0  # seconds that a service may ask to be left alone
_MOST = 65_536  # bytes that are read of a response
_BUSY = (408, 425, 429, 502, 503, 504)


class Outcome(Enum):
    """What became of a message."""

    SENT = "sent"
    BUSY = "busy"  # nothing can be sent now
    FAILED = "failed"  # the service failed on this message
    REFUSED = "refused"  # the service does not want this message


@dataclass(frozen=True)
class Delivery:
    """What became of a message, and why."""

    outcome: Outcome
    reason: str = ""
    wait: float = 0.0  # seconds that the service asked for


class Webhook:
    """An address that messages are posted to, by one thread."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT, whole: float = WHOLE) -> None:
        """Take the address; nothing is sent yet. Raises `UsageError` where it is none."""
        try:
            parts = urllib.parse.urlsplit(url.strip())
            port, host = parts.port, (parts.hostname or "").encode("idna").decode()
        except ValueError:
            host = ""
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "") if host else ""
        if (
            not host
            or parts.scheme not in ("http", "https")
            or not (path.isascii() and path.isprintable() and " " not in path)
        ):
            raise UsageError("--to takes an address such as https://example.org/hook; what was given is none")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        shown = f"[{host}]" if ":" in host else host
        self.shown = f"{parts.scheme}://{shown}{f':{port}' if port else ''}"  # for people
        self._path, self._whole = path, whole
        self._connection = kind(host, port, timeout=timeout)
        self._socket: socket.socket | None = None
        self._headers = {"Content-Type": "application/json", "User-Agent": f"whatsit/{__version__}"}
        if parts.username:
            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def post(self, body: str, key: str) -> Delivery:
        """Post a message; `key` says to the service that it is the same one again."""
        headers = {**self._headers, "Idempotency-Key": key}
        for fresh in (False, True):  # a kept connection may have been closed by the other side meanwhile
            kept = self._connection.sock is not None
            watch = threading.Timer(self._whole, self.abort)
            watch.daemon = True
            watch.start()
            try:
                self._connection.request("POST", self._path, body.encode(), headers)
                self._socket = self._connection.sock  # which the connection forgets where it is the last response
                response = self._connection.getresponse()
                self._drain(response)
                return _delivery(response.status, response.headers)
            except (http.client.HTTPException, OSError, UnicodeError) as error:
                self._connection.close()
                if fresh or not kept or isinstance(error, TimeoutError):
                    return Delivery(Outcome.BUSY, _words(error))
            finally:
                watch.cancel()
        raise AssertionError

    def _drain(self, response: http.client.HTTPResponse) -> None:
        """Read a body that nobody wants, to use the connection again.

        A long or bad one ends it.
        """
        with suppress(http.client.HTTPException, OSError), response:
            response.read(_MOST)
            if response.isclosed():
                return
        self._connection.close()

    def abort(self) -> None:
        """End a request that hangs, from another thread."""
        if (sock := self._connection.sock or self._socket) is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _delivery(status: int, headers: http.client.HTTPMessage) -> Delivery:
    if 200 <= status < 300:
        return Delivery(Outcome.SENT)
    if status in _BUSY:
        return Delivery(Outcome.BUSY, f"it answers {status}", _seconds(headers.get("retry-after")))
    if 300 <= status < 400:
        return Delivery(
            Outcome.REFUSED, f"it answers {status}, a redirect, which is not followed; give its final address"
        )
    if status >= 500:
        return Delivery(Outcome.FAILED, f"it answers {status}")
    return Delivery(Outcome.REFUSED, f"it answers {status}")


def _seconds(text: str | None) -> float:
    try:
        return min(max(0.0, float(text or 0)), MOST_WAIT)  # in this order, 0 for what is no number
    except ValueError:  # a date
        return 0.0


def _words(error: Exception) -> str:
    """Return the reason without the address, which some errors repeat."""
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__
