"""What makes the web page of a model, and says how to put it online."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from whatsit.apps import markup
from whatsit.apps.sharing import website_zip
from whatsit.apps.texts import Texts
from whatsit.errors import WhatsitError

_MADE = "shared"  # in the session: of which model, and its zip


def show(model: Path, name: str, text: Texts) -> None:
    """Draw the button, and the download once the page is made."""
    st.subheader(text("share.title"))
    st.markdown(text("share.what"))
    key = (str(model), model.stat().st_mtime_ns if model.exists() else 0)
    if st.button(text("share.make"), key="share", icon=":material/share:"):
        with st.spinner(text("share.making")):
            try:
                st.session_state[_MADE] = (key, website_zip(model))
            except WhatsitError as error:
                st.error(text("share.failed", reason=markup.markdown_safe(str(error))))
    made, data = st.session_state.get(_MADE, (None, b""))
    if made != key:
        return
    label = text("share.download", megabytes=f"{len(data) / 1e6:.1f}")
    st.download_button(label, data, f"{name}-web.zip", key="share-zip", icon=":material/download:", on_click="ignore")
    ways = (text("share.first"), text("share.second"), text("share.third"))
    st.markdown("\n".join(f"{number}. {way}" for number, way in enumerate(ways, 1)))
