"""What people say of answers: "that's wrong", and the queue of pictures that the model was unsure of.

Off unless the owner gave a folder. Visitors are told; the queue, which shows what others brought, is for this computer only.
"""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

import streamlit as st

from whatsit.apps.answers import Lot, address
from whatsit.apps.streamlit_app import fragments
from whatsit.apps.streamlit_app.shelf import OpenModel
from whatsit.apps.words import Words
from whatsit.errors import ImageError, WhatsitError
from whatsit.evaluation.wording import plain
from whatsit.images.collection import MOST_WAITING, Collection, CollectionFullError, Waiting
from whatsit.images.decode import decode_within
from whatsit.runtime.predictor import Prediction

UNSURE = 0.6  # probability below which a picture waits for a label
AT_ONCE = 12
FEWEST = 3  # different pictures of each of two classes, to train with
SIDE = 320  # pixels
MOST_FILES = 10_000  # that visitors bring
MOST_BYTES = 2_000_000_000

_offered: list[Collection] = []
_open_to_others: list[bool] = [False]


def offer_feedback(folder: str | Path | None, *, is_private: bool) -> None:
    """Keep what people say in this folder, or nothing; only this computer's users may see it, if only they come.

    Raises `UsageError` where it is none.
    """
    _offered[:] = [] if folder is None else [Collection(folder, most_files=MOST_FILES, most_bytes=MOST_BYTES)]
    _open_to_others[:] = [not is_private]


def is_on() -> bool:
    """Whether the owner wants to be told."""
    return bool(_offered)


def has_queue() -> bool:
    """Whether the page of the queue is shown: only where everybody who reaches the app sits at this computer."""
    return is_on() and not _open_to_others[0]


def keep_unsure(lot: Lot) -> None:
    """Let pictures that the model does not know, or is unsure of, wait for a label."""
    for collection in _offered:
        for one in lot.good:
            found = one.answer
            if isinstance(found, Prediction) and (found.unknown or found.probability < UNSURE):
                with contextlib.suppress(WhatsitError):  # a full disk is not to keep visitors from their answers
                    collection.let_wait(one.brought.data, found.label, found.probability, found.unknown)


def tell(say: Words) -> None:
    """Say to visitors what is kept."""
    if is_on():
        st.html(f'<p class="w-soft">{fragments.safe(say("feedback.told"))}</p>')


def ask(data: bytes, found: Prediction, classes: tuple[str, ...], say: Words) -> None:
    """Below an answer: is it wrong, and what is it then?"""
    if not is_on():
        return
    with st.popover(say("feedback.wrong"), icon=":material/thumb_down:"):
        others = [label for label in classes if found.unknown or label != found.label]
        label = st.selectbox(
            say("feedback.what"), others, index=None, format_func=plain, accept_new_options=True, key="right_label"
        )
        if st.button(say("feedback.send"), type="primary", disabled=not label, key="send_feedback") and label:
            try:
                is_kept = _offered[0].suggest(label, data)
            except CollectionFullError:
                st.warning(say("feedback.full"))
            except WhatsitError as error:
                st.error(say("failed", reason=fragments.markdown_safe(str(error))))
            else:
                thanks = "feedback.thanks" if is_kept else "feedback.contested"
                st.success(say(thanks, label=fragments.markdown_safe(label)))


def show(opened: OpenModel, say: Words) -> None:
    """Draw the page of the queue."""
    collection = _offered[0]
    st.title(say("queue.title"))
    st.html(f'<p class="w-soft">{fragments.safe(say("queue.intro", folder=collection.folder.name))}</p>')
    if failed := st.session_state.pop("queue_failed", None):
        st.error(say("failed", reason=fragments.markdown_safe(failed)))
    kept = {label: len(collection.pictures(label)) for label in collection.labels()}
    if sum(kept.values()):
        st.html(
            fragments.table((say("kinds.kind"), say("queue.kept")), [(k, f"{n:,}") for k, n in kept.items()], numbers=1)
        )
    if sum(count >= FEWEST for count in kept.values()) < 2:
        st.html(f'<p class="w-soft">{say("queue.few", n=FEWEST)}</p>')
    else:
        st.markdown(say("queue.train"))
        st.code(f"whatsit train {shlex.quote(str(collection.folder))}", language="bash")
    waiting = collection.waiting()
    st.header(say("queue.waiting", n=len(waiting)), divider="gray")
    if len(waiting) >= MOST_WAITING:
        st.warning(say("queue.full"))
    if not waiting:
        st.html(f'<p class="w-soft">{say("queue.empty")}</p>')
    for start in range(0, min(len(waiting), AT_ONCE), 4):
        for column, one in zip(st.columns(4), waiting[start : start + 4], strict=False):
            with column, st.container(border=True):
                _card(one, opened.predictor.classes, say)


def _card(one: Waiting, classes: tuple[str, ...], say: Words) -> None:
    name = one.path.name
    try:
        picture = address(decode_within(one.path.read_bytes(), SIDE), quality=85)
    except (OSError, ImageError):
        picture = ""
    if one.kept:
        about = say("queue.contested", label=one.answer, kept=one.kept)
    elif one.unknown:
        about = say("queue.unknown", label=one.answer)
    else:
        about = say("queue.unsure", label=one.answer, share=fragments.share(one.probability))
    st.html(fragments.card(picture, about, ""))
    st.button(
        fragments.markdown_safe(say("data.it_is", label=one.answer)),
        key=f"is-{name}",
        width="stretch",
        on_click=_settle,
        args=(name, one.answer),
    )
    with st.popover(say("data.other"), width="stretch"):
        others = [label for label in classes if label != one.answer]
        label = st.selectbox(
            say("data.right_label"), others, index=None, format_func=plain, accept_new_options=True, key=f"other-{name}"
        )
        if label:
            text = fragments.markdown_safe(say("data.it_is", label=label))
            st.button(text, key=f"set-{name}", type="primary", width="stretch", on_click=_settle, args=(name, label))
        st.button(say("queue.forget"), key=f"no-{name}", width="stretch", on_click=_settle, args=(name, None))


def _settle(name: str, label: str | None) -> None:
    try:
        _offered[0].settle(name, label)
    except WhatsitError as error:
        st.session_state["queue_failed"] = str(error)
