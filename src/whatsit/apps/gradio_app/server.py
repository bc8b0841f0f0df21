"""Start the Gradio app, with limits around it, for the pages of its own site."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from starlette.types import ASGIApp

from whatsit.apps.body_limit import BodyLimit
from whatsit.apps.gradio_app.inputs import as_uploads
from whatsit.apps.gradio_app.page import MAX_PICTURES_BYTES, TRANSLATIONS, build, predict_one
from whatsit.apps.model_files import require_models
from whatsit.apps.network import HOST
from whatsit.apps.serving import serve_app
from whatsit.apps.site import OwnPages, Site, site_at
from whatsit.apps.texts import Texts
from whatsit.apps.uploads import UploadLimit, upload_folder
from whatsit.process import environment
from whatsit.run.nearest import NearestTraining
from whatsit.runtime.overlay import FONT
from whatsit.runtime.predictor import Prediction, Predictor

PORTS = range(7860, 7910)
MAX_FILE = "50mb"
MAX_BODY = 80_000_000  # bytes of a request that is no upload
MAX_UPLOADS = 2_000_000_000  # bytes of all uploads
MAX_UPLOADED_FILES = 20_000
_FOLDER, _ANALYTICS = "GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"  # where Gradio looks for its settings
_UPLOAD = "/upload"  # the end of the path of uploads
_STYLES = (".w-answer", ".w-unknown", ".w-why", ".w-soft", ".w-near")  # of the web app, for a headline


def run(
    model: str | Path,
    *,
    host: str | None = None,
    port: int | None = None,
    root_path: str | None = None,
    browser: bool = False,
    runtime: str = "auto",
    training_pictures: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve the app until it is stopped.

    Args:
        model: a file or a run folder; of a folder of runs, the newest.
        host: to bind to; 127.0.0.1 by default.
        port: 7860 or the next free one by default.
        root_path: below which a reverse proxy shows it, such as `/pets`, or the whole address that visitors see.
        browser: whether to open one.
        runtime: auto, openvino or onnxruntime.
        training_pictures: show visitors from elsewhere, too, the training pictures that theirs look like.
        say: gets the address.

    Raises `BundleError` where the model cannot be read, `UsageError` where there is none or the address is wrong or taken.
    """
    site = site_at(host or HOST, root_path)
    entry = require_models([model])[0]
    predictor = Predictor(entry.path, runtime=runtime)
    with upload_folder(Path(os.environ.get(_FOLDER) or tempfile.gettempdir())) as folder:
        uploads, made = folder / "uploads", folder / "made"
        uploads.mkdir()
        made.mkdir()
        with environment({_FOLDER: str(uploads), _ANALYTICS: "False"}, always=True):
            near = NearestTraining(entry.path, predictor) if site.is_private or training_pictures else None
            app = build(predictor, entry.name, made, near)
            try:
                serve_app(_as_server(app, site, uploads), site, [port] if port else PORTS, browser=browser, say=say)
            finally:
                app.close(verbose=False)


def _as_server(app: gr.Blocks, site: Site, uploads: Path) -> ASGIApp:
    """Return the ASGI application, which keeps uploads in a folder."""
    app.has_launched = True  # so that Gradio checks whether a file was uploaded; mounting does not set it
    app.max_threads = 8
    app.state_session_capacity = 200
    mounted: ASGIApp = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        app,
        path="/",
        root_path=site.base or None,
        max_file_size=MAX_FILE,
        show_error=True,
        ssr_mode=False,
        footer_links=["api"],
        run_history=False,
        enable_monitoring=False,
        i18n=TRANSLATIONS,
        theme=gr.themes.Default(
            primary_hue="emerald", font=["Sarabun", "system-ui", "sans-serif"], font_mono=["Sarabun", "monospace"]
        ),
        css=_css(),
    )
    limited = BodyLimit(mounted, most=MAX_BODY, most_upload=MAX_PICTURES_BYTES, upload=_UPLOAD)
    kept = UploadLimit(limited, uploads, upload=_UPLOAD, max_bytes=MAX_UPLOADS, max_files=MAX_UPLOADED_FILES)
    return OwnPages(kept, site)


def _css() -> str:
    """Return the web app's styles for a headline, and a font with Thai letters."""
    lines = (Path(__file__).parent.parent / "streamlit_app" / "style.css").read_text(encoding="utf-8").splitlines()
    font = base64.b64encode(FONT.read_bytes()).decode()
    face = (
        f'@font-face {{ font-family: Sarabun; src: url("data:font/ttf;base64,{font}"); unicode-range: U+0E00-0E7F; }}'
    )
    return "\n".join([face, *(line for line in lines if line.startswith(_STYLES))])


def answer_uploads(predictor: Predictor, files: Sequence[Path]) -> list[Prediction]:
    """Return the predictions for files as if uploaded, for `whatsit verify`."""
    return [predict_one(predictor, picture, Texts("en")) for picture in as_uploads(files)]
