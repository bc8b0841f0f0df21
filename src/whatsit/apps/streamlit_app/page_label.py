"""The page where people label what the model suggests, by keys."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import anyio.to_thread
import streamlit as st
from starlette.requests import Request
from starlette.responses import Response

from whatsit.apps import markup
from whatsit.apps.predictions import as_jpeg
from whatsit.apps.streamlit_app.labelling import Batch, Labelling
from whatsit.apps.streamlit_app.model_registry import OpenModel
from whatsit.apps.streamlit_app.widgets import attempt, pop_error
from whatsit.apps.texts import Texts
from whatsit.errors import ImageError
from whatsit.images.decode import decode_within
from whatsit.runtime.suggestion import Suggestion

_HERE = Path(__file__).parent
PATH = "/whatsit/to-label/{token}/{number:int}"
SIDE = 400  # pixels of the longer side of a picture
_WORDS = ("undo", "skip", "guess", "find", "alike", "done", "all_done", "keys", "split", "skipped", "selected", "add")
_grid = st.components.v2.component(
    "whatsit_label",
    html='<div class="label" tabindex="0"></div>',
    css=(_HERE / "label.css").read_text(encoding="utf-8"),
    js=(_HERE / "label.js").read_text(encoding="utf-8"),
)


def show(labelling: Labelling, opened: OpenModel, text: Texts) -> None:
    """Draw the page."""
    st.title(text("label.title"))
    folder, into = labelling.pictures.name, labelling.collection.folder.name
    st.html(markup.note(text("label.intro", folder=folder, into=into)))
    if labelling.error:
        st.warning(markup.markdown_safe(labelling.error))
    if labelling.progress is not None:
        _wait(labelling, text)
        return
    batch = labelling.batch
    if batch is not None:
        _label(labelling, batch, opened.predictor.classes, text)
    st.button(
        text("label.next" if batch else "label.start"),
        type="secondary" if batch else "primary",
        icon=":material/search:",
        on_click=attempt,
        args=(labelling.find, opened.entry.path),
    )


@st.fragment(run_every=0.4)
def _wait(labelling: Labelling, text: Texts) -> None:
    progress = labelling.progress
    if progress is None:
        st.rerun()
    done, total = progress
    st.progress(done / total if total else 0.0, text("label.looking", done=f"{done:,}", total=f"{total:,}"))


@st.fragment
def _label(labelling: Labelling, batch: Batch, classes: tuple[str, ...], text: Texts) -> None:
    key = f"label-{batch.token}"

    def take() -> None:
        attempt(labelling.decide, batch.token, _decisions(st.session_state[key].get("decisions")))

    if problem := pop_error():
        st.warning(problem)
    labels = list(dict.fromkeys([*classes, *labelling.collection.labels()]))
    _grid(
        key=key,
        data={
            "token": batch.token,
            "path": PATH.lstrip("/").partition("{")[0],
            "items": [_item(one, numbers, text) for one, numbers in batch.groups],
            "classes": labels,
            "decisions": {str(number): label for number, label in labelling.decisions.items()},
            "refused": labelling.refused,
            "words": {word: text(f"label.{word}") for word in _WORDS},
        },
        on_decisions_change=take,
    )
    counts = {label: len(labelling.collection.pictures(label)) for label in labelling.collection.labels()}
    if any(counts.values()):
        st.markdown(text("label.train", n=f"{sum(counts.values()):,}"))
        st.code(f"whatsit train {shlex.quote(str(labelling.collection.folder))}", language="bash")


def _item(one: Suggestion, numbers: tuple[int, ...], text: Texts) -> dict[str, Any]:
    others = [label for label, _ in one.prediction.others[:1]]
    label, other = one.prediction.label, others[0] if others else "?"
    return {
        "files": list(numbers),
        "guess": label,
        "why": text(f"label.why_{one.kind}", label=label, other=other, share=markup.share(one.prediction.probability)),
        "name": Path(one.image).name,
    }


def _decisions(value: Any) -> dict[int, str | None]:
    """Return what the browser says by number of the file; it may say anything."""
    if not isinstance(value, dict):
        return {}
    said = {number: label for number, label in value.items() if label is None or isinstance(label, str)}
    return {int(number): label for number, label in said.items() if str(number).isascii() and str(number).isdigit()}


class ToLabel:
    """The endpoint of the pictures on the page."""

    def __init__(self, state: Any) -> None:
        """Take the state of the app."""
        self._state = state

    async def picture(self, request: Request) -> Response:
        """Return a picture of the batch as JPEG, or 404."""
        labelling: Labelling | None = self._state.labelling
        token, number = request.path_params["token"], request.path_params["number"]
        found = await anyio.to_thread.run_sync(_small, labelling, token, number) if labelling else None
        if found is None:
            return Response("there is no such picture\n", 404, media_type="text/plain")
        return Response(found, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


def _small(labelling: Labelling, token: str, number: int) -> bytes | None:
    try:
        data = labelling.read(token, number)
        return None if data is None else as_jpeg(decode_within(data, SIDE))
    except ImageError:
        return None
