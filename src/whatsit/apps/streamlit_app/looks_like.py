"""The training pictures nearest to one, under its answer."""

from __future__ import annotations

import streamlit as st

from whatsit.apps import markup
from whatsit.apps.predictions import Predicted, nearest_urls
from whatsit.apps.streamlit_app.model_registry import OpenModel
from whatsit.apps.texts import Texts
from whatsit.run.nearest import NearestTraining

_SHOWN = "nearest"  # in the session: the picture, and what is shown under it


def show(opened: OpenModel, one: Predicted, text: Texts) -> None:
    """Draw them; until the training pictures were looked through, how far that is.

    Nothing for a model without a run folder or without embeddings.
    """
    nearest = opened.nearest
    if not nearest.has_run:
        return
    if not nearest.wait(0.0):
        _waiting(nearest, text)
    elif nearest.is_gone:
        st.html(markup.note(text("near.gone")))
    else:
        shown, urls = st.session_state.get(_SHOWN, (None, []))
        if shown is not one:
            urls = nearest_urls(nearest, one.upload.data)
            st.session_state[_SHOWN] = (one, urls)
        if html := markup.nearest(urls, one.prediction.unknown, text):
            st.html(html)


def _waiting(nearest: NearestTraining, text: Texts) -> None:
    def draw() -> None:
        if nearest.wait(0.0):
            st.rerun()
        done, total = nearest.progress
        st.html(markup.note(text("near.looking", done=f"{done:,}", total=f"{total:,}" if total else "…")))

    st.fragment(draw, run_every=1.0)()
