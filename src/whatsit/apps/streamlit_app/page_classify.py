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
from whatsit.apps.answers import Answered, Brought, Lot, address, answer_all, as_csv, overlay, pixels_to_show
from whatsit.apps.streamlit_app.feedback import Feedback, ask
from whatsit.apps.streamlit_app.model_registry import Key, OpenModel
from whatsit.apps.texts import Texts
from whatsit.errors import ImageError, ModelError
from whatsit.evaluation.wording import plain
from whatsit.images.formats import FORMATS
from whatsit.runtime.predictor import Prediction

MAX_PICTURES = 500  # in one drop
MAX_TOTAL_MB = 1000
FEW_CLASSES = 12  # get a button each, more a list
MAX_BARS = 8  # shown at once
_FILES, _CAMERA = "files", "camera"


@dataclass
class Visit:
    """What one visitor brought, and the predictions; nobody else sees it, and it ends with the visit."""

    pictures: Sequence[Brought] = ()
    model: Key | None = None  # that made the predictions
    lot: Lot | None = None
    table: bytes = b""  # the same as CSV
    notes: Sequence[tuple[str, dict[str, object]]] = ()  # keys and values of texts about what was brought
    widget: int = 0  # is increased to empty the upload field
    held: frozenset[str] = frozenset()  # ids of the files that Streamlit holds for this visit
    changed: bool = False
    one_more: bool = False  # a single picture was added to the others: its prediction is shown first
    shown: tuple[Answered, str, str] | None = None  # the picture in large, its URL, and that of its evidence


def show(opened: OpenModel, feedback: Feedback | None, text: Texts) -> None:
    """Draw the page."""
    visit: Visit = st.session_state.setdefault("visit", Visit())
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
    if visit.lot is None or visit.model != opened.key:
        with progress:
            _predict(visit, opened, feedback, text)
    lot = visit.lot
    if lot is None:
        return
    _failures(lot.failed, text)
    if lot.good and len(visit.pictures) == 1:
        _large(visit, opened, feedback, lot.good[0], text, lot.seconds)
    elif lot.good:
        _many(visit, opened, feedback, lot, text)
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
        files = [Brought(photo_name if source == _CAMERA else file.name, file.getvalue()) for file in chosen]
        visit.one_more = len(files) == len(visit.pictures) + 1
        visit.pictures, visit.notes = _limited(files)
        visit.lot = visit.shown = None


def _release(visit: Visit, shown: frozenset[str]) -> None:
    """Release the files that are no longer shown: Streamlit holds them until the end of the visit."""
    context = get_script_run_ctx()
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for file_id in visit.held - shown:
            context.uploaded_file_mgr.remove_file(context.session_id, file_id)
    visit.held = shown


def _limited(files: Sequence[Brought]) -> tuple[Sequence[Brought], list[tuple[str, dict[str, object]]]]:
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

    visit.lot = answer_all(opened.predictor, visit.pictures, progress)
    if feedback:
        feedback.keep_unsure(visit.lot)
    visit.model, visit.shown = opened.key, None
    visit.table = as_csv(visit.lot, opened.predictor.classes) if len(visit.pictures) > 1 else b""
    st.html("<span></span>")


def _failures(failed: Sequence[Answered], text: Texts) -> None:
    errors = [(one.brought.name, one.answer) for one in failed if isinstance(one.answer, ImageError)]
    html = "".join(markup.failure(name, error, text) for name, error in errors)
    if len(errors) > 3:
        with st.expander(text("batch.failed", n=len(errors)), icon=":material/error:"):
            st.html(html)
    elif errors:
        st.html(html)


def _many(visit: Visit, opened: OpenModel, feedback: Feedback | None, lot: Lot, text: Texts) -> None:
    newest = st.container()
    st.subheader(text("batch.title", n=len(lot.answered), time=markup.seconds(lot.seconds, text)))
    chosen = _filtered(lot.good, text)
    if not chosen:
        st.info(text("batch.none"))
    else:
        rows = _table(chosen, text)
        st.html(markup.note(text("batch.pick")))
        if rows and rows[0] < len(chosen):
            _large(visit, opened, feedback, chosen[rows[0]][0], text)
        elif visit.one_more:
            with newest:
                _large(visit, opened, feedback, lot.answered[-1], text)
    st.download_button(
        text("batch.download"),
        visit.table,
        "whatsit.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _table(chosen: Sequence[tuple[Answered, Prediction]], text: Texts) -> list[int]:
    """Draw a row for each picture, and return the numbers of the ticked rows."""
    predictions = [prediction for _, prediction in chosen]
    picked = st.dataframe(
        {
            "picture": [one.thumbnail for one, _ in chosen],
            "file": [one.brought.name for one, _ in chosen],
            "answer": [_label(prediction, text) for prediction in predictions],
            "sure": [math.floor(1000 * one.probability) / 10 for one in predictions],  # 100 only for what is
            "second": [one.label if one.unknown else one.top[1][0] for one in predictions],
        },
        column_config={
            "picture": st.column_config.ImageColumn(text("batch.picture"), width="small"),
            "file": st.column_config.TextColumn(text("batch.file"), width="medium"),
            "answer": st.column_config.TextColumn(text("batch.answer"), width="medium"),
            "sure": st.column_config.ProgressColumn(text("batch.sure"), format="%.1f", min_value=0, max_value=100),
            "second": st.column_config.TextColumn(text("batch.second"), width="medium"),
        },
        row_height=64,
        height=min(560, 40 + 64 * len(chosen)),
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="table",
    )
    return list(picked.selection.rows)


def _label(prediction: Prediction, text: Texts) -> str:
    return text("answer.unknown") if prediction.unknown else prediction.label


def _filtered(good: Sequence[Answered], text: Texts) -> list[tuple[Answered, Prediction]]:
    """Draw the filters, and return what they let through."""
    predictions = [(one, one.answer) for one in good if isinstance(one.answer, Prediction)]
    counts = Counter(_label(prediction, text) for _, prediction in predictions)
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
        (one, prediction)
        for one, prediction in predictions
        if (not wanted or _label(prediction, text) in wanted) and 100 * prediction.probability >= least
    ]


def _large(
    visit: Visit,
    opened: OpenModel,
    feedback: Feedback | None,
    one: Answered,
    text: Texts,
    seconds: float | None = None,
) -> None:
    prediction = one.answer
    if not isinstance(prediction, Prediction):
        return
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
            ask(feedback, one.brought.data, prediction, opened.predictor.classes, text)
        if seconds is not None:
            st.html(markup.note(text("answer.time", time=markup.seconds(seconds, text))))
        strength = 0
        if evidence:
            strength = st.slider(text("answer.look"), 0, 100, 50, format="%d %%", key="strength")
            st.html(markup.note(text("answer.look_help", label=prediction.label)))
        else:
            st.html(markup.note(text("answer.unexplained")))
    left.html(markup.picture(picture, text("answer.picture"), evidence, strength / 100))


def _picture_urls(opened: OpenModel, one: Answered, label: str) -> tuple[str, str]:
    """Return the picture and the evidence laid over it; no evidence where the model cannot be explained."""
    pixels = pixels_to_show(one.brought.data)
    try:
        explanation = opened.explainer.explain(one.brought.data, label)
    except ModelError:
        return address(pixels), ""
    return address(pixels), address(overlay(pixels, explanation))
