"""The page where pictures are brought and answered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from whatsit.apps.answers import (
    Answered,
    Brought,
    Lot,
    address,
    answer_all,
    as_csv,
    overlay,
    pixels_to_show,
)
from whatsit.apps.streamlit_app import feedback, fragments
from whatsit.apps.streamlit_app.shelf import Key, OpenModel
from whatsit.apps.words import Words
from whatsit.errors import ImageError, ModelError
from whatsit.evaluation.wording import plain
from whatsit.images.formats import FORMATS
from whatsit.runtime.predictor import Prediction

MAX_PICTURES = 500  # in one drop
MAX_TOTAL_MB = 1000
FEW_KINDS = 12
_FILES, _CAMERA = "files", "camera"


@dataclass
class Visit:
    """What one visitor brought, and the answers; nobody else sees it, and it goes with the visit."""

    pictures: Sequence[Brought] = ()
    model: Key | None = None  # whose answers these are
    lot: Lot | None = None
    table: bytes = b""  # the same as CSV
    notes: Sequence[tuple[str, dict[str, object]]] = ()  # words to say about what was brought
    widget: int = 0  # goes up to empty the upload field
    held: frozenset[str] = frozenset()  # the files that Streamlit keeps for this visit, by their numbers
    changed: bool = False
    one_more: bool = False  # a single picture came to those that were there: its answer is what is waited for
    shown: tuple[Answered, str, str] | None = None  # the picture shown large, its address, and that of its evidence


def show(opened: OpenModel, say: Words) -> None:
    """Draw the page."""
    visit: Visit = st.session_state.setdefault("visit", Visit())
    st.title(say("classify.title"))
    _bring(visit, say)
    for key, values in visit.notes:
        st.warning(say(key, **values))
    if not visit.pictures:
        st.html(f'<p class="w-soft">{say("classify.empty")}</p>')
        feedback.tell(say)
        return
    place = st.empty()  # in every run, or all that follows would be drawn twice for a moment
    if visit.lot is None or visit.model != opened.key:
        with place:
            _answer(visit, opened, say)
    lot = visit.lot
    if lot is None:
        return
    if lot.failed:
        _failures(lot.failed, say)
    if len(visit.pictures) == 1:
        if lot.good:
            _large(visit, opened, lot.good[0], say, lot.seconds)
    elif lot.good:
        _many(visit, opened, lot, say)
    st.button(say("classify.clear"), icon=":material/close:", on_click=_clear)


# Streamlit keeps the callbacks of every widget that ever was, so these must not hold a visit's pictures.


def _clear() -> None:
    old: Visit = st.session_state["visit"]
    st.session_state["visit"] = Visit(widget=old.widget + 1, held=old.held)


def _changed() -> None:
    st.session_state["visit"].changed = True


def _bring(visit: Visit, say: Words) -> None:
    names = {_FILES: say("classify.files"), _CAMERA: say("classify.camera")}
    source = st.segmented_control(
        say("classify.source"),
        list(names),
        format_func=names.__getitem__,
        default=_FILES,
        key="source",
        required=True,
        label_visibility="collapsed",
    )
    if source == _CAMERA:
        photo = st.camera_input(say("classify.shoot"), key=f"camera{visit.widget}", on_change=_changed, width=480)
        chosen = [photo] if photo else []
    else:
        chosen = st.file_uploader(
            say("classify.upload", formats=", ".join(FORMATS)),
            accept_multiple_files=True,
            key=f"upload{visit.widget}",
            on_change=_changed,
        )
    _let_go(visit, frozenset(file.file_id for file in chosen))
    if visit.changed:  # otherwise the field may be empty only because another page was looked at meanwhile
        visit.changed = False
        files = [Brought(say("classify.photo") if source == _CAMERA else file.name, file.getvalue()) for file in chosen]
        visit.one_more = len(files) == len(visit.pictures) + 1
        visit.pictures, visit.notes = _limited(files)
        visit.lot = visit.shown = None


def _let_go(visit: Visit, shown: frozenset[str]) -> None:
    """Streamlit keeps a file for as long as the visit, even when its field is gone; what is no longer shown can go."""
    context = get_script_run_ctx()
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for number in visit.held - shown:
            context.uploaded_file_mgr.remove_file(context.session_id, number)
    visit.held = shown


def _limited(files: Sequence[Brought]) -> tuple[Sequence[Brought], list[tuple[str, dict[str, object]]]]:
    """As many as fit, and what to say of the others."""
    notes: list[tuple[str, dict[str, object]]] = []
    if len(files) > MAX_PICTURES:
        notes.append(("classify.too_many", {"n": len(files), "most": MAX_PICTURES}))
        files = files[:MAX_PICTURES]
    room = MAX_TOTAL_MB * 1_000_000
    kept = []
    for file in files:
        room -= len(file.data)
        if room < 0:
            notes.append(("classify.too_large", {"most": MAX_TOTAL_MB}))
            break
        kept.append(file)
    return kept, notes


def _answer(visit: Visit, opened: OpenModel, say: Words) -> None:
    def progress(done: int, total: int) -> None:
        if total > 1:
            st.progress(done / total, say("classify.working", done=done, total=total))

    visit.lot = answer_all(opened.predictor, visit.pictures, progress)
    feedback.keep_unsure(visit.lot)
    visit.model, visit.shown = opened.key, None
    visit.table = as_csv(visit.lot, opened.predictor.classes) if len(visit.pictures) > 1 else b""
    st.html("<span></span>")


def _failures(failed: Sequence[Answered], say: Words) -> None:
    lines = "".join(
        fragments.failure(one.brought.name, one.answer, say) for one in failed if isinstance(one.answer, ImageError)
    )
    if len(failed) <= 3:
        st.html(lines)
        return
    with st.expander(say("batch.failed", n=len(failed)), icon=":material/error:"):
        st.html(lines)


def _many(visit: Visit, opened: OpenModel, lot: Lot, say: Words) -> None:
    newest = st.container()
    st.subheader(say("batch.title", n=len(lot.answered), time=fragments.seconds(lot.seconds, say)))
    chosen = _filtered(lot.good, say)
    if not chosen:
        st.info(say("batch.none"))
    else:
        answers = [one.answer for one in chosen if isinstance(one.answer, Prediction)]
        picked = st.dataframe(
            {
                "picture": [one.thumbnail for one in chosen],
                "file": [one.brought.name for one in chosen],
                "answer": [say("answer.unknown") if answer.unknown else answer.label for answer in answers],
                "sure": [math.floor(1000 * answer.probability) / 10 for answer in answers],  # never 100 for what is not
                "second": [answer.label if answer.unknown else answer.top[1][0] for answer in answers],
            },
            column_config={
                "picture": st.column_config.ImageColumn(say("batch.picture"), width="small"),
                "file": st.column_config.TextColumn(say("batch.file"), width="medium"),
                "answer": st.column_config.TextColumn(say("batch.answer"), width="medium"),
                "sure": st.column_config.ProgressColumn(say("batch.sure"), format="%.1f", min_value=0, max_value=100),
                "second": st.column_config.TextColumn(say("batch.second"), width="medium"),
            },
            row_height=64,
            height=min(560, 40 + 64 * len(chosen)),
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            key="table",
        )
        st.html(f'<p class="w-soft">{say("batch.pick")}</p>')
        rows = picked.selection.rows
        if rows and rows[0] < len(chosen):
            _large(visit, opened, chosen[rows[0]], say)
        elif visit.one_more:
            with newest:
                _large(visit, opened, lot.answered[-1], say)
    st.download_button(
        say("batch.download"),
        visit.table,
        "whatsit.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _filtered(good: Sequence[Answered], say: Words) -> list[Answered]:
    unknown = say("answer.unknown")
    answers = [(one, one.answer) for one in good if isinstance(one.answer, Prediction)]

    def kind(answer: Prediction) -> str:
        return unknown if answer.unknown else answer.label

    counts = Counter(kind(answer) for _, answer in answers)
    kinds = [name for name, _ in counts.most_common()]
    with st.container(horizontal=True, vertical_alignment="bottom"):

        def shown(name: str) -> str:
            return f"{fragments.markdown_safe(name)}  {counts[name]:,}"

        if len(kinds) <= FEW_KINDS:
            wanted = st.pills(say("batch.filter"), kinds, format_func=shown, key="filter", selection_mode="multi")
        else:
            wanted = st.multiselect(
                say("batch.filter"), kinds, format_func=lambda name: f"{plain(name)}  {counts[name]:,}", key="filter"
            )
        least = st.slider(say("batch.least"), 0, 100, 0, format="%d %%", key="least", width=220)
    return [
        one for one, answer in answers if (not wanted or kind(answer) in wanted) and 100 * answer.probability >= least
    ]


def _large(visit: Visit, opened: OpenModel, one: Answered, say: Words, seconds: float | None = None) -> None:
    answer = one.answer
    if not isinstance(answer, Prediction):
        return
    if visit.shown is None or visit.shown[0] is not one:
        visit.shown = (one, *_drawn(opened, one, answer.label))
    _, picture, evidence = visit.shown
    left, right = st.columns([3, 2], gap="large")
    with right:
        st.html(fragments.headline(answer, say))
        st.markdown(f"**{say('answer.bars')}**")
        st.html(fragments.bars(answer, end=fragments.FIRST))
        if len(answer.top) > fragments.FIRST:
            with st.expander(say("answer.more", n=len(answer.top))):
                st.html(fragments.bars(answer, start=fragments.FIRST))
        feedback.ask(one.brought.data, answer, opened.predictor.classes, say)
        if seconds is not None:
            st.html(f'<p class="w-soft">{say("answer.time", time=fragments.seconds(seconds, say))}</p>')
        strength = 0
        if evidence:
            strength = st.slider(say("answer.look"), 0, 100, 50, format="%d %%", key="strength")
            st.html(f'<p class="w-soft">{fragments.safe(say("answer.look_help", label=answer.label))}</p>')
        else:
            st.html(f'<p class="w-soft">{say("answer.unexplained")}</p>')
    left.html(fragments.picture(picture, say("answer.picture"), evidence, strength / 100))


def _drawn(opened: OpenModel, one: Answered, label: str) -> tuple[str, str]:
    pixels = pixels_to_show(one.brought.data)
    try:
        explanation = opened.explainer.explain(one.brought.data, label)
    except ModelError:
        return address(pixels), ""
    return address(pixels), address(overlay(pixels, explanation))
