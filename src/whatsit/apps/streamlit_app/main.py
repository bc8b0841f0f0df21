"""The script that Streamlit runs for every event of every visitor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from whatsit.apps import markup
from whatsit.apps.streamlit_app import (
    feedback,
    page_classify,
    page_data,
    page_label,
    page_live,
    page_model,
    page_teach,
    teaching,
    widgets,
)
from whatsit.apps.streamlit_app.model_registry import OpenModel
from whatsit.apps.streamlit_app.state import STATE, AppState, settle
from whatsit.apps.texts import LANGUAGES, Texts, language_of
from whatsit.errors import WhatsitError

HERE = Path(__file__).parent


def main(state: AppState) -> None:
    """Draw the page that was asked for."""
    settle()
    text = Texts(_language())
    st.set_page_config(page_title="whatsit", page_icon=str(HERE / "mark.svg"), layout="wide")
    st.html(HERE / "style.css")
    st.html(widgets.translations(text))
    st.logo(HERE / "wordmark.svg", size="large", icon_image=HERE / "mark.svg")
    with st.sidebar:
        _switch_language(text)
        opened = _choose_model(state, text)
    draws = _pages(state, opened, text)
    pages = {
        name: st.Page(
            partial(_show, draw, text), title=text(f"page.{name}"), url_path=name, default=name == next(iter(draws))
        )
        for name, draw in draws.items()
    }
    current = st.navigation(list(pages.values()), position="hidden")
    with st.container(horizontal=True, key="pages"):
        for page in pages.values():
            st.page_link(page, width="content")
    current.run()
    if opened:
        with st.sidebar:
            _about(state, opened, text)


def _pages(state: AppState, opened: OpenModel | None, text: Texts) -> dict[str, Callable[[], None]]:
    """Return the pages in order, the first of which is shown by default."""
    pages: dict[str, Callable[[], None]] = {}
    if state.teaching and not opened:
        pages["teach"] = partial(page_teach.show, state.teaching, text)
    if opened:
        pages["classify"] = partial(page_classify.show, opened, state.feedback, text, near=state.shows_training)
        pages["live"] = partial(page_live.show, opened, text)
        pages["model"] = partial(page_model.show, opened, text, can_share=state.can_share)
    elif not (state.review or state.teaching):  # empty pages: why there is no model stands beside the chooser
        pages |= dict.fromkeys(("classify", "live", "model"), lambda: None)
    if state.teaching and opened:
        pages["teach"] = partial(page_teach.show, state.teaching, text)
    if opened and state.feedback and state.feedback.is_private:
        pages["queue"] = partial(feedback.show, state.feedback.collection, opened.predictor.classes, text)
    if opened and state.labelling:
        pages["label"] = partial(page_label.show, state.labelling, opened, text)
    if state.review:
        pages["data"] = partial(page_data.show, state.review, text)
    return pages


def _language() -> str:
    """Return the visitor's choice, or the browser's language."""
    chosen = st.session_state.get("language") or st.query_params.get("lang")
    return chosen if chosen in LANGUAGES else language_of(st.context.locale)


def _switch_language(text: Texts) -> None:
    def keep() -> None:
        st.session_state["language"] = st.session_state["language_switch"] or text.language

    st.session_state["language_switch"] = text.language
    st.segmented_control(
        text("page.language"),
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key="language_switch",
        on_change=keep,
        label_visibility="collapsed",
    )
    if "language" in st.session_state:
        st.query_params["lang"] = text.language


def _choose_model(state: AppState, text: Texts) -> OpenModel | None:
    entries = {entry.name: entry for entry in state.models.entries()}
    if not entries:
        if not state.teaching:
            st.info(text("model.none"))
        return None
    chosen = st.session_state.get("model") or st.query_params.get("model")
    name = chosen if chosen in entries else next(iter(entries))
    if len(entries) > 1:
        st.session_state["model_switch"] = name
        st.selectbox(text("model.choose"), list(entries), key="model_switch", on_change=_keep_model)
        st.query_params["model"] = st.session_state["model"] = name  # an address loses it when the page changes
    try:
        return state.models.open(entries[name])
    except WhatsitError as error:
        reason = markup.markdown_safe(str(error).replace(str(entries[name].path), name))
        st.error(text("model.bad", reason=reason))
        return None


def _keep_model() -> None:
    st.session_state["model"] = st.session_state["model_switch"]


def _show(draw: Callable[[], None], text: Texts) -> None:
    try:
        draw()
    except WhatsitError as error:
        st.error(text("page.failed", reason=markup.markdown_safe(str(error))))
    except Exception as error:  # the visitor gets a sentence, the owner's log the traceback
        logging.getLogger(__name__).exception("the page could not be drawn")
        st.error(text("page.failed", reason=type(error).__name__))


def _about(state: AppState, opened: OpenModel, text: Texts) -> None:
    summary = opened.summary
    lines = [f"<strong>{markup.safe(opened.entry.name)}</strong>"]
    if metrics := teaching.cross_validated(opened.entry.path) or summary.metrics:
        low, high = metrics.accuracy_ci95
        right = text("about.right", share=markup.share(metrics.accuracy))
        between = text("about.between", low=markup.share(low), high=markup.share(high))
        lines.append(f"{right}<br><span class=w-soft>{between}</span>")
    lines.append(text("about.knows", n=len(opened.predictor.classes)))
    if summary.pictures:
        count = sum(summary.pictures["train"].values())
        lines.append(markup.safe(text("about.learned", n=f"{count:,}", source=summary.source)))
    notes = [text("about.made", date=summary.created)] if summary.created else []
    if state.teaching:
        notes.append(text("teach.kept", folder=state.teaching.collection.folder.name))
    if state.labelling:
        notes.append(text("label.kept", folder=state.labelling.collection.folder.name))
    if state.feedback or not (state.teaching or state.labelling):
        notes.append(text("feedback.notice" if state.feedback else "about.local"))
    paragraphs = [*(f"<p>{line}</p>" for line in lines), *map(markup.note, notes)]
    st.html(f'<div class="w-about">{"".join(paragraphs)}</div>')


main(STATE)
