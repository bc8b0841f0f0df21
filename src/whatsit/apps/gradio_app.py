"""The Gradio app: the same answers, on the page that machine-learning people know, and for `gradio_client`."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.types import ASGIApp

from whatsit.apps.answers import Brought, answer_all, as_csv, overlay, pixels_to_show
from whatsit.apps.body_limit import BodyLimit
from whatsit.apps.model_files import require_models
from whatsit.apps.network import HOST
from whatsit.apps.presentation import answer_json
from whatsit.apps.serving import serve_app
from whatsit.apps.site import OwnPages, Site, site_at
from whatsit.apps.streamlit_app import fragments
from whatsit.apps.uploads import UploadRoom, upload_folder
from whatsit.apps.words import WORDS, Words, language_of
from whatsit.errors import ImageError, ModelError, WhatsitError
from whatsit.evaluation.wording import plain
from whatsit.files import write_bytes
from whatsit.images.formats import EXTENSIONS
from whatsit.process import environment
from whatsit.runtime.explain import Explainer
from whatsit.runtime.overlay import FONT
from whatsit.runtime.predictor import Prediction, Predictor

PORTS = range(7860, 7910)
MAX_FILE = "50mb"
MAX_FRAME = 70_000_000  # characters of a data: address
MAX_BODY = 80_000_000  # bytes of a request that is no upload
MAX_PICTURES = 500  # in one lot
MAX_LOT = 1_000_000_000  # bytes of it
MAX_KEPT = 2_000_000_000  # bytes of all uploads
MAX_KEPT_FILES = 20_000
BARS = 8  # classes shown
EXAMPLES = 8
WAITING = 64  # questions; more are told to try again
_UPLOADS, _ANALYTICS = "GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"  # where Gradio looks for its settings
_UPLOAD = "/upload"  # how the path of uploads ends
_FORGET = (600, 3600)  # seconds: how often uploads are looked through, and how old they grow

_TEXT = gr.I18n(
    en={key: english for key, (english, _) in WORDS.items() if key.startswith("gradio_")},
    th={key: thai for key, (_, thai) in WORDS.items() if key.startswith("gradio_")},
)


def picture_field(**options: Any) -> Any:
    """Gradio's picture field, which hands over the bytes of an uploaded file as it is: only `decode` is to read them.

    Gradio itself would decode and write the picture again, open any file of this computer whose name comes without `meta`, and
    fetch addresses. (Not a class: Gradio writes a `.pyi` file beside every class that is made of a field.)
    """
    field: Any = gr.Image(**options)
    field.preprocess = partial(_uploaded, Path(field.GRADIO_CACHE))
    return _without_addresses(field)


def _uploaded(folder: Path, payload: Any) -> bytes | None:
    if payload is None:
        return None
    if payload.url and payload.url.startswith("data:"):  # a frame of the webcam
        if len(payload.url) > MAX_FRAME:
            raise gr.Error("This frame is too large.", print_exception=False)
        try:
            return base64.b64decode(payload.url.split(",", 1)[1], validate=True)
        except (IndexError, ValueError):
            return b""
    if not payload.path:
        return None
    path = Path(payload.path).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise gr.Error("This is no uploaded file; bring it again.", print_exception=False)
    return path.read_bytes()


def _without_addresses(field: Any) -> Any:
    move = field.async_move_resource_to_block_cache

    async def move_local(place: Any) -> Any:
        return await move(_local(place))

    field.async_move_resource_to_block_cache = move_local
    return field


def _local(place: Any) -> Any:
    if isinstance(place, str) and "://" in place:
        raise gr.Error("Pictures are not fetched from addresses; upload the file.", print_exception=False)
    return place


def build(predictor: Predictor, name: str, folder: Path) -> gr.Blocks:
    """The app for a model, not started yet; its examples and tables are written into a folder."""
    explainer = _explainer(predictor)

    def predict(picture: bytes | None, top: float | None) -> dict[str, Any]:
        return answer_json(_answer(predictor, picture, Words("en"), max(1, int(top or 1))))

    def answer(picture: bytes | None, request: gr.Request) -> tuple[str, dict[str, float] | None, Any]:
        if picture is None:
            return "", None, None
        say = _say(request)
        found = _answer(predictor, picture, say, len(predictor.classes))
        return fragments.headline(found, say), _shares(found), _evidence(explainer, picture, found)

    def look(frame: bytes | None, request: gr.Request) -> tuple[str, dict[str, float] | None]:
        if frame is None:
            return "", None
        say = _say(request)
        found = _answer(predictor, frame, say, len(predictor.classes))
        return fragments.headline(found, say), _shares(found)

    def many(files: list[str] | None, request: gr.Request) -> tuple[dict[str, Any] | None, str | None]:
        return _table(predictor, files or [], folder, _say(request))

    app: gr.Blocks
    with gr.Blocks(title=f"whatsit {name}".strip(), analytics_enabled=False, delete_cache=_FORGET) as app:
        gr.Markdown(f"# whatsit {fragments.markdown_safe(name)}".rstrip())
        gr.Markdown(_TEXT("gradio_local"))
        with gr.Tab(_TEXT("gradio_picture")), gr.Row():
            with gr.Column():
                picture = picture_field(
                    sources=["upload", "clipboard", "webcam"], label=_TEXT("gradio_bring"), webcam_options=_webcam()
                )
                _examples(predictor, picture, folder)
            with gr.Column():
                verdict = gr.HTML()
                shares = _bars()
                evidence = gr.Image(label=_TEXT("gradio_evidence"), interactive=False, format="jpeg")
            picture.change(answer, picture, [verdict, shares, evidence], api_name="answer", concurrency_limit=2)
            top = gr.Number(value=5, precision=0, visible=False)
            gr.Button(visible=False).click(
                predict, [picture, top], gr.JSON(visible=False), api_name="predict", concurrency_limit=2
            )
        with gr.Tab(_TEXT("gradio_live")), gr.Row():
            camera = picture_field(
                sources=["webcam"], streaming=True, label=_TEXT("gradio_camera"), webcam_options=_webcam()
            )
            with gr.Column():
                seen, seen_shares = gr.HTML(), _bars()
            camera.stream(look, camera, [seen, seen_shares], stream_every=0.2, show_progress="hidden", api_name=False)
        with gr.Tab(_TEXT("gradio_many")):
            files = _without_addresses(
                gr.File(file_count="multiple", file_types=["image", *sorted(EXTENSIONS)], label=_TEXT("gradio_files"))
            )
            table = gr.Dataframe(interactive=False, label=_TEXT("gradio_answers"))
            sheet = gr.File(label=_TEXT("gradio_csv"), interactive=False)
            files.change(many, files, [table, sheet], api_name="predict_batch", concurrency_limit=1)
    app.queue(max_size=WAITING)
    return app


def run(
    model: str | Path,
    *,
    host: str | None = None,
    port: int | None = None,
    root_path: str | None = None,
    browser: bool = False,
    runtime: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve the app until it is stopped; at 127.0.0.1:7860 or the next free port by default. `say` is told the address.

    With `root_path` it is shown by a reverse proxy, below this path or at this whole address.

    Raises `BundleError` where the model cannot be read, `UsageError` where there is none or the address cannot be had or read.
    """
    site = site_at(host or HOST, root_path)
    entry = require_models([model])[0]  # of a folder of runs, the newest
    predictor = Predictor(entry.path, runtime=runtime)
    with upload_folder(Path(os.environ.get(_UPLOADS) or tempfile.gettempdir())) as folder:
        uploads, made = folder / "uploads", folder / "made"
        for place in (uploads, made):
            place.mkdir()
        with environment({_UPLOADS: str(uploads), _ANALYTICS: "False"}, always=True):
            app = build(predictor, entry.name, made)
            try:
                serve_app(as_server(app, site, uploads), site, [port] if port else PORTS, browser=browser, say=say)
            finally:
                app.close(verbose=False)


