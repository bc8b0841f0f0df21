"""Starts the web app, and has what it serves beside Streamlit's own pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route
from streamlit import config, net_util

from whatsit.apps.address import is_private
from whatsit.apps.network import HOST
from whatsit.apps.serving import serve_app
from whatsit.apps.site import OwnPages, Site, site_at
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

# Streamlit asks an outside host for the address of this computer, to tell it or to compare it. Nothing goes out.
net_util.get_external_ip = lambda: None


async def _font(_: Request) -> FileResponse:
    return FileResponse(FONT, headers={"cache-control": "max-age=86400"})


ROUTES: list[BaseRoute] = [
    Route(live_route.PATH, live_route.answer, methods=["POST"]),
    Route("/whatsit/Sarabun.ttf", _font),
]
_OWN = ("/whatsit/",)  # our routes, which know nothing of Streamlit's `baseUrlPath`


def hosted_site() -> Site:
    """Return the site of `streamlit run app.py`, from Streamlit's settings.

    Which names a hosting service hands on is not known, so the name is not looked at.
    """
    known = [*config.get_option("server.corsAllowedOrigins")]
    if config.is_manually_set("browser.serverAddress"):
        known.append(f"//{config.get_option('browser.serverAddress')}")
    names = {urlsplit(one.strip()).hostname or "" for one in known}
    path = config.get_option("server.baseUrlPath").strip("/")
    return Site(
        "",
        f"/{path}" if path else "",
        allowed=frozenset(name for name in names if name and not is_private(name)),
        is_checked=config.get_option("server.enableCORS"),
    )


MIDDLEWARE = [Middleware(OwnPages, site=hosted_site, keeps=True, without=_OWN)]


def run(
    models: Sequence[str | Path],
    *,
    data: str | None = None,
    feedback: str | Path | None = None,
    teach: str | Path | None = None,
    host: str | None = None,
    port: int | None = None,
    root_path: str | None = None,
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
        root_path: below which a reverse proxy shows it, such as `/pets`, or the whole address that visitors see.
        browser: open one.
        say: is told the address.

    Raises `MissingBundleError` or `UsageError` where a path leads to no model or data, or the address cannot be had or read.
    """
    taught = offer_classroom(teach)
    offer(models, *([taught] if taught else []), search=data is None)
    offer_data(data)
    site = site_at(host or HOST, root_path)
    offer_feedback(feedback, is_private=site.is_private)
    from streamlit import App

    app = App(SCRIPT, routes=ROUTES, middleware=[Middleware(OwnPages, site=site, keeps=True, without=_OWN)])
    config.set_option("server.baseUrlPath", site.root_path)
    serve_app(app, site, [port] if port else PORTS, browser=browser, say=say, largest_message=200 * 1024 * 1024)
