"""`whatsit serve`: the application in uvicorn, which stops in two steps."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import io
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn

from whatsit.apps.address import bare_host, url
from whatsit.apps.api.app import create_app
from whatsit.apps.api.connection import Connection, notify_connections
from whatsit.apps.api.open_files import make_room
from whatsit.apps.api.service import Service
from whatsit.apps.api.settings import Settings
from whatsit.apps.api.telemetry import Log
from whatsit.apps.network import HOST, listening

PORTS = range(8000, 8050)
# Seconds after which a thread that computes in Python lets another one. The default of 5 ms is as long as a picture takes: under
# load the model's thread would wait so long for the event loop after every batch.
SWITCH = 0.0005


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
        say: called with the address.

    Raises `UsageError` or `BundleError` where a model cannot be opened or the address cannot be had.
    """
    settings = settings or Settings()
    host = bare_host(host or "") or HOST
    settings = replace(settings, host=host)
    service = Service(models, settings, runtime=runtime)
    with listening("the service", host, [port] if port else PORTS) as (sockets, port):
        service.models.load_all()
        server = make_server(service)
        threading.Thread(target=_tell, args=(server, url(host, port, settings.root_path), say), daemon=True).start()
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        try:
            server.run(sockets)
        finally:
            sys.setswitchinterval(before)


def make_server(service: Service) -> Server:
    """Return a server for a service whose models are loaded, to be run with sockets."""
    room = make_room(service.settings.max_connections)
    config = uvicorn.Config(
        notify_connections(create_app(service)),
        http=cast("type[asyncio.Protocol]", functools.partial(Connection, service, room)),
        loop="uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",  # the service has its own log
        access_log=False,
        server_header=False,
        backlog=room.backlog,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, math.floor(service.settings.grace - service.settings.drain)),
    )
    return Server(config, service)


@contextmanager
def running(models: Sequence[str | Path], settings: Settings | None = None, log: Log | None = None) -> Iterator[str]:
    """Run a service on this computer in a thread of this process; yield its address."""
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
    """A server that first refuses what is new, then closes and waits for the rest."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop at the first signal, hurry at the second."""
        again, loop = self._service.draining or not self.started, self._service.loop
        self._service.draining = True
        if again or loop is None:
            self.force_exit = self.should_exit
            super().handle_exit(sig, frame)
        else:
            loop.call_soon_threadsafe(loop.call_later, self._service.settings.drain, super().handle_exit, sig, frame)


def _tell(server: Server, address: str, say: Callable[[str], None]) -> None:
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.05)
    say(f"The service is at {address} (Ctrl-C stops it). Try: curl --data-binary @PICTURE {address}/v1/predict")
