"""Serves an app for people until it is stopped, and says where it is."""

from __future__ import annotations

import threading
import time
import webbrowser
from collections.abc import Callable, Sequence

import uvicorn
from starlette.types import ASGIApp

from whatsit.apps.network import announcement, listening
from whatsit.apps.site import Site


def serve_app(
    app: ASGIApp,
    site: Site,
    ports: Sequence[int],
    *,
    browser: bool = False,
    say: Callable[[str], None] = lambda text: None,
    largest_message: int = 0,
) -> None:
    """Serve an app on the first free one of these ports until it is stopped.

    `say` gets the address. `largest_message`, in bytes, is that of a web socket; an app without one needs no library for them.

    The server of each framework is not used. Streamlit's sockets wait for the other side's acknowledgement (Nagle), 40 ms an
    answer; Gradio's asks itself whether it is there, by whatever proxy the environment names, and knows no IPv6.

    Raises `UsageError` where the address cannot be had.
    """
    with listening("the app", site.host, ports) as (sockets, port):
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                ws="websockets-sansio" if largest_message else "none",
                ws_max_size=largest_message,
                timeout_graceful_shutdown=3,
            )
        )
        threading.Thread(target=_tell, args=(server, site.url(port), browser, say), daemon=True).start()
        server.run(sockets)


def _tell(server: uvicorn.Server, address: str, browser: bool, say: Callable[[str], None]) -> None:
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.05)
    say(announcement(address))
    if browser:
        webbrowser.open(address)
