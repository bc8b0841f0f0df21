"""A client's connection, with limits on slow, rude and hostile clients.

It stands between the socket and uvicorn: a protocol to asyncio, a transport to uvicorn's protocol, by the interface that asyncio
documents for both. uvicorn gets a head only when it is whole, and one request at a time; what a client sends ahead waits in
a buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from whatsit.apps.api.open_files import Room
from whatsit.apps.api.parsing import MAX_HEAD, ChunkedBody, Head, no_http
from whatsit.apps.api.refusals import RefusedError
from whatsit.apps.api.service import Service

_CLOSE = {"connection": "close"}
_HEAD_END = re.compile(rb"\n\r?\n")
_BEGINNING = b"HTTP/1.1 "  # of every response
_PROBES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between the bytes of `_BEGINNING`
_LAST_PATIENCE = 1.0  # seconds for which a refused client is read while the service stops


def notify_connections(app: ASGIApp) -> ASGIApp:
    """Wrap an application so that each connection learns when its request is answered."""

    async def notifying(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                scope["state"]["connection"].answered()

    return notifying


class Connection(asyncio.Protocol, asyncio.Transport):
    """A connection with limits.

    A request must arrive in time and a response be read in time. A client that sends ahead without reading waits. One that has
    sent all and closed its side still gets its response. One that is refused while it sends hears why.
    """

    def __init__(
        self, service: Service, room: Room, *, server_state: ServerState, app_state: dict[str, Any], **others: Any
    ) -> None:
        super().__init__()
        self._http = HttpToolsProtocol(server_state=server_state, app_state={**app_state, "connection": self}, **others)
        self._service = service
        self._arrival = service.settings.arrival
        self._room = room
        self._connections: set[Any] = server_state.connections  # each has a `shutdown`
        self._loop = asyncio.get_running_loop()
        self._line: asyncio.Transport
        self._attached = False  # whether uvicorn's protocol knows this connection
        self._timers: dict[str, asyncio.TimerHandle] = {}
        # What arrives
        self._buffer = bytearray()
        self._http_reads = self._is_reading = True  # whether uvicorn wants more, and whether the socket is read
        self._client_ended = False  # the client sends no more
        self._begin_head()
        # What is answered
        self._at_work = False  # a request is with the application
        self._responding = False  # its response has begun
        self._writing_paused = False
        self._sent_ahead = 0  # bytes of the next response that are sent already
        self._is_last = False  # the connection closes after the response
        self._is_refused = False
        self._is_draining = False  # closed for writing; what the client still sends is dropped

    @property
    def _is_arriving(self) -> bool:
        """Whether a request has begun and is not whole."""
        return self._head.has_begun

    @property
    def _is_busy(self) -> bool:
        """Whether a request has arrived and its response is not written yet."""
        return not self._is_arriving and (self._at_work or self._writing_paused)

    # The protocol: what asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._line = transport
        beyond = len(self._connections) + 1 - self._room.connections
        if beyond > 0:
            self._connections.add(self)
            self._client_ended = beyond > self._room.latecomers  # then it is closed at once
            words = "too many connections; try again in a second"
            self._refuse(RefusedError(503, words, "connections", {**_CLOSE, "retry-after": "1"}))
            return
        self._attached = True
        self._http.connection_made(self)
        self._start_timer("arrival", self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client_ended = True
        for name in list(self._timers):
            self._stop_timer(name)
        self._buffer.clear()
        self._connections.discard(self)
        if self._attached:
            self._attached = False
            self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_draining:
            self._buffer += data
            self._read()

    def eof_received(self) -> bool | None:
        """Keep the connection for the responses that are still to come."""
        self._client_ended = True
        if self._is_draining:
            return None
        if self._is_busy and (self._at_work or self._buffer):
            self._probe()
            return True
        self._end()
        return None

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._start_timer("taking", self._line.abort)
        if self._attached:
            self._http.pause_writing()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._stop_timer("taking")
        if self._attached:
            self._http.resume_writing()
        self._loop.call_soon(self._next_request)

    # The transport: what uvicorn's protocol calls

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._line.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._is_draining or self._line.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_draining:
            return
        self._responding = self._responding or data[:13] != b"HTTP/1.1 100 "
        if self._sent_ahead:
            data, self._sent_ahead = data[self._sent_ahead :], 0
        self._line.write(data)

    def pause_reading(self) -> None:
        self._http_reads = False
        self._set_reading()

    def resume_reading(self) -> None:
        self._http_reads = True
        self._set_reading()

    def close(self) -> None:
        """Close; read for a while from a client that still sends.

        Otherwise a reset would overtake the response (RFC 9112, 9.6).
        """
        if self.is_closing():
            return
        sends = self._is_refused or self._in_body or (self._buffer and not self._is_arriving)
        if sends and not self._client_ended:
            self._drain()
        else:
            self._line.close()

    def shutdown(self) -> None:
        """Close at once.

        uvicorn calls it of what is in `server_state.connections` when it stops.
        """
        self._line.close()

    # Reading a request

    def _begin_head(self) -> None:
        self._head = Head()
        self._checked = 0  # bytes of the buffer that the head has seen
        self._in_body = False
        self._body_left = 0  # bytes of a body of a known length
        self._chunks: ChunkedBody | None = None

    def _read(self) -> None:
        """Hand on what has arrived, up to the end of the request."""
        try:
            while self._buffer and not self._is_busy and not self.is_closing():
                if not (self._read_body() if self._in_body else self._read_head()):
                    break
        except RefusedError as error:
            self._refuse(error)
        if self.is_closing():
            return
        self._set_reading()
        if self._is_arriving and "arrival" not in self._timers:
            self._start_timer("arrival", self._too_slow)

    def _set_reading(self) -> None:
        """Read from the socket while uvicorn wants more and no request waits for its turn."""
        reads = self._http_reads and not (self._buffer and self._is_busy)
        if reads != self._is_reading and not self._client_ended:
            self._is_reading = reads
            (self._line.resume_reading if reads else self._line.pause_reading)()

    def _next_request(self) -> None:
        """Read the request that waited for the response to the one before."""
        if self._is_busy or self.is_closing():
            return
        self._read()
        if self._client_ended and not self._is_busy and not self.is_closing():
            self._end()

    def _read_head(self) -> bool:
        """Check what has come of a head and hand it on when it is whole.

        Return whether the rest of the buffer can be read on.
        """
        blank = _HEAD_END.search(self._buffer, max(self._checked - 2, 0))
        end = min(blank.end() if blank else len(self._buffer), self._checked + MAX_HEAD + 1)
        self._head.feed(bytes(self._buffer[self._checked : end]))
        self._checked = end
        if not blank:
            return False
        if not self._head.is_whole and self._head.has_begun:
            raise no_http()
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._checked = 0
        if self._head.is_whole:  # otherwise these were empty lines before a request
            self._at_work, self._responding, self._is_last = True, False, self._head.upgrades
            self._in_body = self._head.body_length != 0
            self._body_left = self._head.body_length or 0
            self._chunks = ChunkedBody() if self._head.body_length is None else None
            self._http.data_received(data)
            if not self._in_body:
                self._end_request()
        return True

    def _read_body(self) -> bool:
        """Hand on what has come of a body; return whether it is whole."""
        if self._chunks is None:
            part = bytes(self._buffer[: self._body_left])
            del self._buffer[: len(part)]
            self._body_left -= len(part)
            ended = self._body_left == 0
        else:
            part = self._chunks.take(self._buffer)
            ended = self._chunks.is_over
            # Without trailers, which uvicorn would take for headers.
            part = (b"%x\r\n%b\r\n" % (len(part), part) if part else b"") + (b"0\r\n\r\n" if ended else b"")
        if part:
            self._http.data_received(part)
        if ended:
            self._end_request()
        return ended

    def _end_request(self) -> None:
        self._stop_timer("arrival")
        self._begin_head()

    # Responses

    def answered(self) -> None:
        """Note that the application has answered the request."""
        self._at_work = self._responding = False
        if self.is_closing():
            return
        if self._is_last:
            self.close()
        elif self._buffer:
            self._loop.call_soon(self._next_request)
        elif self._client_ended:
            self._end()

    def _probe(self) -> None:
        """Send one more byte of what every response begins with.

        A client that has sent all and one that has gone look alike until something is sent; the latter answers with a reset.
        """
        if self.is_closing() or self._responding or self._sent_ahead == len(_BEGINNING):
            return
        self._line.write(_BEGINNING[self._sent_ahead : self._sent_ahead + 1])
        self._sent_ahead += 1
        if self._sent_ahead < len(_BEGINNING):
            self._loop.call_later(_PROBES[self._sent_ahead], self._probe)

    def _end(self) -> None:
        """Close after the last response; refuse what has come of another request."""
        if self._head.size:
            self._refuse(RefusedError(400, "the request ended early; part of it is missing", "http", _CLOSE))
        else:
            self._line.close()

    def _refuse(self, error: RefusedError) -> None:
        if self.is_closing():
            return
        if self._at_work and self._responding:  # a second response would be taken for a part of it
            self._line.close()
            return
        lines = [f"HTTP/1.1 {error.status} Refused", *(f"{name}: {value}" for name, value in error.headers.items())]
        self.write("\r\n".join([*lines, "", ""]).encode() + error.body)
        self._is_refused = True
        self.close()
        self._detach()

    def _drain(self) -> None:
        """Write no more; read and drop what the client still sends, for a while."""
        self._is_draining = True
        with contextlib.suppress(OSError, RuntimeError):  # the client has gone meanwhile
            self._line.write_eof()
        self._buffer.clear()
        self._stop_timer("arrival")
        self._detach()
        self._line.resume_reading()
        patience = min(self._arrival, _LAST_PATIENCE) if self._service.draining else self._arrival
        self._timers["draining"] = self._loop.call_later(patience, self._line.close)

    def _detach(self) -> None:
        """Tell uvicorn's protocol that the client has gone."""
        if self._attached:
            self._attached = False
            self._connections.add(self)  # in its place, until the socket is closed
            self._http.connection_lost(None)

    # Time

    def _start_timer(self, name: str, act: Any) -> None:
        self._timers[name] = self._loop.call_later(self._arrival, act)

    def _stop_timer(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def _too_slow(self) -> None:
        self._stop_timer("arrival")
        if not self._in_body:
            words = f"the request did not arrive within {self._arrival:g} seconds"
            self._refuse(RefusedError(408, words, "slow", _CLOSE))
        elif self._at_work:  # a route reads the body, and has its own clock; what comes after its response has not
            self._start_timer("arrival", self._too_slow)
        else:
            self.close()  # it was answered, and its rest is of no interest
