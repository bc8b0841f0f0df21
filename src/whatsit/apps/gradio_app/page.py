"""The page of the Gradio app: one picture, the live camera, many pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from whatsit.apps import markup
from whatsit.apps.gradio_app.inputs import picture_field, refused, without_urls
from whatsit.apps.predictions import (
    Failed,
    Predicted,
    Upload,
    as_csv,
    nearest_urls,
    overlay,
    pixels_to_show,
    predict_all,
)
from whatsit.apps.texts import TEXTS, Texts, language_of
from whatsit.errors import ImageError, ModelError, WhatsitError
from whatsit.files import write_bytes
from whatsit.images.formats import EXTENSIONS
from whatsit.images.names import plain
from whatsit.run.nearest import NearestTraining
from whatsit.runtime.explain import Explainer
from whatsit.runtime.predictor import Prediction, Predictor

MAX_PICTURES = 500  # at once
MAX_PICTURES_BYTES = 1_000_000_000
MAX_QUEUE = 64  # requests; more must try again
BARS = 8  # classes shown
EXAMPLES = 8
_MOST_WAITS = 120  # seconds for which a visitor is shown how far the training pictures were looked through
# Seconds between two cleanings of the uploads, and the age at which they go: together at most the hour that the page promises.
_CLEANING = (600, 2900)


def _key(key: str) -> str:
    return key.replace(".", "_")


TRANSLATIONS = gr.I18n(
    **{
        language: {_key(key): text for key, text in texts.items() if key.startswith("gradio.")}
        for language, texts in TEXTS.items()
    }
)


def _text(key: str) -> Any:
    """Return a text that Gradio shows in the visitor's language."""
    return TRANSLATIONS(_key(key))


