"""`whatsit serve`: uvicorn around the application, with what it lacks against slow clients and for a calm end."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import math
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from whatsit.apps.address import url
from whatsit.apps.api.app import create_app
from whatsit.apps.api.front import error_answer
from whatsit.apps.api.service import Service
from whatsit.apps.api.settings import RefusedError, Settings
from whatsit.apps.api.telemetry import Log
from whatsit.apps.network import HOST, listening
from whatsit.errors import UsageError

PORTS = range(8000, 8050)
# Seconds after which a thread that computes in Python lets another one. The default of 5 ms is as long as a picture takes: under
# load the model's thread would wait so long for the event loop after every batch.
SWITCH = 0.0005
_MAX_HEAD = 64 * 1024  # bytes of a request's address and headers


def serve(
    models: Sequence[str | Path],
    *,
    host: str | None = None,
    port: int | None = None,
    settings: Settings | None = None,
    runtime: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve models until SIGTERM or Ctrl-C.

    Args:
        models: `.whatsit` files or run folders, each as PATH or NAME=PATH.
        host: the address to bind to; 127.0.0.1 by default.
        port: 8000 or the next free one by default.
        settings: limits and timings.
        runtime: as for the Predictor.
        say: is told the address.

    Raises `UsageError` or `BundleError` where a model cannot be opened or the address cannot be had.
    """
    settings = settings or Settings()
    service = Service(models, settings, runtime=runtime)
    host = host or HOST
    with listening("the service", host, [port] if port else PORTS) as (sockets, port):
        service.models.load_all()
        server = make_server(service)
        threading.Thread(target=_tell, args=(server, url(host, port), say), daemon=True).start()
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        try:
            server.run(sockets)
        finally:
            sys.setswitchinterval(before)


def make_server(service: Service) -> Server:
    """A server for a service whose models are loaded, to be run with sockets."""
    config = uvicorn.Config(
        create_app(service),
        http=type("Protocol", (Protocol,), {"settings": service.settings}),
        loop="uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",  # the service has its own log
        access_log=False,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, math.floor(service.settings.grace - service.settings.drain)),
    )
    return Server(config, service)


@contextmanager
def running(models: Sequence[str | Path], settings: Settings | None = None, log: Log | None = None) -> Iterator[str]:
    """The address of a service on this computer, in a thread of this process, for as long as the block lasts."""
    service = Service(models, settings or Settings(watch=0.0, drain=0.0), log=log or Log(io.StringIO()))
    service.models.load_all()
    server = make_server(service)
    with listening("the service", HOST, [0]) as (sockets, port):
        thread = threading.Thread(target=server.run, args=(sockets,), name="service", daemon=True)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.005)
            yield f"http://{HOST}:{port}"
        finally:
            server.should_exit = True
            thread.join()


class Server(uvicorn.Server):
    """Goes in two steps: first it takes nothing new and says so, then it closes and waits for what is accepted."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super()._serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the end, the second hurries it."""
        if self._service.draining or self._loop is None:
            self.force_exit = self.should_exit
            self.should_exit = True
            return
        self._captured_signals.append(sig)
        self._service.draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._service.settings.drain, self._exit)

    def _exit(self) -> None:
        self.should_exit = True


class Protocol(HttpToolsProtocol):
    """A connection that is closed when a request takes too long to arrive, an answer to be taken, or a head is too large."""

    settings = Settings()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._arrival: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None
        self._head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            self._refuse(
                RefusedError(503, "too many connections", "connections", {"connection": "close", "retry-after": "1"})
            )
            return
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        if self._taking:
            self._taking.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        if self._arrival is None:
            self._expect()

    def on_headers_complete(self) -> None:
        """What would come after an upgrade is no HTTP: a body there would be taken for the next request."""
        if self.parser.should_upgrade() and self._brings_body():
            words = "this service has no Upgrade; send the request without that header"
            self._refuse(RefusedError(501, words, "http", {"connection": "close"}))
            return
        super().on_headers_complete()

    def _brings_body(self) -> bool:
        return any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def _unsupported_upgrade_warning(self) -> None:
        pass  # the request was answered as if it had not asked

    def on_url(self, url: bytes) -> None:
        self._measure(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._measure(name)
        self._measure(value)
        super().on_header(name, value)

    def _measure(self, part: bytes) -> None:
        self._head += len(part)
        if self._head > _MAX_HEAD:
            raise ValueError("the head is too large")  # the parser answers 400

    def on_message_complete(self) -> None:
        self._forget()
        if not self.transport.is_closing():
            super().on_message_complete()

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

    def _refuse(self, error: RefusedError) -> None:
        if not self.transport.is_closing():
            status, body, headers = error_answer(error)
            head = [b"HTTP/1.1 %d Refused" % status, *(name + b": " + value for name, value in headers)]
            self.transport.write(b"\r\n".join([*head, b"", body]))
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP."""
        self._refuse(RefusedError(400, msg, "http", {"connection": "close"}))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking = self.loop.call_later(self.settings.arrival, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taking:
            self._taking.cancel()
            self._taking = None


def _tell(server: Server, address: str, say: Callable[[str], None]) -> None:
    waiting = threading.Event()
    while not server.started:
        if server.should_exit:
            return
        waiting.wait(0.05)
    say(f"The service is at {address} (Ctrl-C stops it). Try: curl --data-binary @PICTURE {address}/v1/predict")


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys in a file, one a line; lines that begin with # are passed over. Raises `UsageError`."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the keys cannot be read: {getattr(error, 'strerror', None) or error}") from None
    keys = tuple(line.strip() for line in lines if line.strip() and not line.strip().startswith("#"))
    if odd := [key for key in keys if not (key.isascii() and key.isprintable())]:
        raise UsageError(
            f"{path}: the key that begins with '{odd[0][:3]}' has letters that no request can bring; use a to z and digits"
        )
    short = [key for key in keys if len(key) < 16]
    if short or not keys:
        raise UsageError(
            f"{path}: {'a key is' if short else 'no key is there; one is'} to have 16 characters or more, on a line of its own"
        )
    return keys
