"""The parts of a request on the wire: its head, and a body that comes in chunks."""

from __future__ import annotations

import re

import httptools

from whatsit.apps.api.refusals import RefusedError

MAX_HEAD = 64 * 1024  # bytes of a request's line and headers
MAX_HEADERS = 200
_TO_CLOSE = {"connection": "close"}
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_END = b"\r\n"


class Head:
    """The head of one request: parsed as it comes, and checked when it is whole."""

    def __init__(self) -> None:
        self.has_begun = False
        self.is_whole = False
        self.upgrades = False
        self.body_length: int | None = 0  # bytes; None: it comes in chunks
        self.size = 0  # bytes so far, empty lines before it among them
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers = 0

    def feed(self, data: bytes) -> None:
        """Read more, at most to the end of the head.

        Raises `RefusedError` for what is no HTTP or too large.
        """
        self.size += len(data)
        if self.size > MAX_HEAD:
            raise head_too_large()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgrades = True
        except httptools.HttpParserError:
            raise no_http() from None
        if self.is_whole:
            self._check()

    def _check(self) -> None:
        if self._headers > MAX_HEADERS:
            raise head_too_large()
        try:
            httptools.parse_url(self._url).path.decode("ascii")
        except (httptools.HttpParserError, AttributeError, UnicodeDecodeError):
            raise no_http() from None
        self.upgrades = self.upgrades or self._parser.should_upgrade()
        if self.upgrades and self.body_length != 0:
            # What would come after an upgrade is no HTTP: a body there would be taken for the next request.
            words = "this service has no Upgrade; send the request without that header"
            raise RefusedError(501, words, "http", _TO_CLOSE)

    # What httptools calls

    def on_message_begin(self) -> None:
        self.has_begun = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers += 1
        kind = name.lower()
        if kind == b"content-length":
            self.body_length = int(value)
        elif kind == b"transfer-encoding":
            self.body_length = None

    def on_headers_complete(self) -> None:
        self.is_whole = True


class ChunkedBody:
    """The decoder of a body in chunks (RFC 9112, 7.1).

    Extensions and trailers are dropped.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._left = 0  # bytes of the chunk that are to come
        self._next = "size"  # what kind of line comes after them
        self._trailers = 0  # bytes

    def take(self, buffer: bytearray) -> bytes:
        """Take what belongs to the body out of a buffer; return its data.

        Raises `RefusedError`.
        """
        parts: list[bytes] = []
        while buffer and not self.is_over:
            if self._left:
                parts.append(bytes(buffer[: self._left]))
                del buffer[: self._left]
                self._left -= len(parts[-1])
                continue
            end = buffer.find(b"\n") + 1
            if (end or len(buffer)) + self._trailers > MAX_HEAD:
                raise head_too_large()
            if not end:
                break
            self._read(bytes(buffer[:end]))
            del buffer[:end]
        return b"".join(parts)

    def _read(self, line: bytes) -> None:
        if self._next == "size" and (size := _SIZE.fullmatch(line)):
            self._left = int(size[1], 16)
            self._next = "end of data" if self._left else "trailer"
        elif self._next == "end of data" and line == _END:
            self._next = "size"
        elif self._next == "trailer":
            self._trailers += len(line)
            self.is_over = line == _END
        else:
            raise no_http()


def head_too_large() -> RefusedError:
    """Return a 431."""
    words = f"the head of the request is too large; {MAX_HEAD:,} bytes and {MAX_HEADERS} headers are taken"
    return RefusedError(431, words, "head", _TO_CLOSE)


def no_http() -> RefusedError:
    """Return a 400."""
    return RefusedError(400, "Invalid HTTP request received.", "http", _TO_CLOSE)
