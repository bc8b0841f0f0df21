"""The page that says what is in the pictures that a visitor brings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from whatsit.apps import markup
from whatsit.apps.predictions import (
    Batch,
    Failed,
    Predicted,
    Upload,
    as_csv,
    data_url,
    overlay,
    pixels_to_show,
    predict_all,
)
from whatsit.apps.streamlit_app import looks_like
from whatsit.apps.streamlit_app.feedback import Feedback, ask
from whatsit.apps.streamlit_app.model_registry import Key, OpenModel
from whatsit.apps.texts import Texts
from whatsit.errors import ModelError
from whatsit.images.formats import FORMATS
from whatsit.images.names import plain
from whatsit.runtime.explain import OCCLUSION
from whatsit.runtime.predictor import Prediction

MAX_PICTURES = 500  # in one drop
MAX_TOTAL_MB = 1000
FEW_CLASSES = 12  # get a button each, more a list
MAX_BARS = 8  # shown at once
_FILES, _CAMERA = "files", "camera"


@dataclass
class Visit:
    """What one visitor uploaded, and its predictions; nobody else sees them."""

    pictures: Sequence[Upload] = ()
    model: Key | None = None  # that made the predictions
    batch: Batch | None = None
    table: bytes = b""  # the same as CSV
    notes: Sequence[tuple[str, dict[str, object]]] = ()  # keys and values of texts about what was brought
    widget: int = 0  # is increased to empty the upload field
    held: frozenset[str] = frozenset()  # ids of the files that Streamlit holds for this visit
    changed: bool = False
    one_more: bool = False  # a single picture was added to the others: its prediction is shown first
    near: bool = False  # training pictures are shown, too
    shown: tuple[Predicted, str, str] | None = None  # the picture in large, its URL, and that of its evidence


def show(opened: OpenModel, feedback: Feedback | None, text: Texts, *, near: bool = False) -> None:
    """Draw the page; `near`: with the training pictures that a picture looks like."""
    visit: Visit = st.session_state.setdefault("visit", Visit())
    visit.near = near
    st.title(text("classify.title"))
    _bring(visit, text)
    for key, values in visit.notes:
        st.warning(text(key, **values))
    if not visit.pictures:
        st.html(markup.note(text("classify.empty")))
        if feedback:
            st.html(markup.note(text("feedback.notice")))
        return
    progress = st.empty()  # in every run, or all that follows would be drawn twice for a moment
    if visit.batch is None or visit.model != opened.key:
        with progress:
            _predict(visit, opened, feedback, text)
    batch = visit.batch
    if batch is None:
        return
    _failures(batch.failed, text)
    if batch.predicted and len(visit.pictures) == 1:
        _large(visit, opened, feedback, batch.predicted[0], text, batch.seconds)
    elif batch.predicted:
        _many(visit, opened, feedback, batch, text)
    st.button(text("classify.clear"), icon=":material/close:", on_click=_clear)


# Streamlit keeps the callbacks of every widget that ever was, so these must not hold a visit's pictures.


def _clear() -> None:
    old: Visit = st.session_state["visit"]
    st.session_state["visit"] = Visit(widget=old.widget + 1, held=old.held)


def _changed() -> None:
    st.session_state["visit"].changed = True


def _bring(visit: Visit, text: Texts) -> None:
    names = {_FILES: text("classify.files"), _CAMERA: text("classify.camera")}
    source = st.segmented_control(
        text("classify.source"),
        list(names),
        format_func=names.__getitem__,
        default=_FILES,
        key="source",
        required=True,
        label_visibility="collapsed",
    )
    if source == _CAMERA:
        photo = st.camera_input(text("classify.shoot"), key=f"camera{visit.widget}", on_change=_changed, width=480)
        chosen = [photo] if photo else []
    else:
        chosen = st.file_uploader(
            text("classify.upload", formats=", ".join(FORMATS)),
            accept_multiple_files=True,
            key=f"upload{visit.widget}",
            on_change=_changed,
        )
    _release(visit, frozenset(file.file_id for file in chosen))
    if visit.changed:  # otherwise the field may be empty only because another page was opened meanwhile
        visit.changed = False
        photo_name = text("classify.photo")
        files = [Upload(photo_name if source == _CAMERA else file.name, file.getvalue()) for file in chosen]
        visit.one_more = len(files) == len(visit.pictures) + 1
        visit.pictures, visit.notes = _limited(files)
        visit.batch = visit.shown = None


def _release(visit: Visit, shown: frozenset[str]) -> None:
    """Release files that are no longer shown: Streamlit holds them for the visit."""
    context = get_script_run_ctx()
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for file_id in visit.held - shown:
            context.uploaded_file_mgr.remove_file(context.session_id, file_id)
    visit.held = shown


def _limited(files: Sequence[Upload]) -> tuple[Sequence[Upload], list[tuple[str, dict[str, object]]]]:
    """Return the pictures within the limits, and notes about the others."""
    notes: list[tuple[str, dict[str, object]]] = []
    if len(files) > MAX_PICTURES:
        notes.append(("classify.too_many", {"n": len(files), "most": MAX_PICTURES}))
        files = files[:MAX_PICTURES]
    room = MAX_TOTAL_MB * 1_000_000
    for number, file in enumerate(files):
        room -= len(file.data)
        if room < 0:
            notes.append(("classify.too_large", {"most": MAX_TOTAL_MB}))
            return files[:number], notes
    return files, notes


def _predict(visit: Visit, opened: OpenModel, feedback: Feedback | None, text: Texts) -> None:
    def progress(done: int, total: int) -> None:
        if total > 1:
            st.progress(done / total, text("classify.working", done=done, total=total))

    visit.batch = predict_all(opened.predictor, visit.pictures, progress)
    if feedback:
        feedback.keep_unsure(visit.batch.predicted)
    visit.model, visit.shown = opened.key, None
    visit.table = as_csv(visit.batch, opened.predictor.classes) if len(visit.pictures) > 1 else b""
    st.html("<span></span>")


def _failures(failed: Sequence[Failed], text: Texts) -> None:
    html = "".join(markup.failure(one.upload.name, one.error, text) for one in failed)
    if len(failed) > 3:
        with st.expander(text("batch.failed", n=len(failed)), icon=":material/error:"):
            st.html(html)
    elif failed:
        st.html(html)


def _many(visit: Visit, opened: OpenModel, feedback: Feedback | None, batch: Batch, text: Texts) -> None:
    newest = st.container()
    st.subheader(text("batch.title", n=len(batch.results), time=markup.seconds(batch.seconds, text)))
    chosen = _filtered(batch.predicted, text)
    if not chosen:
        st.info(text("batch.none"))
    else:
        rows = _table(chosen, text)
        st.html(markup.note(text("batch.pick")))
        if rows:
            _large(visit, opened, feedback, chosen[rows[0]], text)
        elif visit.one_more and isinstance(last := batch.results[-1], Predicted):
            with newest:
                _large(visit, opened, feedback, last, text)
    st.download_button(
        text("batch.download"),
        visit.table,
        "whatsit.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _table(chosen: Sequence[Predicted], text: Texts) -> list[int]:
    """Draw a row for each picture, and return the numbers of the ticked rows."""
    found = [one.prediction for one in chosen]
    column = st.column_config
    picked = st.dataframe(
        {
            "picture": [one.thumbnail for one in chosen],
            "file": [one.upload.name for one in chosen],
            "answer": [_label(one, text) for one in found],
            "sure": [math.floor(1000 * one.probability) / 10 for one in found],  # 100 only for what is
            "second": [one.label if one.unknown else one.others[0][0] for one in found],
        },
        column_config={
            "picture": column.ImageColumn(text("batch.picture"), width="small"),
            "file": column.TextColumn(text("batch.file"), width="medium"),
            "answer": column.TextColumn(text("batch.answer"), width="medium"),
            "sure": column.ProgressColumn(text("batch.sure"), format="%.1f", min_value=0, max_value=100),
            "second": column.TextColumn(text("batch.second"), width="medium"),
        },
        row_height=64,
        height=min(560, 40 + 64 * len(chosen)),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="table",
    )
    return [row for row in picked.selection.rows if row < len(chosen)]


def _label(prediction: Prediction, text: Texts) -> str:
    return text("answer.unknown") if prediction.unknown else prediction.label


def _filtered(predicted: Sequence[Predicted], text: Texts) -> list[Predicted]:
    """Draw the filters, and return what they let through."""
    counts = Counter(_label(one.prediction, text) for one in predicted)
    labels = [label for label, _ in counts.most_common()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        is_few = len(labels) <= FEW_CLASSES

        def shown(label: str) -> str:
            return f"{markup.markdown_safe(label) if is_few else plain(label)}  {counts[label]:,}"

        if is_few:
            wanted = st.pills(text("batch.filter"), labels, format_func=shown, key="filter", selection_mode="multi")
        else:
            wanted = st.multiselect(text("batch.filter"), labels, format_func=shown, key="filter")
        least = st.slider(text("batch.least"), 0, 100, 0, format="%d %%", key="least", width=220)
    return [
        one
        for one in predicted
        if (not wanted or _label(one.prediction, text) in wanted) and 100 * one.prediction.probability >= least
    ]


def _large(
    visit: Visit,
    opened: OpenModel,
    feedback: Feedback | None,
    one: Predicted,
    text: Texts,
    seconds: float | None = None,
) -> None:
    prediction = one.prediction
    if visit.shown is None or visit.shown[0] is not one:
        visit.shown = (one, *_picture_urls(opened, one, prediction.label))
    _, picture, evidence = visit.shown
    left, right = st.columns([3, 2], gap="large")
    with right:
        st.html(markup.headline(prediction, text))
        st.markdown(f"**{text('answer.bars')}**")
        st.html(markup.bars(prediction, end=MAX_BARS))
        if len(prediction.top) > MAX_BARS:
            with st.expander(text("answer.more", n=len(prediction.top))):
                st.html(markup.bars(prediction, start=MAX_BARS))
        if feedback:
            ask(feedback, one.upload.data, prediction, opened.predictor.classes, text)
        if seconds is not None:
            st.html(markup.note(text("answer.time", time=markup.seconds(seconds, text))))
        strength = 0
        if evidence:
            strength = st.slider(text("answer.look"), 0, 100, 50, format="%d %%", key="strength")
            key = "answer.look_help_hidden" if opened.explainer.method == OCCLUSION else "answer.look_help"
            st.html(markup.note(text(key, label=prediction.label)))
        else:
            st.html(markup.note(text("answer.unexplained")))
    left.html(markup.picture(picture, text("answer.picture"), evidence, strength / 100))
    if visit.near:
        looks_like.show(opened, one, text)


def _picture_urls(opened: OpenModel, one: Predicted, label: str) -> tuple[str, str]:
    """Return the picture, and its evidence where the model can be explained."""
    pixels = pixels_to_show(one.upload.data)
    try:
        explanation = opened.explainer.explain(one.upload.data, label)
    except ModelError:
        return data_url(pixels), ""
    return data_url(pixels), data_url(overlay(pixels, explanation))
