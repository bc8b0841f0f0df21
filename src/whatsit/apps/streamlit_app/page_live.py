"""The page with the live camera, whose predictions the browser draws."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from whatsit.apps import markup
from whatsit.apps.streamlit_app.live_frames import HEADER, PATH
from whatsit.apps.streamlit_app.model_registry import OpenModel
from whatsit.apps.texts import Texts

_HERE = Path(__file__).parent
_camera = st.components.v2.component(
    "whatsit_live",
    html='<div class="live"></div>',
    css=(_HERE / "live.css").read_text(encoding="utf-8"),
    js=(_HERE / "live.js").read_text(encoding="utf-8"),
)
_WORDS = ("start", "stop", "flip", "rate", "starting", "denied", "missing", "busy", "insecure", "lost")


def show(opened: OpenModel, text: Texts) -> None:
    """Draw the page."""
    st.title(text("live.title"))
    st.html(markup.note(text("live.intro")))
    unfilled = {name: f"{{{name}}}" for name in ("other", "share", "label")}
    words = {word: text(f"live.{word}") for word in _WORDS} | {
        "unknown": text("answer.unknown"),
        "overruled": text("answer.overruled", **unfilled),
    }
    _camera(
        key="live",
        data={
            "path": PATH.lstrip("/"),
            "header": HEADER,
            "model": opened.entry.name,
            "side": max(opened.predictor.size),
            "words": words,
        },
    )
