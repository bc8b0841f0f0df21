"""The page with the live camera: the browser shows the video and draws each answer over it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from whatsit.apps.streamlit_app.live_route import HEADER, PATH
from whatsit.apps.streamlit_app.shelf import OpenModel
from whatsit.apps.words import Words

_HERE = Path(__file__).parent
_camera = st.components.v2.component(
    "whatsit_live",
    html='<div class="live"></div>',
    css=(_HERE / "live.css").read_text(encoding="utf-8"),
    js=(_HERE / "live.js").read_text(encoding="utf-8"),
)
_WORDS = ("start", "stop", "flip", "rate", "starting", "denied", "missing", "busy", "insecure", "lost")


def show(opened: OpenModel, say: Words) -> None:
    """Draw the page."""
    st.title(say("live.title"))
    st.html(f'<p class="w-soft">{say("live.intro")}</p>')
    words = {word: say(f"live.{word}") for word in _WORDS} | {"unknown": say("answer.unknown")}
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