def as_server(app: gr.Blocks, site: Site, uploads: Path) -> ASGIApp:
    """Return what answers requests: the app with its limits, for the pages of its site, keeping uploads in a folder."""
    app.has_launched = (
        True  # which has Gradio look whether a file was uploaded; it is not set for apps that are mounted
    )
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
        i18n=_TEXT,
        theme=gr.themes.Default(
            primary_hue="emerald", font=["Sarabun", "system-ui", "sans-serif"], font_mono=["Sarabun", "monospace"]
        ),
        css=_style(),
    )
    limited = BodyLimit(mounted, most=MAX_BODY, most_upload=MAX_LOT, upload=_UPLOAD)
    return OwnPages(UploadRoom(limited, uploads, upload=_UPLOAD, most=MAX_KEPT, most_files=MAX_KEPT_FILES), site)


def answer_uploads(predictor: Predictor, files: Sequence[Path]) -> list[Prediction]:
    """The answers to these files as if they had been uploaded, with all classes: for `whatsit verify`."""
    found = []
    with tempfile.TemporaryDirectory(prefix="whatsit-") as folder:
        for file in files:
            kept = gr.processing_utils.save_file_to_cache(file, cache_dir=folder)
            picture = _uploaded(Path(folder), gr.data_classes.ImageData(path=kept))
            found.append(_answer(predictor, picture, Words("en"), len(predictor.classes)))
    return found


