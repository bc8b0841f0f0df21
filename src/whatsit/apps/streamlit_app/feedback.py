"""What people say about predictions, and the page that labels unsure ones.

Off unless the owner gave a folder. Visitors see that it is on; the page, which shows what others brought, is for this
computer only.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import streamlit as st

from whatsit.apps import markup
from whatsit.apps.predictions import Predicted
from whatsit.apps.streamlit_app.widgets import CARDS, button, cards, choose_label, picture_url, show_error
from whatsit.apps.texts import Texts
from whatsit.errors import WhatsitError
from whatsit.images.collection import MOST_WAITING, Collection, CollectionFullError, Waiting
from whatsit.images.names import plain
from whatsit.runtime.predictor import Prediction

FEWEST = 3  # different pictures of each of two classes, to train with
MAX_FILES = 10_000  # that visitors bring
MAX_BYTES = 2_000_000_000


class Feedback:
    """The folder that keeps what people say."""

    def __init__(self, folder: str | Path, *, is_private: bool) -> None:
        """Open a folder. Raises `UsageError` where it is something else.

        Args:
            folder: where pictures are kept.
            is_private: whether only this computer can reach the app, so that everybody may see what waits for a label.
        """
        self.collection = Collection(folder, most_files=MAX_FILES, most_bytes=MAX_BYTES)
        self.is_private = is_private

    def keep_unsure(self, predicted: Iterable[Predicted]) -> None:
        """Keep what the model does not know, or is unsure of, until somebody labels it."""
        for one in predicted:
            found = one.prediction
            if found.unknown or found.probability < markup.UNSURE:
                with contextlib.suppress(WhatsitError):  # visitors get their predictions even when the disk is full
                    self.collection.let_wait(one.upload.data, found.label, found.probability, found.unknown)


def ask(feedback: Feedback, data: bytes, prediction: Prediction, classes: tuple[str, ...], text: Texts) -> None:
    """Draw the question below a prediction: is it wrong, and what is right?"""
    with st.popover(text("feedback.wrong"), icon=":material/thumb_down:"):
        others = [label for label in classes if prediction.unknown or label != prediction.label]
        label = st.selectbox(
            text("feedback.what"), others, index=None, format_func=plain, accept_new_options=True, key="right_label"
        )
        if st.button(text("feedback.send"), type="primary", disabled=not label, key="send_feedback") and label:
            try:
                is_kept = feedback.collection.suggest(label, data)
            except CollectionFullError:
                st.warning(text("feedback.full"))
            except WhatsitError as error:
                st.error(text("page.failed", reason=markup.markdown_safe(str(error))))
            else:
                thanks = "feedback.thanks" if is_kept else "feedback.contested"
                st.success(text(thanks, label=markup.markdown_safe(label)))


def show(collection: Collection, classes: tuple[str, ...], text: Texts) -> None:
    """Draw the page of pictures to label."""
    st.title(text("queue.title"))
    st.html(markup.note(text("queue.intro", folder=collection.folder.name)))
    show_error(text)
    counts = {label: len(collection.pictures(label)) for label in collection.labels()}
    if any(counts.values()):
        rows = [(label, f"{count:,}") for label, count in counts.items()]
        st.html(markup.table((text("kinds.kind"), text("queue.kept")), rows, numbers=1))
    if sum(count >= FEWEST for count in counts.values()) < 2:
        st.html(markup.note(text("queue.few", n=FEWEST)))
    else:
        st.markdown(text("queue.train"))
        st.code(f"whatsit train {shlex.quote(str(collection.folder))}", language="bash")
    waiting = collection.waiting()
    st.header(text("queue.waiting", n=len(waiting)), divider="gray")
    if len(waiting) >= MOST_WAITING:
        st.warning(text("queue.full"))
    if not waiting:
        st.html(markup.note(text("queue.empty")))
    cards(waiting[:CARDS], partial(_card, collection, classes, text))


def _card(collection: Collection, classes: tuple[str, ...], text: Texts, one: Waiting) -> None:
    name = one.path.name
    if one.kept:
        caption = text("queue.contested", label=one.answer, kept=one.kept)
    elif one.unknown:
        caption = text("queue.unknown", label=one.answer)
    else:
        caption = text("queue.unsure", label=one.answer, share=markup.share(one.probability))
    st.html(markup.card(picture_url(one.path.read_bytes), caption, ""))
    settle = collection.settle
    button(text("data.it_is", label=one.answer), f"is-{name}", settle, name, one.answer)
    with st.popover(text("data.other"), width="stretch"):
        others = [label for label in classes if label != one.answer]
        if label := choose_label(others, f"other-{name}", text, new=True):
            button(text("data.it_is", label=label), f"set-{name}", settle, name, label, kind="primary")
        button(text("queue.forget"), f"no-{name}", settle, name, None)
