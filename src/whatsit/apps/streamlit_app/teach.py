"""The page where somebody teaches new kinds of things: name them, show pictures, train, see how good it is, try it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

import streamlit as st

from whatsit.apps.answers import address
from whatsit.apps.streamlit_app import fragments, left_out
from whatsit.apps.streamlit_app.classroom import FEWEST, Classroom, classroom
from whatsit.apps.trainer import Taught
from whatsit.apps.words import Words
from whatsit.errors import ImageError, WhatsitError
from whatsit.events import Work
from whatsit.images.decode import decode_within

_HERE = Path(__file__).parent
SHOWN = 14  # of the newest pictures of a class
SMALL = 96  # pixels
_burst = st.components.v2.component(
    "whatsit_burst",
    html='<div class="burst"></div>',
    css=(_HERE / "burst.css").read_text(encoding="utf-8"),
    js=(_HERE / "burst.js").read_text(encoding="utf-8"),
)


def show(say: Words) -> None:
    """Draw the page."""
    room = classroom()
    if room is None:
        return
    st.title(say("teach.title"))
    st.html(f'<p class="w-soft">{fragments.safe(say("teach.intro", folder=room.collection.folder.name))}</p>')
    for words in st.session_state.pop("teach_notes", []):
        st.warning(fragments.markdown_safe(words))
    for label in room.collection.labels():
        _class(room, label, say)
    _new(say)
    left_out.show(room.collection.left_out(), say)
    _train(room, say)
    found = room.result()
    if found and not room.doing:
        _result(room, *found, say)


def _new(say: Words) -> None:
    with (
        st.form("new_class", clear_on_submit=True, border=False),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        st.text_input(say("teach.name"), key="class_name", width=380)
        st.form_submit_button(say("teach.add"), icon=":material/add:", on_click=_add_class)


# Callbacks stay for as long as the visit; they hold names only.


def _add_class() -> None:
    room = classroom()
    if room and st.session_state["class_name"].strip():
        try:
            room.collection.add_label(st.session_state["class_name"])
        except WhatsitError as error:
            st.session_state["teach_notes"] = [str(error)]


def _class(room: Classroom, label: str, say: Words) -> None:
    pictures = room.collection.pictures(label)
    with st.container(border=True):
        st.markdown(f"**{fragments.markdown_safe(label)}** · {say('teach.count', n=f'{len(pictures):,}')}")
        if pictures:
            st.html(f'<div class="w-strip">{"".join(_thumb(path) for path in reversed(pictures[-SHOWN:]))}</div>')
        with st.container(horizontal=True, vertical_alignment="top"):
            number = st.session_state.setdefault(f"field-{label}", 0)
            files = st.file_uploader(
                say("teach.upload", label=label),
                accept_multiple_files=True,
                key=f"bring-{label}-{number}",
                label_visibility="collapsed",
                width=480,
            )
            camera = st.toggle(say("teach.camera"), key=f"camera-{label}")
            with st.popover(say("data.other")):
                _take_out(room, label, pictures, say)
        if files:
            _keep(room, label, [(file.name, file.getvalue()) for file in files], say)
            st.session_state[f"field-{label}"] = number + 1  # another field, which is empty
            st.rerun()
        if camera:
            _camera(room, label, say)


def _camera(room: Classroom, label: str, say: Words) -> None:
    words = {word: say(f"live.{word}") for word in ("denied", "missing", "busy", "insecure")}
    taken = _burst(
        key=f"burst-{label}", data={"words": words | {"hold": say("teach.hold")}}, on_frames_change=lambda: None
    )
    frames = taken.frames
    if isinstance(frames, list) and frames:
        _keep(room, label, _decoded(frames[:50]), say)
        st.rerun()


def _decoded(frames: Iterable[object]) -> list[tuple[str, bytes]]:
    found = []
    for number, frame in enumerate(frames, 1):
        try:
            found.append((str(number), base64.b64decode(str(frame), validate=True)))
        except binascii.Error:
            continue
    return found


def _keep(room: Classroom, label: str, files: Sequence[tuple[str, bytes]], say: Words) -> None:
    refused: list[tuple[str, str]] = []
    for name, data in files:
        try:
            room.collection.add(label, data)
        except ImageError as error:
            refused.append((name, fragments.reason(error, say)))
        except WhatsitError as error:
            refused.append((name, str(error)))
    if refused:
        name, reason = refused[0]
        st.session_state["teach_notes"] = [say("teach.refused", n=len(refused), name=name, reason=reason)]


def _take_out(room: Classroom, label: str, pictures: Sequence[Path], say: Words) -> None:
    st.button(say("teach.remove"), key=f"remove-{label}", on_click=_put_away, args=(label, ("",)))
    if not pictures:
        return
    newest = list(reversed(pictures))
    picked = st.dataframe(
        {"picture": [_small(path) for path in newest]},
        column_config={"picture": st.column_config.ImageColumn(say("batch.picture"), width="small")},
        row_height=72,
        height=320,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"all-{label}-{len(newest)}",
    )
    rows = [row for row in picked.selection.rows if row < len(newest)]
    st.button(
        say("teach.out", n=len(rows)),
        key=f"out-{label}",
        disabled=not rows,
        on_click=_put_away,
        args=(label, tuple(newest[row].name for row in rows)),
    )


def _put_away(label: str, names: Sequence[str]) -> None:
    room = classroom()
    if room:
        try:
            for name in names:
                room.collection.put_away(label, name)
        except WhatsitError as error:
            st.session_state["teach_notes"] = [str(error)]


@st.cache_data(max_entries=2000, show_spinner=False)
def _small_of(path: str, changed: int) -> str:
    del changed  # part of the key only
    try:
        return address(decode_within(Path(path).read_bytes(), SMALL), quality=80)
    except (OSError, ImageError):
        return ""


def _small(path: Path) -> str:
    try:
        return _small_of(str(path), path.stat().st_mtime_ns)
    except OSError:
        return ""


def _thumb(path: Path) -> str:
    return f'<img src="{_small(path)}" alt="">'


def _train(room: Classroom, say: Words) -> None:
    if room.failed:
        where = say("teach.log", file=f"{room.models.name}/{room.log.path.name}") if room.is_logged else ""
        st.error(f"{say('teach.failed', reason=fragments.markdown_safe(room.failed))} {fragments.markdown_safe(where)}")
    if not room.is_ready:
        st.info(say("teach.few", n=FEWEST))
        return
    if room.doing:
        _watch(say)
        return
    st.button(
        say("teach.again" if room.result() else "teach.train"),
        type="primary",
        icon=":material/school:",
        on_click=_begin,
    )


def _begin() -> None:
    room = classroom()
    if room:
        room.begin()


@st.fragment(run_every=0.4)
def _watch(say: Words) -> None:
    room = classroom()
    doing = room.doing if room else ""
    if not doing:
        st.rerun()
    place = _STAGES.index(doing) if doing in _STAGES else 0
    st.progress((place + 1) / (len(_STAGES) + 1), say(f"stage.{place}"))


# In order; the words for them are `stage.0` and so on.
_STAGES: tuple[str, ...] = (Work.READING, Work.FEATURES, Work.TRAINING, Work.CROSS_VALIDATION)


def _result(room: Classroom, taught: Taught, changed: bool, say: Words) -> None:
    st.header(say("teach.result"), divider="gray")
    if changed:
        st.warning(say("teach.changed"))
    between = say("about.between", low=fragments.share(taught.low), high=fragments.share(taught.high))
    st.html(
        fragments.tiles(
            fragments.tile(fragments.share(taught.accuracy), say("teach.right"), between),
            fragments.tile(fragments.seconds(taught.seconds, say), say("teach.took")),
        )
    )
    tested = say("teach.tested", n=taught.n, folds=taught.folds) if taught.folds else say("teach.aside", n=taught.n)
    st.html(f'<p class="w-soft">{tested}</p>')
    rows = [(label, fragments.share(share)) for label, share in taught.recall.items()]
    st.html(fragments.table((say("kinds.kind"), say("kinds.found")), rows, numbers=1))
    st.subheader(say("teach.next"))
    for advice in room.advice(taught):
        values = {
            key: fragments.share(value) if isinstance(value, float) else value for key, value in advice.values.items()
        }
        st.markdown(f"- {fragments.markdown_safe(say(advice.key, **values))}")
    with st.container(horizontal=True, vertical_alignment="center"):
        name = taught.run.name
        st.html(f'<a class="w-link" href="live?model={quote(name)}" target="_self">{say("teach.try")}</a>')
        st.download_button(
            say("teach.download"),
            (taught.run / "model.whatsit").read_bytes,
            f"{name}.whatsit",
            icon=":material/download:",
            on_click="ignore",
        )