def _say(request: gr.Request) -> Words:
    wanted = request.headers.get("accept-language", "") if request else ""
    return Words(language_of(wanted.split(",")[0]))


def _explainer(predictor: Predictor) -> Explainer | None:
    try:
        return Explainer(predictor)
    except ModelError:
        return None


def _answer(predictor: Predictor, picture: bytes | None, say: Words, top: int) -> Prediction:
    """Raises `gr.Error`, which the visitor is shown, where the picture cannot be read."""
    try:
        [found] = predictor.predict([picture or b""], top=min(top, len(predictor.classes)))
    except ImageError as error:
        raise gr.Error(fragments.reason(error, say), print_exception=False) from None
    return found


def _shares(found: Prediction) -> dict[str, float]:
    return {plain(label): probability for label, probability in found.top}


def _evidence(explainer: Explainer | None, picture: bytes, found: Prediction) -> Any:
    if explainer is None:
        return None
    try:
        return overlay(pixels_to_show(picture), explainer.explain(picture, found.label))
    except WhatsitError:
        return None


def _examples(predictor: Predictor, field: Any, folder: Path) -> None:
    """The pictures that the model brings along, of different classes first."""
    golden = predictor.bundle.golden[:: max(1, len(predictor.bundle.golden) // EXAMPLES)][:EXAMPLES]
    paths = []
    for number, one in enumerate(golden):
        path = folder / f"{number}{Path(one.file).suffix}"
        write_bytes(path, one.data)
        paths.append(str(path))
    if paths:
        gr.Examples(paths, field, label=_TEXT("gradio_examples"), examples_per_page=EXAMPLES)


def _table(
    predictor: Predictor, files: Sequence[str], folder: Path, say: Words
) -> tuple[dict[str, Any] | None, str | None]:
    if len(files) > MAX_PICTURES:
        raise gr.Error(
            say("classify.too_many", n=len(files), most=MAX_PICTURES).replace("`", ""), print_exception=False
        )
    if not files:
        return None, None
    if sum(Path(path).stat().st_size for path in files) > MAX_LOT:
        raise gr.Error(say("classify.too_large", most=MAX_LOT // 1_000_000), print_exception=False)
    lot = answer_all(predictor, [Brought(Path(path).name, Path(path).read_bytes()) for path in files])
    rows: list[list[Any]] = []
    for one in lot.answered:
        found = one.answer
        if isinstance(found, ImageError):
            rows.append([plain(one.brought.name), fragments.reason(found, say), "", ""])
            continue
        second = found.label if found.unknown else found.top[1][0]
        label = say("answer.unknown") if found.unknown else plain(found.label)
        rows.append([plain(one.brought.name), label, f"{100 * found.probability:.1f}", plain(second)])
    sheet = folder / "whatsit.csv"  # Gradio copies it before the next lot is answered
    write_bytes(sheet, as_csv(lot, predictor.classes))
    headers = [say(f"batch.{key}") for key in ("file", "answer", "sure", "second")]
    return {"headers": headers, "data": rows}, str(sheet)


def _bars() -> gr.Label:
    return gr.Label(num_top_classes=BARS, show_heading=False, label=_TEXT("gradio_shares"))


def _style() -> str:
    """The web app's styles for an answer, and the font that comes along, for systems without Thai letters."""
    lines = (Path(__file__).parent / "streamlit_app" / "style.css").read_text(encoding="utf-8").splitlines()
    font = base64.b64encode(FONT.read_bytes()).decode()
    face = (
        f'@font-face {{ font-family: Sarabun; src: url("data:font/ttf;base64,{font}"); unicode-range: U+0E00-0E7F; }}'
    )
    return "\n".join([face, *(line for line in lines if line.startswith((".w-answer", ".w-unknown", ".w-soft")))])


def _webcam() -> gr.WebcamOptions:
    """Without limits a browser sends frames of 1920 x 1440."""
    return gr.WebcamOptions(mirror=False, constraints={"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}})
