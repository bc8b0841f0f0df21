"""The page where people teach new classes: add pictures, train, see the result."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

import streamlit as st

from whatsit.apps import markup
from whatsit.apps.streamlit_app import sharing, skipped_files
from whatsit.apps.streamlit_app.teaching import FEWEST, Teaching
from whatsit.apps.streamlit_app.widgets import attempt, picture_url, pop_error
from whatsit.apps.texts import Texts
from whatsit.apps.trainer import TrainingResult
from whatsit.errors import ImageError, WhatsitError
from whatsit.events import Work
from whatsit.run_files import MODEL

_HERE = Path(__file__).parent
SHOWN = 14  # of the newest pictures of a class
SMALL = 96  # pixels
MAX_FRAMES = 50  # of the camera at once
_REFUSED = "teach_refused"
_burst = st.components.v2.component(
    "whatsit_burst",
    html='<div class="burst"></div>',
    css=(_HERE / "burst.css").read_text(encoding="utf-8"),
    js=(_HERE / "burst.js").read_text(encoding="utf-8"),
)
# In order; their texts are `stage.0` and so on.
_STAGES: tuple[str, ...] = (Work.READING, Work.FEATURES, Work.TRAINING, Work.CROSS_VALIDATION)


def show(teaching: Teaching, text: Texts) -> None:
    """Draw the page."""
    st.title(text("teach.title"))
    st.html(markup.note(text("teach.intro", folder=teaching.collection.folder.name)))
    for problem in (markup.markdown_safe(st.session_state.pop(_REFUSED, "")), pop_error()):
        if problem:
            st.warning(problem)
    for label in teaching.collection.labels():
        _class(teaching, label, text)
    _new_class(teaching, text)
    skipped_files.show_of_folder(teaching.collection.left_out(), text)
    _train(teaching, text)
    if not teaching.stage and (found := teaching.result()):
        _result(teaching, *found, text)


def _new_class(teaching: Teaching, text: Texts) -> None:
    def add() -> None:
        if st.session_state["class_name"].strip():
            attempt(teaching.collection.add_label, st.session_state["class_name"])

    with (
        st.form("new_class", clear_on_submit=True, border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        st.text_input(text("teach.name"), key="class_name", width=380)
        st.form_submit_button(text("teach.add"), icon=":material/add:", on_click=add)


def _class(teaching: Teaching, label: str, text: Texts) -> None:
    pictures = teaching.collection.pictures(label)
    with st.container(border=True):
        st.markdown(f"**{markup.markdown_safe(label)}** · {text('teach.count', n=f'{len(pictures):,}')}")
        if pictures:
            strip = "".join(f'<img src="{_thumbnail(path)}" alt="">' for path in reversed(pictures[-SHOWN:]))
            st.html(f'<div class="w-strip">{strip}</div>')
        with st.container(horizontal=True, vertical_alignment="top"):
            number = st.session_state.setdefault(f"field-{label}", 0)
            files = st.file_uploader(
                text("teach.upload", label=label),
                accept_multiple_files=True,
                key=f"bring-{label}-{number}",
                label_visibility="collapsed",
                width=480,
            )
            camera = st.toggle(text("teach.camera"), key=f"camera-{label}")
            with st.popover(text("data.other")):
                _remove(teaching, label, pictures, text)
        if files:
            _add(teaching, label, [(file.name, file.getvalue()) for file in files], text)
            st.session_state[f"field-{label}"] = number + 1  # another field, which is empty
            st.rerun()
        if camera:
            _camera(teaching, label, text)


def _camera(teaching: Teaching, label: str, text: Texts) -> None:
    words = {word: text(f"live.{word}") for word in ("denied", "missing", "busy", "insecure")}
    taken = _burst(
        key=f"burst-{label}", data={"words": words | {"hold": text("teach.hold")}}, on_frames_change=lambda: None
    )
    if isinstance(taken.frames, list) and taken.frames:
        _add(teaching, label, _decoded(taken.frames[:MAX_FRAMES]), text)
        st.rerun()


def _decoded(frames: Iterable[object]) -> list[tuple[str, bytes]]:
    found = []
    for number, frame in enumerate(frames, 1):
        try:
            found.append((str(number), base64.b64decode(str(frame), validate=True)))
        except binascii.Error:
            continue
    return found


def _add(teaching: Teaching, label: str, files: Sequence[tuple[str, bytes]], text: Texts) -> None:
    refused: list[tuple[str, str]] = []
    for name, data in files:
        try:
            teaching.collection.add(label, data)
        except WhatsitError as error:
            refused.append((name, markup.reason(error, text) if isinstance(error, ImageError) else str(error)))
    if refused:
        name, reason = refused[0]
        st.session_state[_REFUSED] = text("teach.refused", n=len(refused), name=name, reason=reason)


def _remove(teaching: Teaching, label: str, pictures: Sequence[Path], text: Texts) -> None:
    """Draw what takes a whole class or single pictures out."""
    put_away = teaching.collection.put_away
    st.button(text("teach.remove"), f"remove-{label}", on_click=attempt, args=(put_away, label))
    if not pictures:
        return
    newest = list(reversed(pictures))
    picked = st.dataframe(
        {"picture": [_thumbnail(path) for path in newest]},
        column_config={"picture": st.column_config.ImageColumn(text("batch.picture"), width="small")},
        row_height=72,
        height=320,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"all-{label}-{len(newest)}",
    )
    names = [newest[row].name for row in picked.selection.rows if row < len(newest)]

    def remove() -> None:
        for name in names:
            put_away(label, name)

    st.button(text("teach.out", n=len(names)), f"out-{label}", disabled=not names, on_click=attempt, args=(remove,))


@st.cache_data(max_entries=2000, show_spinner=False)
def _cached_thumbnail(path: str, changed: int) -> str:
    del changed  # part of the key only
    return picture_url(Path(path).read_bytes, SMALL, 80)


def _thumbnail(path: Path) -> str:
    try:
        return _cached_thumbnail(str(path), path.stat().st_mtime_ns)
    except OSError:
        return ""


def _train(teaching: Teaching, text: Texts) -> None:
    if teaching.error:
        log = f"{teaching.models.name}/{teaching.log.path.name}"
        more = text("teach.log", file=log) if teaching.is_logged else ""
        reason = text("teach.failed", reason=markup.markdown_safe(teaching.error))
        st.error(f"{reason} {markup.markdown_safe(more)}")
    if not teaching.is_ready:
        st.info(text("teach.few", n=FEWEST))
    elif teaching.stage:
        _watch(teaching, text)
    else:
        st.button(
            text("teach.again" if teaching.result() else "teach.train"),
            type="primary",
            icon=":material/school:",
            on_click=attempt,
            args=(teaching.train,),
        )


@st.fragment(run_every=0.4)
def _watch(teaching: Teaching, text: Texts) -> None:
    stage = teaching.stage
    if not stage:
        st.rerun()
    number = _STAGES.index(stage) if stage in _STAGES else 0
    st.progress((number + 1) / (len(_STAGES) + 1), text(f"stage.{number}"))


def _result(teaching: Teaching, result: TrainingResult, is_changed: bool, text: Texts) -> None:
    st.header(text("teach.result"), divider="gray")
    if is_changed:
        st.warning(text("teach.changed"))
    between = text("about.between", low=markup.share(result.low), high=markup.share(result.high))
    st.html(
        markup.tiles(
            (markup.share(result.accuracy), text("teach.right"), between),
            (markup.seconds(result.seconds, text), text("teach.took")),
        )
    )
    st.html(markup.note(text("teach.tested" if result.folds else "teach.aside", n=result.n, folds=result.folds)))
    rows = [(label, markup.share(recall)) for label, recall in result.recall.items()]
    st.html(markup.table((text("kinds.kind"), text("kinds.found")), rows, numbers=1))
    st.subheader(text("teach.next"))
    for advice in teaching.advice(result):
        values = {
            key: markup.share(value) if isinstance(value, float) else value for key, value in advice.values.items()
        }
        st.markdown(f"- {markup.markdown_safe(text(advice.key, **values))}")
    name = result.run.name
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(f'<a class="w-link" href="live?model={quote(name)}" target="_self">{text("teach.try")}</a>')
        st.download_button(
            text("teach.download"),
            (result.run / MODEL).read_bytes,
            f"{name}.whatsit",
            icon=":material/download:",
            on_click="ignore",
        )
    sharing.show(result.run / MODEL, name, text)
