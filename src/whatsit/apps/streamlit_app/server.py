"""Start the web app, and serve what it has beside Streamlit's own pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from streamlit import config, net_util

from whatsit.apps.address import is_private
from whatsit.apps.network import HOST
from whatsit.apps.serving import serve_app
from whatsit.apps.site import OwnPages, Site, site_at
from whatsit.apps.streamlit_app.data_review import DataReview
from whatsit.apps.streamlit_app.feedback import Feedback
from whatsit.apps.streamlit_app.labelling import Labelling
from whatsit.apps.streamlit_app.live_frames import PATH, LiveFrames
from whatsit.apps.streamlit_app.page_label import PATH as TO_LABEL
from whatsit.apps.streamlit_app.page_label import ToLabel
from whatsit.apps.streamlit_app.state import STATE
from whatsit.apps.streamlit_app.teaching import Teaching
from whatsit.runtime.overlay import FONT

SCRIPT = Path(__file__).parent / "main.py"  # its settings are in .streamlit/config.toml beside it
PORTS = range(8501, 8551)
_OWN = ("/whatsit/",)  # our routes, which know nothing of Streamlit's `baseUrlPath`

# Uploads stay in memory: Starlette would write those above 1 MB to a temporary file. Streamlit refuses larger ones.
MultiPartParser.spool_max_size = 1024 * 1024 * 1024

# Streamlit asks an outside host for the address of this computer, to show or to compare it. Nothing goes out.
net_util.get_external_ip = lambda: None


async def _font(_: Request) -> FileResponse:
    return FileResponse(FONT, headers={"cache-control": "max-age=86400"})


def options(site: Site | Callable[[], Site]) -> dict[str, Any]:
    """Return the options of the `streamlit.App` that serves a site."""
    frames = LiveFrames(STATE.models)
    return {
        "routes": [
            Route(PATH, frames.predict, methods=["POST"]),
            Route("/whatsit/Sarabun.ttf", _font),
            Route(TO_LABEL, ToLabel(STATE).picture),
        ],
        "middleware": [Middleware(OwnPages, site=site, keeps=True, without=_OWN)],
    }


def hosted_site() -> Site:
    """Return the site of `streamlit run app.py`, from Streamlit's settings.

    Which names a hosting service hands on is not known, so the name is not checked.
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


def run(
    models: Sequence[str | Path],
    *,
    data: str | None = None,
    feedback: str | Path | None = None,
    teach: str | Path | None = None,
    training_pictures: bool = False,
    labelling: Labelling | None = None,
    host: str | None = None,
    port: int | None = None,
    root_path: str | None = None,
    browser: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve the app for these models until it is stopped.

    Args:
        models: files, run folders, or folders of either; may be empty where there is another page.
        data: a data set that whoever reaches the app may review, writing decisions into the log beside it.
        feedback: a folder for pictures that visitors mark as wrong, and those that the model is unsure of.
        labelling: pictures that whoever reaches the app may label.
        teach: a folder that whoever reaches the app may add pictures to, and train with.
        training_pictures: show visitors from elsewhere, too, the training pictures that theirs look like.
        host: to bind to; 127.0.0.1 by default.
        port: 8501 or the next free one by default.
        root_path: below which a reverse proxy shows it, such as `/pets`, or the whole address that visitors see.
        browser: whether to open one.
        say: gets the address.

    Raises `MissingBundleError` or `UsageError` where a path leads to no model or data, or the address is wrong or taken.
    """
    teaching = None if teach is None else Teaching(teach)
    STATE.models.offer(models, *([teaching.models] if teaching else []), defaults=data is None)
    STATE.teaching, STATE.labelling = teaching, labelling
    STATE.review = None if data is None else DataReview(data)
    site = site_at(host or HOST, root_path)
    STATE.can_share = site.is_private
    STATE.shows_training = site.is_private or training_pictures
    STATE.feedback = None if feedback is None else Feedback(feedback, is_private=site.is_private)
    from streamlit import App

    app = App(SCRIPT, **options(site))
    config.set_option("server.baseUrlPath", site.root_path)
    serve_app(app, site, [port] if port else PORTS, browser=browser, say=say, largest_message=200 * 1024 * 1024)
