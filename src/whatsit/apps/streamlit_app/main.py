"""The script that Streamlit runs for every visitor and every event: language, model, navigation; then a page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from whatsit.apps.streamlit_app import classify, data, feedback, fragments, live, model, teach
from whatsit.apps.streamlit_app.classroom import classroom, taught_of
from whatsit.apps.streamlit_app.desk import has_data
from whatsit.apps.streamlit_app.shelf import OpenModel, offered_models, open_model
from whatsit.apps.words import LANGUAGES, Words, language_of
from whatsit.errors import WhatsitError
from whatsit.evaluation.metrics import Figures

HERE = Path(__file__).parent
PAGES = {"classify": classify.show, "live": live.show, "model": model.show}


def main() -> None:
    """Draw the page that was asked for."""
    say = Words(_language())
    st.set_page_config(page_title="whatsit", page_icon=str(HERE / "mark.svg"), layout="wide")
    st.html(HERE / "style.css")
    st.html(fragments.widget_words(say))
    st.logo(HERE / "wordmark.svg", size="large", icon_image=HERE / "mark.svg")
    with st.sidebar:
        _switch_language(say)
        opened = _choose_model(say)
    drawers: dict[str, Callable[[], None]] = {}
    if classroom() and not opened:
        drawers["teach"] = partial(teach.show, say)
    if opened or not (has_data() or classroom()):
        drawers |= {name: partial(_of_model, page, opened, say) for name, page in PAGES.items()}
    if classroom() and opened:
        drawers["teach"] = partial(teach.show, say)
    if opened and feedback.has_queue():
        drawers["queue"] = partial(_of_model, feedback.show, opened, say)
    if has_data():
        drawers["data"] = partial(data.show, say)
    pages = {
        name: st.Page(
            partial(_show, draw, say), title=say(f"page.{name}"), url_path=name, default=name == next(iter(drawers))
        )
        for name, draw in drawers.items()
    }
    current = st.navigation(list(pages.values()), position="hidden")
    with st.container(horizontal=True, key="pages"):
        for page in pages.values():
            st.page_link(page, width="content")
    current.run()
    if opened:
        with st.sidebar:
            _about(opened, say)


def _language() -> str:
    """The visitor's choice, or the browser's language."""
    asked = st.session_state.get("language") or st.query_params.get("lang")
    return asked if asked in LANGUAGES else language_of(st.context.locale)


def _switch_language(say: Words) -> None:
    def chosen() -> None:
        st.session_state["language"] = st.session_state["language_switch"] or say.language

    st.session_state["language_switch"] = say.language
    st.segmented_control(
        say("language"),
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key="language_switch",
        on_change=chosen,
        label_visibility="collapsed",
    )
    if "language" in st.session_state:
        st.query_params["lang"] = say.language


def _choose_model(say: Words) -> OpenModel | None:
    entries = {entry.name: entry for entry in offered_models()}
    if not entries:
        if not classroom():
            st.info(say("model.none"))
        return None
    asked = st.session_state.get("model") or st.query_params.get("model")
    name = asked if asked in entries else next(iter(entries))
    if len(entries) > 1:
        st.session_state["model_switch"] = name
        st.selectbox(say("model.choose"), list(entries), key="model_switch", on_change=_model_chosen)
        st.query_params["model"] = st.session_state["model"] = name  # an address loses it when the page changes
    try:
        return open_model(entries[name])
    except WhatsitError as error:
        st.error(say("model.bad", reason=fragments.markdown_safe(str(error).replace(str(entries[name].path), name))))
        return None


def _model_chosen() -> None:
    st.session_state["model"] = st.session_state["model_switch"]


def _of_model(page: Callable[[OpenModel, Words], None], opened: OpenModel | None, say: Words) -> None:
    if opened:  # why there is none is said beside the chooser
        page(opened, say)


def _show(draw: Callable[[], None], say: Words) -> None:
    try:
        draw()
    except WhatsitError as error:
        st.error(say("failed", reason=fragments.markdown_safe(str(error))))
    except Exception as error:  # whatever it is, a visitor is to be told in words, and the owner in the log
        logging.getLogger(__name__).exception("the page could not be drawn")
        st.error(say("failed", reason=type(error).__name__))


def _about(opened: OpenModel, say: Words) -> None:
    predictor = opened.predictor
    facts = opened.facts
    lines = [f"<p><strong>{fragments.safe(opened.entry.name)}</strong></p>"]
    tested = taught_of(opened.entry.path)
    if tested or facts.figures:
        accuracy, low, high = (tested.accuracy, tested.low, tested.high) if tested else _tested(facts.figures)
        right = say("about.right", share=fragments.share(accuracy))
        between = say("about.between", low=fragments.share(low), high=fragments.share(high))
        lines.append(f"<p>{right}<br><span class=w-soft>{between}</span></p>")
    lines.append(f"<p>{say('about.knows', n=len(predictor.classes))}</p>")
    if facts.pictures:
        learned = say("about.learned", n=f"{sum(facts.pictures['train'].values()):,}", source=facts.source)
        lines.append(f"<p>{fragments.safe(learned)}</p>")
    if facts.created:
        lines.append(f"<p class=w-soft>{fragments.safe(say('about.made', date=facts.created))}</p>")
    room = classroom()
    told = [say("teach.kept", folder=room.collection.folder.name)] if room else []
    if feedback.is_on() or not room:
        told.append(say("feedback.told" if feedback.is_on() else "about.local"))
    lines += [f"<p class=w-soft>{fragments.safe(one)}</p>" for one in told]
    st.html(f'<div class="w-about">{"".join(lines)}</div>')


def _tested(figures: Figures | None) -> tuple[float, float, float]:
    assert figures
    return figures.accuracy, *figures.accuracy_ci95


main()
