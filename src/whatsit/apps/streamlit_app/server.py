"""Starts the web app, and has what it serves beside Streamlit's own pages."""

from __future__ import annotations

import threading
import time
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route

from whatsit.apps.network import HOST, announcement, listening, reachable
from whatsit.apps.streamlit_app import live_route
from whatsit.apps.streamlit_app.classroom import offer_classroom
from whatsit.apps.streamlit_app.desk import offer_data
from whatsit.apps.streamlit_app.feedback import offer_feedback
from whatsit.apps.streamlit_app.shelf import offer
from whatsit.runtime.overlay import FONT

SCRIPT = Path(__file__).parent / "main.py"  # its settings are in .streamlit/config.toml beside it
PORTS = range(8501, 8551)

# Uploads stay in memory: Starlette would write those above 1 MB to a temporary file. Streamlit refuses larger ones.
MultiPartParser.spool_max_size = 1024 * 1024 * 1024


async def _font(_: Request) -> FileResponse:
    return FileResponse(FONT, headers={"cache-control": "max-age=86400"})


ROUTES: list[BaseRoute] = [
    Route(live_route.PATH, live_route.answer, methods=["POST"]),
    Route("/whatsit/Sarabun.ttf", _font),
]


def run(
    models: Sequence[str | Path],
    *,
    data: str | None = None,
    feedback: str | Path | None = None,
    teach: str | Path | None = None,
    host: str | None = None,
    port: int | None = None,
    browser: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve the app for these models (files, run folders, folders of either) until it is stopped.

    Args:
        models: what to serve; may be none where there is something else to do.
        data: a data set that whoever reaches the app may look through, writing decisions into the log beside it.
        feedback: a folder for pictures that visitors mark as wrong, and those that the model is unsure of.
        teach: a folder that whoever reaches the app may add pictures to, and train with.
        host: to bind to; 127.0.0.1 by default.
        port: 8501 or the next free one by default.
        browser: open one.
        say: is told the address.

    Raises `MissingBundleError` or `UsageError` where a path leads to no model or data, or the address cannot be had.
    """
    taught = offer_classroom(teach)
    offer(models, *([taught] if taught else []), search=data is None)
    offer_data(data)
    host = host or HOST
    offer_feedback(feedback, host)
    from streamlit import App

    with listening("the app", host, [port] if port else PORTS) as (sockets, port):
        address = f"http://{reachable(host)}:{port}"
        server = uvicorn.Server(
            # Not by Streamlit's own runner: its sockets wait for the other side's acknowledgement (Nagle), 40 ms an answer.
            uvicorn.Config(
                App(SCRIPT, routes=ROUTES),
                log_level="warning",
                access_log=False,
                ws="websockets-sansio",
                ws_max_size=200 * 1024 * 1024,
                timeout_graceful_shutdown=3,
            )
        )
        threading.Thread(target=_tell, args=(server, address, browser, say), daemon=True).start()
        server.run(sockets)


def _tell(server: uvicorn.Server, address: str, browser: bool, say: Callable[[str], None]) -> None:
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.05)
    say(announcement(address))
    if browser:
        webbrowser.open(address)
