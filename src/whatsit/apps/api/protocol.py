"""A connection of the service: uvicorn's, with what it lacks against slow, rude and hostile clients."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from whatsit.apps.api.front import error_answer
from whatsit.apps.api.open_files import Room
from whatsit.apps.api.settings import RefusedError, Settings

MAX_HEAD = 64 * 1024  # bytes of a request's address and headers
MAX_HEADERS = 200
_PIECE = 64 * 1024  # bytes that the parser gets at once
_LEAST = 512  # of a body in chunks, so that empty lines in it do not make many small pieces
_BLANK = re.compile(rb"\n\r?\n")  # the end of a head, and of a body in chunks
_BEGINNING = b"HTTP/1.1 "  # of every answer
_LAST_PATIENCE = 1.0  # seconds, once the service is to end
_FEEL = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between its letters, where they are sent ahead


class Transport(asyncio.Transport):
    """What uvicorn writes to. Where the client still sends it is not closed at once, or a reset would overtake the answer."""

    def __init__(self, line: asyncio.Transport, protocol: Protocol) -> None:
        super().__init__()
        self._line = line
        self._protocol = protocol
        self.lingering = False
        self._ahead = 0  # letters of the next answer that are sent already

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.lingering:
            return
        if self._ahead:
            data, self._ahead = data[self._ahead :], 0
        self._line.write(data)

    def send_ahead(self) -> float | None:
        """Send one more letter of what every answer begins with; the seconds until the next one, None after the last."""
        self._line.write(_BEGINNING[self._ahead : self._ahead + 1])
        self._ahead += 1
        return _FEEL[self._ahead] if self._ahead < len(_BEGINNING) else None

    def is_closing(self) -> bool:
        return self.lingering or self._line.is_closing()

    def close(self) -> None:
        """Close; first hear the client out for a while where it is not done (RFC 9112, 9.6)."""
        if self.is_closing():
            return
        if self._protocol.is_sending:
            self.lingering = True
            with contextlib.suppress(OSError, RuntimeError):  # the other side has gone meanwhile
                self._line.write_eof()
            self._protocol.hear_out()
        else:
            self._line.close()

    def drop(self) -> None:
        """Close without hearing the client out."""
        self._line.close()

    def abort(self) -> None:
        self._line.abort()

    def pause_reading(self) -> None:
        self._line.pause_reading()

    def resume_reading(self) -> None:
        if self._protocol.is_read:
            self._line.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._line.get_extra_info(name, default)


class Protocol(HttpToolsProtocol):
    """A connection with limits.

    A request must arrive in time, an answer be taken in time, a head be of some size; a client that sends on without reading its
    answers waits; one that has sent all and says so (half-closed) still gets its answer; one that is refused while it sends
    hears why.
    """

    settings = Settings()
    room = Room(settings.max_connections)
    transport: Transport

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._arrival: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._hearing: asyncio.TimerHandle | None = None
        self._head = 0  # bytes of the head so far
        self._quiet = 0  # bytes since the last that brought a request on
        self._reading = False  # a request has begun and is not whole
        self._in_head = True
        self._rest: int | None = 0  # bytes of the body that are to come; None: it comes in chunks
        self._held = bytearray()  # requests that came before the last one was answered
        self._ended = False  # the client sends no more
        self._refused = False
        self._patience = self.settings.arrival  # seconds for which a client is heard out

    @property
    def is_read(self) -> bool:
        """Whether more is read: not while requests wait for their turn, nor after the client's last byte."""
        return not (self._ended or self._held)

    @property
    def is_sending(self) -> bool:
        """Whether the client may not have sent all."""
        return not self._ended and (self._reading or self._refused or bool(self._held))

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Transport(transport, self))
        beyond = len(self.connections) - self.room.connections
        if beyond > 0:
            self._ended = beyond > self.room.latecomers
            words = {"connection": "close", "retry-after": "1"}
            self._refuse(RefusedError(503, "too many connections; try again in a second", "connections", words))
        else:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        for timer in (self._arrival, self._taking, self._hearing):
            if timer:
                timer.cancel()
        self._held.clear()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection for the answers that are still to come."""
        self._ended = True
        if self.transport.lingering:
            return None
        if self._held or (self._is_busy and not self.cycle.response_complete):
            self._feel()
            return True
        self._end()
        return None

    def _feel(self) -> None:
        """Find out whether the client has only sent all, or is gone, which look alike until something is sent to it."""
        if self.transport.is_closing() or self.cycle.response_started:
            return
        seconds = self.transport.send_ahead()
        if seconds is not None:
            self.loop.call_later(seconds, self._feel)

    def _end(self) -> None:
        """Close after the last answer; part of a request may have come, which is refused."""
        if self._reading or self._quiet:
            self._refuse(
                RefusedError(400, "the request ended early; part of it is missing", "http", {"connection": "close"})
            )
        else:
            self.transport.drop()

    def shutdown(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.drop()
        else:
            self._patience = min(self._patience, _LAST_PATIENCE)
            super().shutdown()

    def hear_out(self) -> None:
        """Read and forget what the client still sends, as long as a request may take to arrive."""
        self._held.clear()
        self._forget()
        self.transport.resume_reading()
        self._hearing = self.loop.call_later(self._patience, self.transport.drop)

    # What arrives

    @property
    def _is_busy(self) -> bool:
        """Whether a request is whole and its answer is not written yet."""
        if self._reading or self.cycle is None:
            return False
        return not self.cycle.response_complete or self.flow.write_paused

    def data_received(self, data: bytes) -> None:
        if self.transport.lingering:
            return
        if self._held or self._is_busy:
            self._hold(data)
        else:
            self._feed(data)

    def _hold(self, data: bytes) -> None:
        self._held += data
        # Not by `flow`, as uvicorn goes on reading after every answer: each would let in more than it has answered.
        self.transport.pause_reading()

    def _feed(self, data: bytes) -> None:
        """Hand the parser no more than one request at a time: what follows waits until that one is answered."""
        start = 0
        while start < len(data):
            if self._is_busy:
                self._hold(data[start:])
                return
            end = self._piece(data, start)
            part = data if end - start == len(data) else data[start:end]
            self._quiet += len(part)
            super().data_received(part)
            if self._quiet > MAX_HEAD:
                self._refuse_head()
            if self.transport.is_closing():
                return
            start = end

    def _piece(self, data: bytes, start: int) -> int:
        """Where the next piece for the parser ends: at the latest with the request that it belongs to."""
        most = min(len(data), start + _PIECE)
        if self._reading and not self._in_head:
            if self._rest is not None:
                return min(len(data), start + self._rest) if self._rest else most
            found = _BLANK.search(data, min(start + _LEAST, most), most)
        else:
            found = _BLANK.search(data, start, most)
        return found.end() if found else most

    def _go_on(self) -> None:
        """With what waited for the answer before it."""
        if self._is_busy or self.transport.is_closing():
            return
        data = bytes(self._held)
        self._held.clear()
        self._feed(data)
        if not self._held and not self.flow.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()
        if self._ended and not self._is_busy and not self._held and not self.transport.is_closing():
            self._end()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() or self.pipeline:
            return
        if self._held:
            self.loop.call_soon(self._go_on)
        elif self._ended:
            self._end()

    # What the parser finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = self._quiet = 0
        self._reading = self._in_head = True
        self._rest = 0
        if self._arrival is None:
            self._expect()

    def on_url(self, url: bytes) -> None:
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._measure(len(name) + len(value))
        if not self._in_head:
            return  # of what comes after a body in chunks nothing is used
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._refuse_head()
            raise ValueError("too many headers")
        kind = self.headers[-1][0]
        if kind == b"content-length":
            self._rest = int(value)
        elif kind == b"transfer-encoding":
            self._rest = None

    def _measure(self, more: int) -> None:
        self._head += more
        if self._head > MAX_HEAD:
            self._refuse_head()
            raise ValueError("the head is too large")

    def _refuse_head(self) -> None:
        words = f"the head of the request is too large; {MAX_HEAD:,} bytes and {MAX_HEADERS} headers are taken"
        self._refuse(RefusedError(431, words, "head", {"connection": "close"}))

    def on_headers_complete(self) -> None:
        """What would come after an upgrade is no HTTP: a body there would be taken for the next request."""
        self._in_head = False
        self._quiet = 0
        if self.parser.should_upgrade() and self._rest != 0:
            words = "this service has no Upgrade; send the request without that header"
            self._refuse(RefusedError(501, words, "http", {"connection": "close"}))
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._quiet = 0
        if self._rest is not None:
            self._rest -= len(body)
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._forget()
        self._reading = False
        self._in_head = True
        self._quiet = 0
        if not self.transport.is_closing():
            super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """The request is answered as if it had not asked; the parser reads nothing that comes after it."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    # Time

    def _expect(self) -> None:
        self._arrival = self.loop.call_later(self.settings.arrival, self._too_slow)

    def _forget(self) -> None:
        if self._arrival:
            self._arrival.cancel()
            self._arrival = None

    def _too_slow(self) -> None:
        self._arrival = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect()  # a route reads the body, and has its own clock; what comes after it has not
            return
        if self.cycle is None or self.scope is not self.cycle.scope:  # the head of a new request is not whole
            words = f"the request did not arrive within {self.settings.arrival:g} seconds"
            self._refuse(RefusedError(408, words, "slow", {"connection": "close"}))
        else:
            self.transport.close()  # it was answered, and its rest is of no interest

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self.loop.call_later(self.settings.arrival, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taking:
            self._taking.cancel()
            self._taking = None
        if self._held:
            self.loop.call_soon(self._go_on)

    # Refusals

    def _refuse(self, error: RefusedError) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what it does is for nobody
            self.cycle.message_event.set()
            if self.cycle.response_started:  # a second answer would be taken for a part of it
                self.transport.drop()
                return
        status, body, headers = error_answer(error)
        head = [b"HTTP/1.1 %d Refused" % status, *(name + b": " + value for name, value in headers)]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self._refused = True
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP."""
        self._refuse(RefusedError(400, msg, "http", {"connection": "close"}))