class Answers:
    """What the page's fields and buttons call."""

    def __init__(self, predictor: Predictor, folder: Path, near: NearestTraining | None = None) -> None:
        """Predict with a model; tables are written into a folder."""
        self.predictor, self._near = predictor, near
        self._folder = folder
        try:
            self._explainer: Explainer | None = Explainer(predictor)
        except ModelError:
            self._explainer = None

    def predict(self, picture: bytes | None, top: float | None) -> dict[str, Any]:
        """Return the prediction for programs."""
        return predict_one(self.predictor, picture, Texts("en"), max(1, int(top or 1))).to_json()

    def show(self, picture: bytes | None, request: gr.Request) -> tuple[str, dict[str, float] | None, Any]:
        """Return the headline, the probabilities and the evidence of a picture."""
        if picture is None:
            return "", None, None
        found = predict_one(self.predictor, picture, _texts(request))
        return *_summary(found, request), self._evidence(picture, found)

    def show_frame(self, frame: bytes | None, request: gr.Request) -> tuple[str, dict[str, float] | None]:
        """Return the headline and the probabilities of a frame of the camera."""
        if frame is None:
            return "", None
        return _summary(predict_one(self.predictor, frame, _texts(request)), request)

    def _evidence(self, picture: bytes, found: Prediction) -> Any:
        try:
            return self._explainer and overlay(pixels_to_show(picture), self._explainer.explain(picture, found.label))
        except WhatsitError:
            return None

    def nearest(self, picture: bytes | None, request: gr.Request) -> Iterator[str]:
        """Yield how far the search is, then the training pictures that look alike."""
        near, text = self._near, _texts(request)
        if picture is None or near is None or not near.has_run:
            yield ""
            return
        for _ in range(_MOST_WAITS):
            if near.wait(1.0):
                break
            done, total = near.progress
            yield markup.note(text("near.looking", done=f"{done:,}", total=f"{total:,}" if total else "…"))
        if near.is_gone:
            yield markup.note(text("near.gone"))
            return
        found = predict_one(self.predictor, picture, text)
        yield markup.nearest(nearest_urls(near, picture), found.unknown, text)

    def table(self, files: list[str] | None, request: gr.Request) -> tuple[dict[str, Any] | None, str | None]:
        """Return a table of many predictions, and the path of the same as CSV."""
        text = _texts(request)
        paths = [Path(file) for file in files or []]
        if len(paths) > MAX_PICTURES:
            raise refused(text("gradio.too_many", n=len(paths), most=MAX_PICTURES))
        if not paths:
            return None, None
        if sum(path.stat().st_size for path in paths) > MAX_PICTURES_BYTES:
            raise refused(text("gradio.too_large", most=MAX_PICTURES_BYTES // 1_000_000))
        batch = predict_all(self.predictor, [Upload(path.name, path.read_bytes()) for path in paths])
        rows = [_row(one, text) for one in batch.results]
        sheet = self._folder / "whatsit.csv"  # Gradio copies it before the next pictures are predicted
        write_bytes(sheet, as_csv(batch, self.predictor.classes))
        headers = [text(f"batch.{key}") for key in ("file", "answer", "sure", "second")]
        return {"headers": headers, "data": rows}, str(sheet)


def build(predictor: Predictor, name: str, folder: Path, near: NearestTraining | None = None) -> gr.Blocks:
    """Return the page for a model; its examples and tables are written into a folder.

    `near` has the training pictures that visitors may see.
    """
    answers = Answers(predictor, folder, near)
    webcam = gr.WebcamOptions(  # without limits a browser sends frames of 1920 x 1440
        mirror=False, constraints={"video": {"width": {"ideal": 640}, "height": {"ideal": 480}}}
    )
    app: gr.Blocks
    with gr.Blocks(title=f"whatsit {name}".strip(), analytics_enabled=False, delete_cache=_CLEANING) as app:
        gr.Markdown(f"# whatsit {markup.markdown_safe(name)}".rstrip())
        gr.Markdown(_text("gradio.local"))
        with gr.Tab(_text("gradio.picture")), gr.Row():
            with gr.Column():
                picture = picture_field(
                    sources=["upload", "clipboard", "webcam"], label=_text("gradio.bring"), webcam_options=webcam
                )
                _examples(predictor, picture, folder)
            with gr.Column():
                headline, shares = gr.HTML(), _bars()
                evidence = gr.Image(label=_text("gradio.evidence"), interactive=False, format="jpeg")
                similar = gr.HTML()
            shown = picture.change(
                answers.show, picture, [headline, shares, evidence], api_name="answer", concurrency_limit=2
            )
            if near:
                shown.then(
                    answers.nearest, picture, similar, api_name=False, show_progress="hidden", concurrency_limit=4
                )
            top = gr.Number(value=5, precision=0, visible=False)
            gr.Button(visible=False).click(
                answers.predict, [picture, top], gr.JSON(visible=False), api_name="predict", concurrency_limit=2
            )
        with gr.Tab(_text("gradio.live")), gr.Row():
            camera = picture_field(
                sources=["webcam"], streaming=True, label=_text("gradio.camera"), webcam_options=webcam
            )
            with gr.Column():
                live = [gr.HTML(), _bars()]
            camera.stream(answers.show_frame, camera, live, stream_every=0.2, show_progress="hidden", api_name=False)
        with gr.Tab(_text("gradio.many")):
            files = without_urls(
                gr.File(file_count="multiple", file_types=["image", *sorted(EXTENSIONS)], label=_text("gradio.files"))
            )
            table = gr.Dataframe(interactive=False, label=_text("gradio.answers"))
            sheet = gr.File(label=_text("gradio.csv"), interactive=False)
            files.change(answers.table, files, [table, sheet], api_name="predict_batch", concurrency_limit=1)
    app.queue(max_size=MAX_QUEUE)
    return app


def predict_one(predictor: Predictor, picture: bytes | None, text: Texts, top: int | None = None) -> Prediction:
    """Return the prediction with its `top` classes, all by default.

    Raises `gr.Error`, which the visitor is shown, where the picture cannot be read.
    """
    classes = len(predictor.classes)
    try:
        [found] = predictor.predict([picture or b""], top=min(top or classes, classes))
    except ImageError as error:
        raise refused(markup.reason(error, text)) from None
    return found


def _texts(request: gr.Request) -> Texts:
    accepted = request.headers.get("accept-language", "") if request else ""
    return Texts(language_of(accepted.split(",")[0]))


def _summary(found: Prediction, request: gr.Request) -> tuple[str, dict[str, float]]:
    shares = {plain(label): probability for label, probability in found.top}
    return markup.headline(found, _texts(request)), shares


def _row(one: Predicted | Failed, text: Texts) -> list[str]:
    name = plain(one.upload.name)
    if isinstance(one, Failed):
        return [name, markup.reason(one.error, text), "", ""]
    found = one.prediction
    label, second = (found.label, found.others[0][0]) if not found.unknown else (text("answer.unknown"), found.label)
    return [name, plain(label), f"{math.floor(1000 * found.probability) / 10:.1f}", plain(second)]


def _examples(predictor: Predictor, field: Any, folder: Path) -> None:
    """Draw the reference pictures of the bundle, spread over the classes, to be tried."""
    pictures = predictor.bundle.references
    paths = []
    for number, one in enumerate(pictures[:: max(1, len(pictures) // EXAMPLES)][:EXAMPLES]):
        path = folder / f"{number}{Path(one.file).suffix}"
        write_bytes(path, one.data)
        paths.append(str(path))
    if paths:
        gr.Examples(paths, field, label=_text("gradio.examples"), examples_per_page=EXAMPLES)


def _bars() -> gr.Label:
    return gr.Label(num_top_classes=BARS, show_heading=False, label=_text("gradio.shares"))
